"""``edgegen_runtime``, as a package for a device carries it: the files that run beside this edgegen."""

from __future__ import annotations

import ast
from pathlib import Path

import edgegen_runtime

NAME = "edgegen_runtime"


def runtime_files() -> dict[str, bytes]:
    """The modules by file name; they import the standard library, numpy and an inference runtime."""
    folder = Path(edgegen_runtime.__file__).parent
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}


def moved_runtime_files(package: str) -> dict[str, bytes]:
    """The same as a package of another name: ``digits_vae.edgegen_runtime``; only what is imported is renamed.

    A wheel that put its own ``edgegen_runtime`` beside others' would be overwritten by the next, and taken away by the
    first that is removed.
    """
    return {name: _moved(data.decode(), package).encode() for name, data in runtime_files().items()}


def _moved(source: str, package: str) -> str:
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert not any(item.name.split(".")[0] == NAME for item in node.names), "imported by its whole name"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == NAME:
            at = node.lineno - 1
            lines[at] = lines[at].replace(f"from {NAME}", f"from {package}", 1)
    return "".join(lines)
