"""An n-gram model that keeps to a number of bytes: the plain model that a language model is compared with.

Interpolated by Witten and Bell, The Zero-Frequency Problem, IEEE Transactions on Information Theory 37(4), 1991, method
C, as Chen and Goodman, TR-10-98, equation 15 write it. It is a trie: a node is an n-gram, its children the tokens that
follow. The longest n-grams that come seldom are left out until it fits; what they held goes to the shorter history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

LONGEST = 8
"""Tokens of the longest n-gram that is tried."""

MOST_TOKENS = 20_000_000
"""Training tokens that are counted, the last ones: what fits into some gigabytes."""

_STEPS = 8  # codes of a count to a doubling: one byte reaches 2**31, at most 4.5 % off
_COUNT_BYTES, _CHILD_BYTES = 1, 3
_DEVELOPMENT = 0.1  # last part of the training rows, on which the longest n-gram is chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """The n-grams of one length: ``keys`` is (node of all tokens but the last) * vocabulary + last token, ascending."""

    keys: Array  # (nodes,) int64
    counts: Array  # (nodes,) float64, as one byte tells them


class NGram:
    """A fitted model."""

    def __init__(self, levels: Sequence[_Level], vocabulary: int, least: int) -> None:
        """``levels`` by length, from 1; ``least`` is how often an n-gram of the greatest length came at least."""
        self.order = len(levels)
        self.least = least
        self._levels = levels
        self._vocabulary = vocabulary
        # Of every node of a length but the last: how many different tokens follow, and how often they do together.
        self._kinds, self._followed = [], []
        for parents, level in pairwise(levels):
            owner = level.keys // vocabulary
            self._kinds.append(np.bincount(owner, minlength=len(parents.keys)))
            self._followed.append(np.bincount(owner, weights=level.counts, minlength=len(parents.keys)))

    @property
    def bytes(self) -> int:
        """What the trie takes."""
        return _bytes([len(level.keys) for level in self._levels], self._vocabulary)

    def log_likelihood(self, rows: Array) -> Array:
        """ln p of each token of rows (samples, tokens) but the first, from those before it in its row."""
        found = np.empty((len(rows), rows.shape[1] - 1))
        wide = rows.astype(np.int64)
        for at in range(1, rows.shape[1]):
            found[:, at - 1] = np.log(self._probability(wide[:, max(0, at - self.order + 1) : at], wide[:, at]))
        return found

    def _probability(self, history: Array, token: Array) -> Array:
        """p of tokens (samples,) after histories (samples, at most order - 1 tokens)."""
        root = self._levels[0]
        kinds = len(root.keys)
        seen = self._count(root, np.zeros(len(token), np.int64), token)
        p: Array = (seen + kinds / self._vocabulary) / (root.counts.sum() + kinds)
        for length in range(1, history.shape[1] + 1):
            node = self._find(history[:, history.shape[1] - length :])
            there = np.flatnonzero(node >= 0)
            parent = node[there]
            followed = self._followed[length - 1][parent]
            behind = self._kinds[length - 1][parent] + self._left_out(length, parent)
            seen = self._count(self._levels[length], parent, token[there])
            some = followed + behind > 0
            shorter = p[there]
            p[there[some]] = (seen + behind * shorter)[some] / (followed + behind)[some]
        return p

    def _left_out(self, length: int, node: Array) -> Array:
        """How often these histories of ``length`` tokens went on with a token that was left out for its rarity."""
        if length + 1 < self.order or self.least == 1:
            return np.zeros(len(node))
        lost: Array = np.maximum(self._levels[length - 1].counts[node] - self._followed[length - 1][node], 0)
        return lost

    def _find(self, tokens: Array) -> Array:
        """Nodes of n-grams (samples, length), -1 where there is none."""
        node = np.zeros(len(tokens), np.int64)
        for level, column in zip(self._levels, tokens.T, strict=False):
            node = np.where(node < 0, -1, _place(level.keys, node * self._vocabulary + column))
        return node

    def _count(self, level: _Level, parent: Array, token: Array) -> Array:
        node = _place(level.keys, parent * self._vocabulary + token)
        counts: Array = np.where(node < 0, 0.0, level.counts[node])
        return counts


def fit_ngram(rows: Array, vocabulary: int, most_bytes: int) -> NGram | None:
    """The n-gram model of at most ``most_bytes`` that is best on the last tenth of the rows (samples, tokens).

    How long its n-grams are is chosen on that tenth after fitting to the rest; the model is then fitted to all. None
    where not even single tokens fit.
    """
    rows = rows[-max(1, MOST_TOKENS // rows.shape[1]) :]
    rest = len(rows) - int(len(rows) * _DEVELOPMENT)
    chosen, best = None, -np.inf
    for whole, part in zip(_grow(rows, vocabulary), _grow(rows[:rest], vocabulary), strict=False):
        model = _cut(whole, vocabulary, most_bytes)
        if model is None:
            break
        trial = NGram([*part[:-1], _at_least(part[-1], model.least)], vocabulary, model.least)
        likelihood = trial.log_likelihood(rows[rest:]).mean() if rest < len(rows) else -np.inf
        if chosen is None or likelihood > best:
            chosen, best = model, likelihood
    return chosen


def _grow(rows: Array, vocabulary: int) -> Iterator[list[_Level]]:
    """All n-grams of up to 1, 2, 3 ... tokens. They cross from row to row where a row goes on with the last's end."""
    goes_on = np.append(False, rows[:-1, -1] == rows[1:, 0])
    kept = np.ones(rows.shape, bool)
    kept[goes_on, 0] = False
    tokens = rows[kept].astype(np.int64)
    ends = np.cumsum(kept.sum(axis=1))[np.append(~goes_on[1:], True)]  # of each unbroken stretch
    left = np.repeat(ends, np.diff(ends, prepend=0)) - np.arange(len(tokens))  # tokens to its end, itself among them
    node = np.zeros(len(tokens), np.int64)  # of the n-gram that begins at each token
    levels: list[_Level] = []
    for length in range(1, LONGEST + 1):
        begins = np.flatnonzero(left >= length)
        keys = node[begins] * vocabulary + tokens[begins + length - 1]
        unique, node[begins], counts = np.unique(keys, return_inverse=True, return_counts=True)
        levels.append(_Level(keys=unique, counts=2.0 ** (np.round(_STEPS * np.log2(counts)) / _STEPS)))
        yield list(levels)


def _cut(levels: Sequence[_Level], vocabulary: int, most_bytes: int) -> NGram | None:
    """The model whose longest n-grams come often enough for it to fit; None if it does not without any."""
    fixed = _bytes([*(len(level.keys) for level in levels[:-1]), 0], vocabulary)
    room = (most_bytes - fixed) // _bytes([1], vocabulary)
    if room < 1:
        return None
    counts = np.sort(levels[-1].counts)[::-1]
    least = 1 if len(counts) <= room else int(np.floor(counts[room])) + 1  # one more would be the first left out
    return NGram([*levels[:-1], _at_least(levels[-1], least)], vocabulary, least)


def _at_least(level: _Level, least: int) -> _Level:
    kept = level.counts >= least
    return _Level(keys=level.keys[kept], counts=level.counts[kept])


def _bytes(nodes: Sequence[int], vocabulary: int) -> int:
    """Token and count of a node, and where its children begin, which the longest n-grams lack."""
    token = 1 if vocabulary <= 256 else 2
    return sum(nodes) * (token + _COUNT_BYTES) + sum(nodes[:-1]) * _CHILD_BYTES


def _place(keys: Array, wanted: Array) -> Array:
    """Where each wanted key stands among the ascending ``keys``, -1 if it does not."""
    if not len(keys):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Array = np.where(keys[place] == wanted, place, -1)
    return found
