"""One header of the kernels that a model uses, so that its sources need nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.share import share_dir

_OWN = re.compile(r'#include "(eg_[a-z0-9_]+)\.h"')


def kernels_header(kernels: Sequence[str], switches: Sequence[str] = ()) -> str:
    """The text: each header once, after those that it includes.

    Args:
        switches: macros that are defined in front of them.

    Raises:
        BuildError: a kernel that does not ship.
    """
    folder = share_dir("runtimes") / "mcu" / "include"
    parts: dict[str, str] = {}
    for kernel in ("eg_core", *kernels):
        _add(kernel, folder, parts)
    head = "/* The kernels of one model. Written by edgegen out of its own headers, which follow. */"
    return "\n".join(
        [
            head,
            "#ifndef EG_KERNELS_H",
            "#define EG_KERNELS_H",
            *(f"#define {name}" for name in switches),
            "",
            *parts.values(),
            "#endif",
            "",
        ]
    )


def _add(name: str, folder: Path, parts: dict[str, str]) -> None:
    if name in parts:
        return
    path = folder / f"{name}.h"
    if not path.is_file():
        raise BuildError(f"the C kernel {name} does not ship", where=str(folder), next_step="reinstall edgegen")
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        found = _OWN.match(line.strip())
        if found:
            _add(found[1], folder, parts)
        else:
            lines.append(line)
    parts[name] = "\n".join([*lines, ""])
