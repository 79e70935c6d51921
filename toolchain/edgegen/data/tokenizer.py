"""Tokenizers learnt from the training part alone, as the records that ``edgegen_runtime.tokens`` reads.

Byte pairs are counted over the distinct pieces of the text, so that a text of some megabytes takes seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.settings import TextSettings
from edgegen_runtime.tokens import LIMIT, merge_pair, pieces

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_BYTES = 256
_LEAST_COUNT = 2


def learn_tokenizer(training: str, settings: TextSettings, progress: Progress) -> Mapping[str, Any]:
    """The record of the tokenizer that ``[data.text]`` asks for.

    Raises:
        UsageError: 'bins', which are for numbers; too few or too many tokens for the kind.
    """
    if settings.tokens == "byte":
        return {"kind": "byte"}
    if settings.tokens == "character":
        return {"kind": "character", "alphabet": _alphabet(training)}
    if settings.tokens == "subword":
        return {"kind": "subword", "merges": _learn_merges(training.encode(), settings.vocabulary, progress)}
    raise UsageError(
        "bins are for a series of numbers, not for text",
        where="[data.text] tokens",
        got=settings.tokens,
        expected="byte, character or subword",
    )


def learn_bins(values: Array, vocabulary: int, progress: Progress) -> Mapping[str, Any]:
    """The record of bins that share the training values (n,) evenly, as far as equal values allow.

    Every edge is a training value (a quantile by the inverted distribution function), so that no bin is empty; the
    centre of a bin is the mean of the training values in it.

    Raises:
        UsageError: fewer than two different values.
    """
    ordered = np.sort(values.astype(np.float64))
    at = np.arange(1, vocabulary) * len(ordered) // vocabulary
    edges = np.unique(ordered[at])
    edges = edges[edges > ordered[0]]
    if not len(edges):
        raise UsageError(
            "the training part of the series hardly varies: one bin would hold it all",
            where="[data.text] vocabulary",
            got=vocabulary,
            next_step="raise it, or choose another column",
        )
    if len(edges) + 1 < vocabulary:
        progress.say(f"bins: values that come often leave {len(edges) + 1} of {vocabulary}")
    starts = np.searchsorted(ordered, [-np.inf, *edges])
    bins = np.split(ordered, starts[1:])
    centres = [float(np.clip(np.mean(inside), inside[0], inside[-1])) for inside in bins]
    return {"kind": "bins", "edges": edges.tolist(), "centres": centres}


def _alphabet(training: str) -> str:
    alphabet = "".join(sorted(set(training)))
    if len(alphabet) >= LIMIT:
        raise UsageError(
            "the training part has too many different characters",
            where="[data.text] tokens",
            got=len(alphabet),
            expected=f"at most {LIMIT - 1}",
            next_step="choose 'byte' or 'subword'",
        )
    return alphabet


def _learn_merges(training: bytes, vocabulary: int, progress: Progress) -> list[list[int]]:
    """The pairs to merge, most frequent first; of equally frequent ones the one of the smaller token numbers."""
    if vocabulary <= _BYTES:
        raise UsageError(
            "a vocabulary of subwords begins with the 256 bytes",
            where="[data.text] vocabulary",
            got=vocabulary,
            expected=f"{_BYTES + 1} to {LIMIT}",
            next_step="raise it, or choose 'byte' or 'character'",
        )
    pairs = _Pairs(Counter(pieces(training)))
    merges: list[list[int]] = []
    while len(merges) < vocabulary - _BYTES:
        pair = pairs.most_frequent()
        if pair is None:
            progress.say(f"subwords: no pair comes twice after {_BYTES + len(merges)} of {vocabulary} tokens")
            break
        pairs.merge(pair, _BYTES + len(merges))
        merges.append(list(pair))
        if len(merges) % 64 == 0 or len(merges) == vocabulary - _BYTES:
            progress.advance("subwords", len(merges), vocabulary - _BYTES)
    return merges


class _Pairs:
    """How often neighbouring tokens come in a text, kept up to date while pairs are merged."""

    def __init__(self, found: Mapping[bytes, int]) -> None:
        self._words = [list(piece) for piece in found]
        self._times = list(found.values())
        self._counts: Counter[tuple[int, int]] = Counter()
        self._where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for index in range(len(self._words)):
            self._count(index, 1)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapify(self._heap)

    def most_frequent(self) -> tuple[int, int] | None:
        """The pair that comes most often; None if none comes twice."""
        while self._heap:
            count, pair = heappop(self._heap)
            if -count == self._counts[pair]:  # else it has changed since, and stands further down as it is now
                return pair if -count >= _LEAST_COUNT else None
        return None

    def merge(self, pair: tuple[int, int], number: int) -> None:
        """Makes the pair one token wherever it comes."""
        touched: set[tuple[int, int]] = set()
        for index in list(self._where[pair]):
            before = self._words[index]
            self._count(index, -1)
            self._words[index] = merge_pair(before, pair, number)
            self._count(index, 1)
            touched |= {*pairwise(before), *pairwise(self._words[index])}
        for changed in touched:
            if self._counts[changed]:
                heappush(self._heap, (-self._counts[changed], changed))
            else:
                del self._counts[changed], self._where[changed]

    def _count(self, index: int, sign: int) -> None:
        for pair in pairwise(self._words[index]):
            self._counts[pair] += sign * self._times[index]
            if sign > 0:
                self._where[pair].add(index)
            else:
                self._where[pair].discard(index)
