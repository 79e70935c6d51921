"""Files that are either as they were or as they are to be, whoever is killed in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_READABLE = 0o644  # a temporary file is its owner's alone


def put_file(path: Path, content: bytes) -> None:
    """Writes a file that a person named: as ``replace_file`` does, and through a link to where it points; into a pipe
    or a device, such as ``/dev/stdout``, what is there is written to.

    Raises:
        OSError: as ``replace_file``.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.write(content)
    else:
        replace_file(path.resolve(), content)


def replace_file(path: Path, content: bytes) -> None:
    """Writes ``content`` beside ``path`` and puts it in its place in one step; makes the folder if need be.

    Raises:
        OSError: the disk is full, or the place cannot be written; the earlier file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(_READABLE)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
