"""What the updater does to a disk, one primitive a method, so that a test can cut the power between any two.

Nothing is on the disk before it was synced: a file's bytes by ``sync_file``, its name by ``sync_folder`` of the folder
that it is in. What was not synced may be there after a power cut, or not, or in part, in any combination.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class Disk:
    """The real one."""

    def create(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Writes a new file. Raises OSError: it is there already, or there is no room."""
        with path.open("xb") as sink:
            for chunk in chunks:
                sink.write(chunk)

    def append(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Writes on where a file ends. Raises OSError: it is not there, or there is no room."""
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC), "ab") as sink:
            for chunk in chunks:
                sink.write(chunk)

    def sync_file(self, path: Path) -> None:
        """Returns when the file's bytes are on the disk."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, path: Path) -> None:
        """Returns when the names in the folder are on the disk."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, old: Path, new: Path) -> None:
        """Replaces ``new`` by ``old`` in one step; both are in one folder."""
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        """Removes a file's name."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Makes one folder."""
        path.mkdir()

    def remove_folder(self, path: Path) -> None:
        """Removes an empty folder."""
        path.rmdir()


def replace_durably(disk: Disk, path: Path, data: bytes) -> None:
    """Has ``path`` hold ``data``: a power cut leaves the old file or the new one, and after the return the new one."""
    temporary = path.with_name(f".{path.name}.new")
    if os.path.lexists(temporary):
        disk.unlink(temporary)
    disk.create(temporary, [data])
    disk.sync_file(temporary)
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)


def remove_tree(disk: Disk, path: Path) -> None:
    """Removes a folder with what is in it; nothing there is fine."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        disk.unlink(path)
        return
    for inside in sorted(path.iterdir()):
        remove_tree(disk, inside)
    disk.remove_folder(path)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
