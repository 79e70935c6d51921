"""Samples of two parts that are nearly the same, by their distance in parts of the usual distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.data.check.findings import Leak
from edgegen.data.check.points import Points, drawn, points
from edgegen.data.check.samples import Checking

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_SEED = 0  # of samples and projections: fixed, so that a set is always judged alike
_MOST_PRODUCTS = 2e11  # multiplications for one pair of parts: some seconds
_MOST_VALUES = 50_000_000  # numbers held at a time, for each of the two parts
_PROJECTED = 128
_MOST_COORDINATES = 100_000
_MEDIAN_PAIRS = 500
_SLACK = 1.5  # a projection to 128 numbers keeps nearly all distances within a quarter
_BLOCK = 2048
_SHOWN = 5


def find_near(checking: Checking, digests: Array, pairs: tuple[tuple[str, str], ...]) -> list[Leak]:
    """Samples that are not equal to one of an earlier part, but nearer to it than ``near`` times the median distance.

    Euclidean over values, or over standardized columns of numbers with every category a point on the unit circle.
    All pairs are compared where that takes some seconds; else random projections (Johnson and Lindenstrauss, 1984)
    find candidates, which are then measured, and of very large parts a sample is compared. Notes say so.
    """
    if checking.collected.carrier == "text" or checking.settings.window is not None:
        checking.notes.append("near duplicates are looked for neither in text nor in rows that are cut into windows")
        return []
    chosen = {part: np.flatnonzero(checking.chosen(part)) for pair in pairs for part in pair}
    space = points(checking, chosen["train"], _SEED)
    threshold = checking.settings.check.near * _median_distance(space, chosen["train"])
    if not threshold > 0:
        checking.notes.append("near duplicates were not looked for: most training samples are the same")
        return []
    leaks = []
    for earlier, later in pairs:
        if len(chosen[earlier]) and len(chosen[later]):
            seen, before, after = _bounded(checking, space, chosen, earlier, later)
            found = _close(space, seen, before, after, threshold)
            found = [(one, other) for one, other in found if digests[one] != digests[other]]
            if found:
                first = tuple(f"{checking.shown(one)} = {checking.shown(other)}" for one, other in found[:_SHOWN])
                leaks.append(
                    Leak(kind="near", earlier=earlier, later=later, count=len(found), of=len(after), first=first)
                )
    return leaks


def _median_distance(space: Points, train: Array) -> float:
    """Median over seeded pairs of different training samples."""
    if len(train) < 2:
        return 0.0
    random = np.random.Generator(np.random.PCG64(_SEED))
    most = max(1, min(_MEDIAN_PAIRS, _MOST_VALUES // (2 * space.width)))
    sample = space.read(drawn(train, 2 * most, _SEED))
    one, other = random.integers(0, len(sample), (2, 4 * most))
    apart = one != other
    distances = [_distance(sample[a], sample[b]) for a, b in zip(one[apart][:most], other[apart][:most], strict=True)]
    return float(np.median(distances)) if distances else 0.0


def _bounded(
    checking: Checking, space: Points, chosen: dict[str, Array], earlier: str, later: str
) -> tuple[Points, Array, Array]:
    """What to compare the samples by, and which of the earlier and of the later part."""
    before, after = chosen[earlier], chosen[later]
    too_many = float(len(before)) * len(after) * space.width > _MOST_PRODUCTS
    if space.width > _PROJECTED and (too_many or max(len(before), len(after)) * space.width > _MOST_VALUES):
        space = _projected(space)
        checking.notes.append(
            f"near duplicates of {earlier} and {later}: candidates come from a random projection, so some may be missed"
        )
    share = min(1.0, (_MOST_PRODUCTS / max(1.0, float(len(before)) * len(after) * space.width)) ** 0.5)
    most = max(1, _MOST_VALUES // space.width)
    limits = [max(1, min(int(len(part) * share), most)) for part in (before, after)]
    if limits[0] < len(before) or limits[1] < len(after):
        before, after = drawn(before, limits[0], _SEED), drawn(after, limits[1], _SEED)
        checking.notes.append(
            f"near duplicates: only {len(after)} {later} samples were compared with {len(before)} {earlier} samples"
        )
    return space, before, after


def _projected(space: Points) -> Points:
    """Fewer numbers with nearly the same distances; of very wide samples some coordinates stand for all."""
    random = np.random.Generator(np.random.PCG64(_SEED))
    kept = np.arange(space.width)
    if space.width > _MOST_COORDINATES:
        kept = np.sort(random.choice(space.width, _MOST_COORDINATES, replace=False))
    scale = np.float32((space.width / len(kept) / _PROJECTED) ** 0.5)
    turn = random.standard_normal((len(kept), _PROJECTED), np.float32) * scale
    at_once = max(1, _MOST_VALUES // space.width)

    def read(indices: Array) -> Array:
        pieces = [space.read(indices[at : at + at_once])[:, kept] @ turn for at in range(0, len(indices), at_once)]
        return np.concatenate(pieces)

    return Points(width=_PROJECTED, read=read)


def _close(whole: Points, seen: Points, before: Array, after: Array, threshold: float) -> list[tuple[int, int]]:
    """(later sample, nearest earlier one) wherever their distance in ``whole`` is below the threshold."""
    partners, squares = _nearest(seen.read(before), seen.read(after))
    slack = _SLACK if seen is not whole else 1.0
    # Differences of squares lose digits: what may be near by a rounding error is measured too.
    candidates = np.flatnonzero(squares <= (slack * threshold) ** 2 + 1e-4 * (threshold**2 + np.median(squares)))
    found = []
    at_once = max(1, _MOST_VALUES // whole.width)
    for at in range(0, len(candidates), at_once):
        ones, others = after[candidates[at : at + at_once]], before[partners[candidates[at : at + at_once]]]
        different, places = np.unique(others, return_inverse=True)
        for one, other, a, b in zip(ones, others, whole.read(ones), whole.read(different)[places], strict=True):
            if _distance(a, b) < threshold:
                found.append((int(one), int(other)))
    return found


def _nearest(before: Array, after: Array) -> tuple[Array, Array]:
    """Place of the nearest row of ``before`` for every row of ``after``, and the square of their distance."""
    centre = before.mean(0)
    before, after = before - centre, after - centre
    lengths = np.einsum("ij,ij->i", before, before)
    partners = np.zeros(len(after), np.int64)
    squares = np.full(len(after), np.inf, np.float32)
    for first in range(0, len(after), _BLOCK):
        block = after[first : first + _BLOCK]
        for start in range(0, len(before), _BLOCK):
            apart = lengths[start : start + _BLOCK] - 2 * (block @ before[start : start + _BLOCK].T)
            places = apart.argmin(1)
            least = apart[np.arange(len(block)), places] + np.einsum("ij,ij->i", block, block)
            better = least < squares[first : first + _BLOCK]
            partners[first : first + _BLOCK][better] = places[better] + start
            squares[first : first + _BLOCK][better] = least[better]
    return partners, squares


def _distance(one: Array, other: Array) -> float:
    return float(np.linalg.norm(one.astype(np.float64) - other.astype(np.float64)))
