"""Looking over labels: suspected ones go to a person, whose decisions come back as corrected labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.data.carrier import DROPPED_FILE, Coded, read_labels, sample_count, sample_names
from edgegen.data.collected import LABELS_FILE, Collected, Files
from edgegen.data.review import DROP, ISSUES_FILE, Entry, place, read_review, review_path, write_review
from edgegen.data.settings import DataSettings
from edgegen.data.suspects import Suspects, find_label_issues

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,11}")


def label(
    files: Files, collected: Collected, settings: DataSettings, project_folder: Path, seed: int, folder: Path
) -> Mapping[str, Any]:
    """Writes suspected labels into the project's review, and what was decided into ``folder``.

    ``labels.npy`` (text by sample, of a table too) is written if a label changed, ``dropped.npy`` (bool by sample) if
    one is dropped, ``issues.csv`` if labels were looked over. Where nothing is written, the collected files hold.

    Returns:
        a JSON-ready record: ``judged`` and ``suspected`` samples, ``decided`` (keep, change, drop), ``undecided`` lines
        of the review, and ``notes``.

    Raises:
        UsageError: no labels, or a review that is missing, broken, or about other data.
    """
    asked = settings.label
    path = review_path(asked.review, project_folder)
    if path is None and not asked.find_issues:
        return _record(None, ())
    labels = read_labels(files, collected, settings)
    if labels is None:
        raise UsageError("there are no labels to look over", where="[data.label]", next_step="remove the table")
    suspects = find_label_issues(files, collected, settings, seed) if asked.find_issues else None
    entries = read_review(path) if path is not None and path.exists() else ()
    if path is not None and not path.exists() and suspects is None:
        raise UsageError(
            "the review is missing",
            where="[data.label] review",
            got=asked.review,
            next_step="set find_issues = true, and it will be written",
        )
    changed, dropped = apply_review(labels, entries, files, collected, path)
    if suspects is not None:
        write_review(folder / ISSUES_FILE, suspects.issues)
        if path is not None:
            write_review(path, suspects.issues)
            entries = read_review(path)
    if not np.array_equal(changed.codes, labels.codes):
        texts = np.array([*changed.names, ""])
        np.save(folder / LABELS_FILE, texts[changed.codes], allow_pickle=False)
    if dropped.any():
        np.save(folder / DROPPED_FILE, dropped, allow_pickle=False)
    return _record(suspects, entries)


def apply_review(
    labels: Coded, entries: Iterable[Entry], files: Files, collected: Collected, path: Path | None
) -> tuple[Coded, Array]:
    """Labels as decided, and (samples,) bool: which samples are dropped. Open lines change nothing.

    Raises:
        UsageError: a sample or class that is unknown, or a sample whose label is not what the line says it is: the
            review is about other data. The line is named.
    """
    samples = sample_count(files, collected)
    codes, dropped = labels.codes.copy(), np.zeros(samples, bool)
    known = {name: code for code, name in enumerate(labels.names)}
    names = sample_names(files)
    places = None if names is None else {str(name): index for index, name in enumerate(names)}
    for entry in entries:
        index = _index(entry, places, collected, samples, path)
        code = int(labels.codes[index])
        given = labels.names[code] if code >= 0 else ""
        if entry.given != given:
            raise UsageError(
                f"the sample {entry.sample!r} has another label: the review is about other data",
                where=_place(path, entry),
                got=entry.given,
                expected=given or "no label",
                next_step="move the review away, and a new one will be written",
            )
        for name in (entry.suggested or None, entry.label):
            if name is not None and name not in known:
                raise UsageError(
                    f"there is no class {name!r}",
                    where=_place(path, entry),
                    got=name,
                    expected=f"keep, change, drop, or a class{nearest(name, known)}",
                )
        if entry.label is not None:
            codes[index] = known[entry.label]
        dropped[index] = entry.decision == DROP
    return Coded(names=labels.names, codes=codes), dropped


def _index(
    entry: Entry, places: Mapping[str, int] | None, collected: Collected, samples: int, path: Path | None
) -> int:
    first = 1 if collected.carrier == "rows" else 0
    if places is not None:
        index = places.get(entry.sample, -1)
    else:
        index = int(entry.sample) - first if _NUMBER.fullmatch(entry.sample) else -1
    if not 0 <= index < samples:
        near = nearest(entry.sample, places) if places is not None and samples <= 10_000 else ""
        raise UsageError(
            f"there is no sample {entry.sample[:80]!r}",
            where=_place(path, entry),
            got=entry.sample[:80],
            expected=f"a file's name{near}" if places is not None else f"{first} to {samples - 1 + first}",
        )
    return index


def _record(suspects: Suspects | None, entries: tuple[Entry, ...]) -> dict[str, Any]:
    words = Counter(_kind(entry) for entry in entries)
    notes = ["labels were not looked over"] if suspects is None else list(suspects.notes)
    if suspects is not None and not suspects.issues:
        notes.append("no label is suspected")
    return {
        "judged": 0 if suspects is None else suspects.judged,
        "suspected": 0 if suspects is None else len(suspects.issues),
        "decided": {kind: words[kind] for kind in ("keep", "change", "drop")},
        "undecided": words[""],
        "notes": notes,
    }


def _kind(entry: Entry) -> str:
    """A class's name counts as a change, unless it is the label that is there."""
    if entry.label is None:
        return entry.decision
    return "keep" if entry.label == entry.given else "change"


def _place(path: Path | None, entry: Entry) -> str:
    return place(path or Path("review"), entry.line)
