"""Folders of pictures or clips: which files count, in which order, and what their paths say about label and group."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress

MOST_FILES = 1_000_000
LEAST_SAMPLES = 10
_DEEPEST = 16
_LITTER = frozenset({".txt", ".md", ".rst", ".html", ".ini", ".db"})  # notes and desktops' own files
_NOTES = re.compile(r"(?i)(readme|licen[cs]e|copying|copyright|changelog|authors)([-_.].*)?")
_PARTS = frozenset({"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """One file of the folder. ``name`` is its path from there, with forward slashes."""

    path: Path
    name: str
    label: str | None
    group: str | None


def find_media(
    root: Path, endings: Sequence[str], group_pattern: str | None, flat: Literal["none", "stem"], progress: Progress
) -> tuple[MediaFile, ...]:
    """The files below ``root`` by name. A subfolder's name is the label of all that lies in it.

    Args:
        endings: endings of the files that are samples, lower case with the dot.
        group_pattern: regular expression whose first group, found in a file's name, is its group.
        flat: what labels files that lie in no subfolder: nothing, or their own name without its ending.

    Raises:
        UsageError: no folder, no or too few files, an empty class, files both in and beside subfolders, a name that is
            no text, a link that leads out, or a file of another kind.
    """
    if not root.is_dir():
        raise UsageError(
            "the source is not a folder", where=str(root), expected="a folder of files, one class a folder"
        )
    listing = _Listing(root, endings)
    listing.read(root, 0)
    files = sorted(listing.files, key=lambda item: item[0])
    if listing.passed_over:
        progress.say(f"{root.name}: {_counted(listing.passed_over)} passed over")
    if len(files) < LEAST_SAMPLES:
        raise UsageError(
            "too few files",
            where=str(root),
            got=len(files),
            expected=f"at least {LEAST_SAMPLES} that end in {', '.join(endings)}",
        )
    names = [PurePosixPath(name) for name, _ in files]
    _check_layout(root, names)
    pattern = None if group_pattern is None else _compiled(group_pattern)
    return tuple(
        MediaFile(path=path, name=str(name), label=_label(name, flat), group=_group(name, pattern, path))
        for name, (_, path) in zip(names, files, strict=True)
    )


def class_order(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that occur, each once: by number where all are whole numbers, else by name."""
    found = sorted(set(labels))
    if all(label.isascii() and label.isdigit() for label in found):
        found.sort(key=lambda label: (int(label), label))
    return tuple(found)


class _Listing:
    """Walks a folder without following links to folders."""

    def __init__(self, root: Path, endings: Sequence[str]) -> None:
        self._inside = root.resolve()
        self._root = root
        self._endings = endings
        self.files: list[tuple[str, Path]] = []
        self.passed_over: Counter[str] = Counter()

    def read(self, folder: Path, depth: int) -> None:
        if depth > _DEEPEST:
            raise UsageError("the folders are nested too deeply", where=str(folder), expected=f"at most {_DEEPEST}")
        before = len(self.files)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError("the folder cannot be read", where=str(folder), got=error.strerror) from error
        for entry in entries:
            self._take(entry, depth)
        if depth == 1 and len(self.files) == before:
            raise UsageError(
                "a class is empty: its folder holds no sample",
                where=str(folder),
                expected=f"files that end in {', '.join(self._endings)}",
                next_step="add samples or remove the folder",
            )

    def _take(self, entry: os.DirEntry[str], depth: int) -> None:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            self.passed_over["hidden"] += 1
            return
        if not entry.name.isprintable():  # false for bytes that are no UTF-8, too
            raise UsageError("a name holds characters that cannot be shown", where=ascii(entry.path))
        if entry.is_symlink():
            _check_link(path, self._inside)
        if entry.is_dir():
            self.read(path, depth + 1)
        elif not entry.is_file():
            raise UsageError("not a file", where=str(path), got="a pipe, a socket or a device", next_step="remove it")
        elif path.suffix.lower() in self._endings:
            self._add(path)
        elif path.suffix.lower() in _LITTER or _NOTES.fullmatch(entry.name):
            self.passed_over["notes"] += 1
        else:
            raise UsageError(
                "a file of another kind lies among the samples",
                where=str(path),
                expected=f"files that end in {', '.join(self._endings)}",
                next_step="convert it or move it away",
            )

    def _add(self, path: Path) -> None:
        self.files.append((path.relative_to(self._root).as_posix(), path))
        if len(self.files) > MOST_FILES:
            raise UsageError("too many files", where=str(self._root), expected=f"at most {MOST_FILES}")


def _check_link(path: Path, inside: Path) -> None:
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:  # a ring of links
        raise UsageError("a link leads nowhere", where=str(path), got=error, next_step="remove it") from error
    if not target.is_relative_to(inside):
        raise UsageError(
            "a link leads out of the data folder", where=str(path), next_step="copy the file into the folder"
        )
    if not target.is_file():
        raise UsageError(
            "a link does not lead to a file", where=str(path), expected="links to files of the folder only"
        )


def _check_layout(root: Path, names: Sequence[PurePosixPath]) -> None:
    """All files in subfolders or none; and subfolders that are classes, not parts of a split."""
    lying_flat = [name for name in names if len(name.parts) == 1]
    if lying_flat and len(lying_flat) < len(names):
        raise UsageError(
            "some files lie in subfolders, others beside them",
            where=str(root / lying_flat[0]),
            got=f"{len(lying_flat)} of {len(names)} files lie beside the subfolders",
            expected="one subfolder a class, or no subfolder",
        )
    if lying_flat:
        return
    folders = {name.parts[0] for name in names}
    if {folder.lower() for folder in folders} <= _PARTS:
        raise UsageError(
            "the subfolders are named after parts of a split, not after classes",
            where=str(root),
            got=", ".join(sorted(folders)),
            next_step="put the files of one class into one folder; [data.split] makes the parts",
        )


def _label(name: PurePosixPath, flat: str) -> str | None:
    if len(name.parts) > 1:
        return name.parts[0]
    return name.stem if flat == "stem" else None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            "no regular expression", where="[data.collect] group_pattern", got=f"{pattern}: {error}"
        ) from error
    if compiled.groups < 1:
        raise UsageError(
            "the pattern has no group",
            where="[data.collect] group_pattern",
            got=pattern,
            expected="parentheses around what names the group, e.g. '(speaker[0-9]+)_'",
        )
    return compiled


def _group(name: PurePosixPath, pattern: re.Pattern[str] | None, path: Path) -> str | None:
    if pattern is None:
        return None
    found = pattern.search(str(name))
    if found is None or not found.group(1):
        raise UsageError(
            "the pattern finds no group in a file's name",
            where=str(path),
            got=str(name),
            expected=f"a match of {pattern.pattern!r} with a group that is not empty",
        )
    return found.group(1)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
