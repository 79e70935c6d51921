"""A file system that forgets: replays what was done to a disk up to a moment, and loses what was not synced.

Names and bytes are lost separately and in any combination: a file's name may be there without its bytes, its bytes
torn or zeros, a later rename there without an earlier one. Only what was synced is certain.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgegen_runtime.disk import Disk

Operation = tuple[str, Path, object]


class RecordingDisk(Disk):
    """Does everything, and keeps a log of it. Syncing is only logged: the power that goes is not this machine's."""

    def __init__(self) -> None:
        self.log: list[Operation] = []

    def create(self, path: Path, chunks: Iterable[bytes]) -> None:
        super().create(path, [])
        self.log.append(("create", path, b""))
        self.append(path, chunks)

    def append(self, path: Path, chunks: Iterable[bytes]) -> None:
        # Piece by piece, as they come: a source that stops leaves what came before.
        for chunk in chunks:
            super().append(path, [chunk])
            self.log.append(("append", path, chunk))

    def sync_file(self, path: Path) -> None:
        self.log.append(("sync_file", path, None))

    def sync_folder(self, path: Path) -> None:
        self.log.append(("sync_folder", path, None))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.log.append(("rename", old, new))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.log.append(("unlink", path, None))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.log.append(("make_folder", path, None))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.log.append(("remove_folder", path, None))


@dataclass(eq=False)
class _Node:
    """A file or folder, whatever its name."""

    data: bytes | None = None  # None: a folder
    entries: dict[str, _Node] = field(default_factory=dict)  # names as a running system sees them
    certain: dict[str, _Node] = field(default_factory=dict)  # names that are on the disk
    waiting: list[dict[str, _Node | None]] = field(default_factory=list)  # changes of names, each whole or not at all
    synced_bytes: int = 0  # of a file: how much of its beginning is certain


def read_tree(root: Path) -> _Node:
    """What lies on the disk now, all of it certain."""
    node = _Node()
    for path in root.iterdir():
        inside = read_tree(path) if path.is_dir() else _file(path.read_bytes())
        node.entries[path.name] = node.certain[path.name] = inside
    return node


def _file(data: bytes) -> _Node:
    return _Node(data=data, synced_bytes=len(data))


def cut_power(before: Path, root: Path, log: list[Operation], at: int, dice: random.Random, to: Path) -> None:
    """Writes into ``to`` what is left of the disk when the power goes after ``at`` operations.

    Args:
        before: a copy of the disk as it was when the log began.
        root: the folder that the log's paths are below.
    """
    top = read_tree(before)
    for operation in log[:at]:
        _apply(top, root, operation)
    _write(top, to, dice)


def _apply(top: _Node, root: Path, operation: Operation) -> None:
    what, path, more = operation
    if what == "sync_folder":
        synced = _find(top, path.relative_to(root).parts)
        synced.certain, synced.waiting = dict(synced.entries), []
        return
    folder = _find(top, path.parent.relative_to(root).parts)
    if what == "create":
        assert isinstance(more, bytes)
        _change(folder, {path.name: _Node(data=more)})
    elif what == "append":
        assert isinstance(more, bytes)
        node = folder.entries[path.name]
        assert node.data is not None
        node.data += more
    elif what == "make_folder":
        _change(folder, {path.name: _Node()})
    elif what in ("unlink", "remove_folder"):
        _change(folder, {path.name: None})
    elif what == "rename":
        assert isinstance(more, Path)
        assert more.parent == path.parent
        _change(folder, {path.name: None, more.name: folder.entries[path.name]})
    else:
        assert what == "sync_file"
        node = folder.entries[path.name]
        assert node.data is not None
        node.synced_bytes = len(node.data)


def _change(folder: _Node, names: dict[str, _Node | None]) -> None:
    folder.waiting.append(names)
    _rename_all(folder.entries, names)


def _rename_all(entries: dict[str, _Node], names: dict[str, _Node | None]) -> None:
    for name, node in names.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _find(top: _Node, parts: tuple[str, ...]) -> _Node:
    for part in parts:
        top = top.entries[part]
    return top


def _write(folder: _Node, to: Path, dice: random.Random) -> None:
    to.mkdir()
    entries = dict(folder.certain)
    for names in folder.waiting:
        if dice.random() < 0.5:
            _rename_all(entries, names)
    for name, node in entries.items():
        if node.data is None:
            _write(node, to / name, dice)
        else:
            certain = node.data[: node.synced_bytes]
            (to / name).write_bytes(certain + _spoilt(node.data[node.synced_bytes :], dice))


def _spoilt(data: bytes, dice: random.Random) -> bytes:
    half = dice.randrange(len(data) + 1)
    return dice.choice([data, b"", data[:half], data[:half] + bytes(len(data) - half), bytes(len(data))])
