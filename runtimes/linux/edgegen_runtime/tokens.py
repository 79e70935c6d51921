"""Text or a series of numbers as tokens, and back, by the preprocessing contract that a bundle carries.

The last step of such a contract is ``{"do": "tokens", "tokenizer": {"kind": ...}}``. A text's contract has no other;
a table's makes one column of numbers first.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np

from edgegen_runtime.contract import PreprocessError, integer, items, mapping, numbers, table, text
from edgegen_runtime.preprocess import Preprocessor

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

LIMIT = 65_536
"""Most tokens of a vocabulary: what two bytes tell apart."""

PIECE_BYTES = 64
"""Longest piece of text that merging looks at, and so the longest subword; longer runs are cut."""

UNKNOWN = "\ufffd"
"""Stands for a character that the training part did not have."""

_BYTES = 256
_MOST_STEPS = 5000
_CACHED_PIECES = 65_536
_PIECE = re.compile(
    rb" ?[0-9A-Z_a-z\x80-\xff]{1,63}| ?[!-/:-@\[-^`{-~]{1,63}|[\t\n\v\f\r ]{1,64}(?![^\t\n\v\f\r ])|[\s\S]"
)
"""A word or a run of signs, each with the blank before it, or a run of blanks; every byte falls into one piece.

On bytes, so that no version of Unicode's tables matters: bytes from 128 up count as letters.
"""


class Tokenizer(Protocol):
    """Data to tokens and back."""

    size: int
    """Number of tokens; they are 0 .. size - 1."""

    def encode(self, data: Any) -> Array:
        """Text, or (values,) of a series, to (tokens,) uint16."""

    def decode(self, tokens: Sequence[int] | Array) -> Any:
        """Tokens to text, or to (values,) float64.

        Raises:
            PreprocessError: a number that is no token.
        """

    def texts(self) -> tuple[str, ...]:
        """Every token as a person can read it, by number."""


def read_tokenizer(record: object) -> Tokenizer:
    """The tokenizer of a record with the key ``kind``: byte, character, subword or bins.

    Raises:
        PreprocessError: the record is not one.
    """
    kind = text(mapping(record, "the tokenizer").get("kind"), "the tokenizer's kind")
    if kind not in _KEYS:
        raise PreprocessError(f"unknown tokenizer {kind[:80]!r}: expected one of {', '.join(_KEYS)}")
    found = table(record, f"the tokenizer {kind!r}", required={"kind", *_KEYS[kind]})
    return _MAKERS[kind](*(found[key] for key in _KEYS[kind]))


def contract_tokenizer(contract: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a preprocessing contract.

    Raises:
        PreprocessError: the contract does not end in tokens.
    """
    return read_tokenizer(_split_contract(contract)[1])


def encode(contract: Mapping[str, Any], raw: Any) -> Array:
    """Raw text, or a table's columns by name, to (tokens,) uint16; ``contract_tokenizer(contract).decode`` goes back.

    Raises:
        PreprocessError: the contract is none of tokens, or the raw values do not fit it.
    """
    steps, record = _split_contract(contract)
    tokenizer = read_tokenizer(record)
    if not isinstance(tokenizer, Bins):
        return tokenizer.encode(text(raw, "what is to become tokens"))
    values = Preprocessor({**contract, "steps": steps})(raw)
    if values.ndim != 2 or values.shape[1] != 1:
        raise PreprocessError(f"bins take one column of numbers, not an array of {list(values.shape)}")
    return tokenizer.encode(values[:, 0])


def _split_contract(contract: Mapping[str, Any]) -> tuple[list[Any], object]:
    """The steps before the tokens, and the tokenizer's record."""
    steps = items(mapping(contract, "the contract").get("steps"), "the contract's 'steps'", _MOST_STEPS)
    if not steps or mapping(steps[-1], "the contract's last step").get("do") != "tokens":
        raise PreprocessError("the contract's last step is not 'tokens'")
    return steps[:-1], table(steps[-1], "'tokens'", required={"do", "tokenizer"})["tokenizer"]


class Bytes:
    """Every byte of UTF-8 is a token."""

    size = _BYTES

    def encode(self, data: str) -> Array:
        """Text to its bytes."""
        return np.frombuffer(_encoded(data), np.uint8).astype(np.uint16)

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Bytes to text; what is no UTF-8 becomes U+FFFD."""
        return _checked(tokens, self.size).astype(np.uint8).tobytes().decode(errors="replace")

    def texts(self) -> tuple[str, ...]:
        """The bytes as text."""
        return tuple(_printable(bytes([number])) for number in range(self.size))


class Characters:
    """Token 0 is any character that the alphabet lacks; the alphabet's follow in their order."""

    def __init__(self, alphabet: str) -> None:
        if not 1 <= len(text(alphabet, "the alphabet")) < LIMIT:
            raise PreprocessError(f"an alphabet has 1 to {LIMIT - 1} characters")
        self._alphabet = alphabet
        codes = _code_points(alphabet)
        if np.any(codes[1:] <= codes[:-1]):
            raise PreprocessError("an alphabet's characters stand in the order of their code points, each once")
        self.size = 1 + len(alphabet)
        self._numbers = np.zeros(int(codes[-1]) + 2, np.uint16)  # by code point; the last stands for all beyond
        self._numbers[codes] = np.arange(1, self.size)

    def encode(self, data: str) -> Array:
        """Characters to their numbers; 0 for one that is not in the alphabet."""
        found: Array = self._numbers[np.minimum(_code_points(data), len(self._numbers) - 1)]
        return found

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Numbers to characters; U+FFFD for 0."""
        letters = UNKNOWN + self._alphabet
        return "".join(letters[token] for token in _checked(tokens, self.size).tolist())

    def texts(self) -> tuple[str, ...]:
        """The characters; U+FFFD is the unknown one."""
        return UNKNOWN, *(_printable(letter.encode()) for letter in self._alphabet)


class Subwords:
    """Byte pair encoding (Sennrich et al., arXiv 1508.07909) on bytes: tokens 0 .. 255, then one a merge.

    Any text can be told in it and comes back as it was. Merges never reach over the border of a piece.
    """

    def __init__(self, merges: Sequence[Sequence[int]]) -> None:
        self._texts = [bytes([number]) for number in range(_BYTES)]
        self._merged: dict[tuple[int, int], int] = {}
        for number, merge in enumerate(items(merges, "'merges'", LIMIT - _BYTES), _BYTES):
            self._learn(number, merge)
        self.size = len(self._texts)
        self._cache: dict[bytes, list[int]] = {}

    def _learn(self, number: int, merge: object) -> None:
        parts = [integer(part, "a token of 'merges'", 0, number - 1) for part in items(merge, "a merge", 2)]
        if len(parts) != 2 or (pair := (parts[0], parts[1])) in self._merged:
            raise PreprocessError(f"entry {number - _BYTES} of 'merges' is no pair, or was there before")
        merged = self._texts[pair[0]] + self._texts[pair[1]]
        if len(merged) > PIECE_BYTES:
            raise PreprocessError(f"entry {number - _BYTES} of 'merges' gives more than {PIECE_BYTES} bytes")
        self._texts.append(merged)
        self._merged[pair] = number

    def encode(self, data: str) -> Array:
        """Text to subwords: in every piece the earliest merge that applies is done first."""
        found = array("H")
        for match in _PIECE.finditer(_encoded(data)):
            piece = match[0]
            tokens = self._cache.get(piece)
            if tokens is None:
                tokens = self._split(piece)
                if len(self._cache) < _CACHED_PIECES:
                    self._cache[piece] = tokens
            found.extend(tokens)
        return np.array(found, np.uint16)

    def _split(self, piece: bytes) -> list[int]:
        tokens = list(piece)
        while len(tokens) > 1:
            first = min((self._merged.get(pair, self.size), pair) for pair in pairwise(tokens))
            if first[0] == self.size:
                break
            tokens = merge_pair(tokens, first[1], first[0])
        return tokens

    def decode(self, tokens: Sequence[int] | Array) -> str:
        """Subwords to text; what is no UTF-8 becomes U+FFFD."""
        return b"".join(self._texts[token] for token in _checked(tokens, self.size).tolist()).decode(errors="replace")

    def texts(self) -> tuple[str, ...]:
        """The bytes of every token as text."""
        return tuple(_printable(token) for token in self._texts)


class Bins:
    """Token k stands for the values from ``edges[k - 1]`` up to below ``edges[k]`` and comes back as ``centres[k]``."""

    def __init__(self, edges: Sequence[float], centres: Sequence[float]) -> None:
        self.size = len(items(centres, "'centres'", LIMIT))
        if self.size < 2:
            raise PreprocessError("bins have at least two centres")
        self._centres = np.array(numbers(centres, "'centres'", self.size))
        self._edges = np.array(numbers(edges, "'edges'", self.size - 1))
        if np.any(self._edges[1:] <= self._edges[:-1]):
            raise PreprocessError("the edges of bins ascend")
        if np.any(np.searchsorted(self._edges, self._centres, side="right") != np.arange(self.size)):
            raise PreprocessError("the centre of a bin lies between its edges")

    def encode(self, data: Array | Sequence[float]) -> Array:
        """(values,) to the bins that they fall into.

        Raises:
            PreprocessError: a value that is not finite.
        """
        values = np.asarray(data)
        if values.ndim != 1 or values.dtype.kind not in "iuf" or not np.all(np.isfinite(values)):
            raise PreprocessError("bins take one row of finite numbers")
        return np.searchsorted(self._edges, values.astype(np.float64), side="right").astype(np.uint16)

    def decode(self, tokens: Sequence[int] | Array) -> Array:
        """Bins to their centres, (values,) float64."""
        return self._centres[_checked(tokens, self.size)]

    def texts(self) -> tuple[str, ...]:
        """The centres, to six digits."""
        return tuple(f"{centre:.6g}" for centre in self._centres.tolist())


def pieces(data: bytes) -> list[bytes]:
    """UTF-8 cut so that subwords never reach over a cut; joined it is the data again."""
    return _PIECE.findall(data)


def merge_pair(tokens: Sequence[int], pair: tuple[int, int], number: int) -> list[int]:
    """The tokens with every ``pair``, from the left, made one token ``number``."""
    merged: list[int] = []
    at = 0
    while at < len(tokens):
        if at + 1 < len(tokens) and tokens[at] == pair[0] and tokens[at + 1] == pair[1]:
            merged.append(number)
            at += 2
        else:
            merged.append(tokens[at])
            at += 1
    return merged


def _code_points(letters: str) -> Array:
    return np.frombuffer(_encoded(letters, "utf-32-le"), "<u4")


def _encoded(letters: str, encoding: str = "utf-8") -> bytes:
    try:
        return text(letters, "what is to become tokens").encode(encoding)
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can carry
        raise PreprocessError(f"the text is not Unicode: {error.reason}") from error


def _checked(tokens: Sequence[int] | Array, size: int) -> Array:
    numbers = np.asarray(tokens)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise PreprocessError("tokens are one row of integers")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
        raise PreprocessError(f"tokens are 0 to {size - 1}, got {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64)


def _printable(token: bytes) -> str:
    shown = token.decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)


_KEYS = {"byte": (), "character": ("alphabet",), "subword": ("merges",), "bins": ("edges", "centres")}
_MAKERS: Mapping[str, Callable[..., Tokenizer]] = {
    "byte": Bytes,
    "character": Characters,
    "subword": Subwords,
    "bins": Bins,
}
