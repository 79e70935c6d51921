"""Leaks: equal samples, or one group, in two parts. Rows that are cut into windows are compared window by window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.carrier import column_of, sample_digests
from edgegen.data.check.findings import Leak
from edgegen.data.check.near import find_near
from edgegen.data.check.samples import Checking
from edgegen.data.dataset import PARTS

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
_SHOWN = 5
_AT_ONCE = 4_000_000  # samples
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64


def find_leaks(checking: Checking) -> tuple[Leak, ...]:
    """Everything that stands in two parts.

    Raises:
        UsageError: there is such, and ``[data.check] duplicates`` is "refuse". Repeats that the way of splitting is
            meant to leave (lines of a text, rows and groups on both sides of a point in time) are only said.
    """
    settings = checking.settings.check
    if settings.duplicates == "ignore":
        checking.notes.append("duplicates between the parts were not looked for")
        return ()
    digests = sample_digests(checking.files, checking.collected, checking.settings)
    leaks = [*_exact(checking, digests), *_shared_groups(checking)]
    if settings.near > 0:
        leaks += find_near(checking, digests, PAIRS)
    if settings.duplicates == "refuse":
        for leak in leaks:
            if not (checking.by == "time" and leak.kind != "near"):
                _refuse(leak, checking)
    return tuple(leaks)


def _exact(checking: Checking, digests: Array) -> list[Leak]:
    usable = np.ones(len(digests), bool)
    if checking.settings.window is not None and checking.collected.carrier == "rows":
        digests, usable = _windows(checking, digests, checking.settings.window.length)
    if checking.by == "time":
        checking.notes.append("equal samples on both sides of a point in time are counted, never refused")
    return [leak for pair in PAIRS if (leak := _shared(checking, digests, usable, *pair))]


def _shared(checking: Checking, digests: Array, usable: Array, earlier: str, later: str) -> Leak | None:
    """Samples of the later part that the earlier one has too; looked for among some four million at a time."""
    parts = np.asarray(checking.parts)
    count, first = 0, np.empty((0, 2), np.int64)
    for chosen in _by_digest(digests):
        places = chosen[usable[chosen]]
        before, after = (places[parts[places] == PARTS.index(part)] for part in (earlier, later))
        found = after[np.isin(digests[after], digests[before])]
        count += len(found)
        pairs = [[index, before[np.argmax(digests[before] == digests[index])]] for index in found[:_SHOWN]]
        first = np.concatenate([first, np.array(pairs, np.int64).reshape(-1, 2)])
        first = first[np.argsort(first[:, 0])][:_SHOWN]
    if not count:
        return None
    return Leak(
        kind="exact",
        earlier=earlier,
        later=later,
        count=count,
        of=int(np.count_nonzero(usable & (parts == PARTS.index(later)))),
        first=tuple(f"{checking.shown(int(one))} = {checking.shown(int(other))}" for one, other in first),
    )


def _by_digest(digests: Array) -> Iterator[Array]:
    """Indices of samples, some four million at a time; samples of one digest come together."""
    rounds = max(1, -(-len(digests) // _AT_ONCE))
    edges = [2**64 * number // rounds for number in range(rounds + 1)]
    for low, high in pairwise(edges):
        yield np.flatnonzero((digests >= np.uint64(low)) & (digests <= np.uint64(high - 1)))


def _windows(checking: Checking, digests: Array, length: int) -> tuple[Array, Array]:
    """Digest of the ``length`` rows from every row on, and which rows begin a window of one part and group.

    A polynomial hash over the rows' digests modulo 2**64, rolled over prefix sums (Karp and Rabin, 1987).
    """
    count = len(digests)
    whole = np.zeros(count, bool)
    if count < length:
        return digests, whole
    changes = np.diff(np.asarray(checking.parts)) != 0
    if checking.groups is not None:
        changes |= np.diff(checking.groups.codes) != 0
    stretch = np.concatenate([[0], np.cumsum(changes)])
    whole[: count - length + 1] = stretch[: count - length + 1] == stretch[length - 1 :]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digests * _powers(_BASE, count), dtype=np.uint64)])
    rolled = np.zeros(count, np.uint64)
    rolled[: count - length + 1] = sums[length:] - sums[: count - length + 1]
    return rolled * _powers(pow(_BASE, -1, 2**64), count), whole


def _powers(base: int, count: int) -> Array:
    """(count,) uint64: base**0, base**1, ... modulo 2**64."""
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    powers: Array = np.cumprod(factors, dtype=np.uint64)
    return powers


def _shared_groups(checking: Checking) -> list[Leak]:
    groups = checking.groups
    if groups is None or checking.by == "group":
        return []
    present = {part: groups.counts(checking.chosen(part)) > 0 for pair in PAIRS for part in pair}
    column = checking.settings.columns.get(column_of(checking.settings, "group") or "")
    private = column is not None and (column.sensitive or column.quasi_identifier)
    leaks = []
    for earlier, later in PAIRS:
        shared = np.flatnonzero(present[earlier] & present[later])
        if len(shared):
            names = () if private else tuple(repr(groups.names[code]) for code in shared[:_SHOWN])
            leaks.append(
                Leak(kind="group", earlier=earlier, later=later, count=len(shared), of=len(groups.names), first=names)
            )
    return leaks


def _refuse(leak: Leak, checking: Checking) -> None:
    what = {"exact": "the same samples stand", "near": "nearly the same samples stand", "group": "groups stand"}
    shown = ", ".join(leak.first) + (", ..." if leak.count > len(leak.first) and leak.first else "")
    others = "groups" if leak.kind == "group" else f"{leak.later} samples"
    way = "group" if leak.kind == "group" else "content"
    hint = f"split by {way!r}, " if checking.by != way and leak.kind != "near" else ""
    raise UsageError(
        f"{what[leak.kind]} in the {leak.earlier} and in the {leak.later} part",
        where="[data.check] duplicates",
        got=f"{leak.count} of {leak.of} {others}" + (f": {shown}" if shown else ""),
        expected="none: a model is judged on what it has not seen",
        next_step=f"remove them, {hint}or set duplicates = 'say'",
    )
