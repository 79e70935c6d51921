"""Files that people hand to edgegen: read whole, up to a size, or refused in one paragraph."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError

_MIB = 1 << 20


def read_file(path: Path, what: str, *, limit_bytes: int, next_step: str | None = None) -> bytes:
    """The bytes of a file; ``what`` names it as its user would ("the inventory").

    A pipe is read too, so that a shell's ``<(command)`` may stand in a file's place.

    Raises:
        UsageError: it is not there, cannot be read, or is larger than ``limit_bytes``.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit_bytes + 1)
    except OSError as error:
        raise UsageError(f"{what} cannot be read", where=str(path), got=error.strerror, next_step=next_step) from error
    if len(data) > limit_bytes:
        most = f"{limit_bytes // _MIB} MiB" if limit_bytes % _MIB == 0 else f"{limit_bytes} bytes"
        raise UsageError(f"{what} is too large", where=str(path), expected=f"at most {most}")
    return data


def read_toml(path: Path, what: str, *, limit_bytes: int) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        UsageError: as ``read_file``, or it is not TOML.
    """
    data = read_file(path, what, limit_bytes=limit_bytes)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} is not TOML", where=str(path), got=error, expected="TOML 1.0 in UTF-8") from error
    except RecursionError as error:
        raise UsageError(f"{what} is nested too deeply", where=str(path)) from error
