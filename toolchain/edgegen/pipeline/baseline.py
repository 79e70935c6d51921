"""What a gate is given: results, builds, bundles, files of runs, and what of them is compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.bench.commits import NOTES, commit_of
from edgegen.bench.given_json import given_json
from edgegen.bench.history import MAX_BYTES as MAX_HISTORY_BYTES
from edgegen.bench.history import History, parse_history
from edgegen.bench.read_result import MAX_BYTES, bundle_of, check_result, read_result
from edgegen.bench.runs import Run, run_of_line, run_of_result
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.given_file import read_file
from edgegen.pipeline.bench import now
from edgegen.pipeline.history import load_history

_LINES = ".jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One thing that was measured, as a person named it."""

    source: str
    runs: tuple[Run, ...]  # oldest first; none where nothing was measured
    document: Mapping[str, Any] | None = None  # result.json, where there is one
    bundle: Path | None = None
    torn: int = 0

    def for_run(self, run: Run) -> Run | None:
        """The run that another is held against: of its target and project, the last of its machine, else the last."""
        known = [item for item in self.runs if (item.target, item.name) == (run.target, run.name)]
        alike = [item for item in known if item.fingerprint == run.fingerprint]
        return next(iter([*alike[::-1], *known[::-1]]), None)


def read_given(place: str) -> Given:
    """What lies at ``place``: a result.json, a build's folder, a bundle, a file of runs, what ``bench --json`` printed,
    or ``git-notes``.

    Raises:
        UsageError: none of these.
        IntegrityError: a bundle that does not hold.
    """
    if place == NOTES:
        return _of_history(place, load_history(place))
    path = Path(place)
    if path.is_dir():
        return _of_result(place, read_result(path), bundle_of(path))
    if not path.exists():
        raise UsageError(
            "there is no such file or folder",
            where=place,
            expected="a result.json, a build's folder, a bundle, or a file of runs",
            next_step=f"edgegen bench BUNDLE --record {place} begins one"
            if path.suffix == _LINES
            else "edgegen build --target NAME",
        )
    # Read once: it may be a shell's <(command).
    data = read_file(path, "the file", limit_bytes=MAX_HISTORY_BYTES)
    if not data or path.suffix == _LINES or data.startswith(b'{"fingerprint":'):
        return _of_history(place, parse_history(data, place))
    if len(data) > MAX_BYTES:
        raise UsageError("the result is too large", where=place, expected=f"at most {MAX_BYTES >> 20} MiB")
    return _of_document(place, path, data)


def _of_history(place: str, history: History) -> Given:
    return Given(source=place, runs=history.runs, torn=history.torn)


def _of_document(place: str, path: Path, data: bytes) -> Given:
    try:
        document = given_json(data, place)
    except IntegrityError as error:
        raise UsageError(
            "neither a result nor a file of runs", where=place, got=error.got, expected="result.json or lines of JSON"
        ) from error
    if "run" in document:
        return Given(source=place, runs=(run_of_line(document["run"], place),))
    check_result(document, place)
    beside = path.parent if path.name == "result.json" else path
    return _of_result(place, document, bundle_of(beside))


def _of_result(place: str, document: Mapping[str, Any], bundle: Path | None) -> Given:
    # A result does not say when it came about: it is taken to be of now, as its commit is that of now.
    commit, dirty = commit_of(Path(place) if Path(place).is_dir() else Path(place).parent)
    runs: tuple[Run, ...]
    try:
        runs = (run_of_result(document, when=now(), commit=commit, dirty=dirty),)
    except UsageError:
        runs = ()  # nothing was measured: its verdicts say so
    return Given(source=place, runs=runs, document=document, bundle=bundle)


def plain(run: Run) -> dict[str, Any]:
    """A run as JSON has it."""
    from edgegen.bench.runs import line_of

    found: dict[str, Any] = json.loads(line_of(run))
    return found
