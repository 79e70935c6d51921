"""Files that are either as they were or as they are to be, whoever is killed in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_READABLE = 0o644  # a temporary file is its owner's alone


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
