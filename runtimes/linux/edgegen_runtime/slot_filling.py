"""Fills the slot that is not in use: what an earlier install left there and holds is kept, what was cut goes on.

Nothing that lies there is trusted. A blob that is whole was hashed now; the first part of one that was cut counts only
if the whole has the right digest in the end, and otherwise all of it is fetched once more.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path

from edgegen_runtime.disk import Disk, remove_tree
from edgegen_runtime.sealed_bundle import Named, check_blob
from edgegen_runtime.sources import Hash, Source, checked, chunks
from edgegen_runtime.strict import RefusedError

_PART = ".part"
_CHUNK_BYTES = 1 << 18


def clear(disk: Disk, slot: Path, wanted: Collection[Named]) -> None:
    """Has the slot hold nothing but wanted blobs, whole or in part; the index goes first."""
    blobs = slot / "blobs" / "sha256"
    if any(os.path.lexists(folder) and not _is_folder(folder) for folder in (slot, blobs.parent, blobs)):
        remove_tree(disk, slot)
    if not slot.is_dir():
        return
    for path in sorted(slot.iterdir(), reverse=True):
        if path.name != "blobs":
            remove_tree(disk, path)
    names = {item.sha256 + ending for item in wanted for ending in ("", _PART)}
    for folder, kept in ((blobs.parent, {"sha256"}), (blobs, names)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in kept or not (path.is_dir() if folder == blobs.parent else _is_file(path)):
                remove_tree(disk, path)


def present_bytes(slot: Path) -> int:
    """How much of the blobs is there already."""
    folder = slot / "blobs" / "sha256"
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def bring(disk: Disk, folder: Path, item: Named, source: Source, name: str, deadline: float) -> None:
    """Has a blob lie in ``folder`` under its digest, its bytes synced; the folder is for the caller to sync.

    Raises:
        RefusedError: the source's bytes are others than the descriptor says.
        UnreachableError: the source stops; what has arrived stays.
        OSError: no room.
    """
    path = folder / item.sha256
    part = path.with_name(item.sha256 + _PART)
    if os.path.lexists(path):
        try:
            check_blob(path, item, item.sha256)
        except RefusedError:
            disk.unlink(path)
        else:
            disk.sync_file(path)  # whoever wrote it may have been cut before that
            return
    if not _went_on(disk, part, item, source, name, deadline):
        if os.path.lexists(part):
            disk.unlink(part)
        disk.create(part, chunks(source, name, item, deadline))
    disk.sync_file(part)
    disk.rename(part, path)


def _went_on(disk: Disk, part: Path, item: Named, source: Source, name: str, deadline: float) -> bool:
    """Whether the part that an earlier install left became the whole blob."""
    if not _is_file(part):
        return False
    hasher, size = _hashed(part)
    left = item.size_bytes - size
    if size == 0 or left < 0:
        return False
    if left == 0:
        return hasher.hexdigest() == item.sha256
    with source.resume(name, size) as stream:
        if stream is None:
            return False
        try:
            disk.append(part, checked(stream, name, item, hasher, left, deadline))
        except RefusedError:
            return False  # it may be the first part that is damaged
    return True


def _hashed(path: Path) -> tuple[Hash, int]:
    hasher, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    return hasher, size


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)
