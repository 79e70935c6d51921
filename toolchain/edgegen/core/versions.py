"""Versions of the libraries that can change a result, read without importing them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from edgegen.core.digests import sha256_json, sha256_tree
from edgegen.core.errors import ToolMissingError

_PACKAGE = Path(__file__).resolve().parent.parent


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Distribution name -> installed version, or ``"absent"``."""
    return {name: installed(name) or "absent" for name in distributions}


@cache
def installed(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def machine_class() -> dict[str, str]:
    """What makes two machines give the same floating-point bits: architecture and CPU features."""
    flags = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            flags = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("flags")), "")
    except OSError:
        pass
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile")
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "simd": " ".join(flag for flag in wanted if flag in flags.split()),
    }


@cache
def source_digest(*rooms: str) -> str:
    """Digest of the Python sources of rooms (``"train"``, ``"compress"``, …).

    It is part of the key of every stage that runs their code: whoever changes the code never meets an old result.
    """
    return sha256_json({room: sha256_tree(_PACKAGE / room, (".py",)) for room in rooms})


@cache
def driver_digest() -> str:
    """Digest of ``edgegen_runtime``, which drives the inference runtimes here and on boards; imports nothing of it."""
    found = find_spec("edgegen_runtime")
    if found is None or found.origin is None:
        raise ToolMissingError(
            "the package 'edgegen_runtime' is missing", next_step="reinstall edgegen: it is part of the same wheel"
        )
    return sha256_tree(Path(found.origin).parent, (".py",))
