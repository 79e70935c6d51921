"""Folders that inference processes work in: private, swept after a kill, with paths of equal length everywhere."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RUN_FOLDER = re.compile(r"edgegen-(\d{7})-.{8}")
_ABANDONED_AFTER_S = 3600.0


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder whose path has the same length on every machine where /tmp is writable."""
    parent = Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    for left in parent.glob("edgegen-*"):
        killed = _RUN_FOLDER.fullmatch(left.name)
        if killed is not None:
            remove_if_abandoned(left, str(int(killed[1])))
    prefix = f"edgegen-{os.getpid():07d}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def remove_if_abandoned(folder: Path, pid: str) -> None:
    """Removes the folder of a process that was killed: no such process, and untouched for an hour.

    The hour is for processes of other containers, which share folders with us and not process numbers.
    """
    try:
        age_s = time.time() - folder.stat().st_mtime
    except OSError:
        return  # somebody else removes it
    if age_s > _ABANDONED_AFTER_S and not Path("/proc", pid).exists():
        shutil.rmtree(folder, ignore_errors=True)
