"""Tokens from a model of sequences, one after the other: a prompt is read, then every token chosen is read in turn.

What the model remembers is kept here and goes in and comes out of it, as the contract of its bundle says under
``generation``. A prompt is read in blocks by a second file where there is one, else a token a step: both give the same.
Randomness is numpy's PCG64 from a seed: the same numbers on every machine, so the same text wherever the scores agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edgegen_runtime.contract import PreprocessError, integer, items, table, text
from edgegen_runtime.session import InputsError, ModelRefusedError, Port

Array: TypeAlias = "np.ndarray[Any, Any]"
Infer: TypeAlias = "Callable[[Mapping[str, Array]], Mapping[str, Array]]"

MOST_TOKENS = 1_000_000
"""Of a prompt, or to write."""

_RING_AXIS = 2
_MOST_MEMORY = 64
_MOST_CONTEXT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An input that holds memory, and the output that follows it."""

    input: str
    output: str
    ring: bool  # the output is written into a place of the input's third axis; else it takes the input's place


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a model is fed, by the contract of its bundle."""

    token: str
    scores: str
    position: str | None  # input that says how many tokens came before
    context: int | None  # tokens that it looks back on; None: a state, which forgets nothing at once
    memory: tuple[Kept, ...]
    tokens: str | None = None  # of the file that reads blocks: its tokens, and how many of them there are
    count: str | None = None
    block: int = 0  # length of a block; 0: the bundle has no such file


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model file that is ready to run."""

    inputs: tuple[Port, ...]
    infer: Infer


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen by its scores."""

    temperature: float = 1.0  # scores are divided by it; 0: always the highest score
    top_k: int = 0  # only among so many of the highest scores; 0: all
    top_p: float = 1.0  # only among the likeliest that together have this probability

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 1000 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise InputsError(
                "tokens cannot be chosen so: "
                f"got temperature {self.temperature}, top-k {self.top_k}, top-p {self.top_p}; expected a temperature "
                "of 0 to 1000, a top-k of 0 (all) or more, and a top-p above 0 and up to 1"
            )


def read_rules(contract: Mapping[str, Any]) -> Rules:
    """The rules in a bundle's ``preprocessing.json``.

    Raises:
        PreprocessError: the model is none of sequences, or the rules are none.
    """
    if "generation" not in contract:
        raise PreprocessError("the bundle's model writes no tokens: its contract has no 'generation'")
    known = {"token", "scores", "position", "context", "memory"}
    found = table(contract["generation"], "'generation'", required=known, optional={"block"})
    position, context = found["position"], found["context"]
    block = found.get("block")
    more: dict[str, Any] = {}
    if block is not None:
        read = table(block, "'block'", required={"tokens", "count", "length"})
        length = integer(read["length"], "a block's length", 1, _MOST_CONTEXT)
        more = {
            "tokens": text(read["tokens"], "the block's tokens"),
            "count": text(read["count"], "the block's count"),
            "block": length,
        }
    return Rules(
        token=text(found["token"], "the token's input"),
        scores=text(found["scores"], "the output of scores"),
        position=None if position is None else text(position, "the position's input"),
        context=None if context is None else integer(context, "the context", 1, _MOST_CONTEXT),
        memory=tuple(_kept(entry) for entry in items(found["memory"], "'memory'", _MOST_MEMORY)),
        **more,
    )


def _kept(entry: object) -> Kept:
    found = table(entry, "an entry of 'memory'", required={"input", "output", "kept"})
    if found["kept"] not in ("ring", "whole"):
        raise PreprocessError("memory is kept as a 'ring' or as a 'whole'")
    return Kept(
        input=text(found["input"], "a memory's input"),
        output=text(found["output"], "a memory's output"),
        ring=found["kept"] == "ring",
    )


class Reading:
    """A model in the middle of a text. Not for sharing between threads."""

    def __init__(self, rules: Rules, step: Model, block: Model | None = None) -> None:
        """Before the first token.

        Args:
            block: reads ``rules.block`` tokens at once; None: ``step`` reads them all.

        Raises:
            ModelRefusedError: a model does not take what the rules say.
        """
        self._rules = rules
        self._step = step
        self._block = block if rules.block else None
        self.read_tokens = 0
        shared = {kept.input for kept in rules.memory} | ({rules.position} if rules.position else set())
        _check(step, {rules.token, *shared})
        if self._block is not None:
            _check(self._block, {str(rules.tokens), str(rules.count), *shared})
        ports = {port.name: port for port in step.inputs}
        held = [kept.input for kept in rules.memory if not ports[kept.input].dtype.startswith("float")]
        if held:
            raise ModelRefusedError(f"the memory {held[0]!r} is held in integers, whose scales differ at both ends")
        self._memory: dict[str, Array] = {
            kept.input: np.zeros([axis or 1 for axis in ports[kept.input].shape], ports[kept.input].dtype)
            for kept in rules.memory
        }
        for kept in rules.memory:
            shape = self._memory[kept.input].shape
            if kept.ring and (len(shape) <= _RING_AXIS or shape[_RING_AXIS] != rules.context):
                raise ModelRefusedError(f"the ring {kept.input!r} has no {rules.context} places: {list(shape)}")

    def read(self, tokens: Sequence[int] | Array) -> Array:
        """The scores (vocabulary,) of the token after the last of these.

        Raises:
            InputsError: there are none.
            ModelRefusedError: the runtime fails, or gives something else than the rules say.
        """
        numbers = np.asarray(tokens, np.int32).reshape(-1)
        if not numbers.size:
            raise InputsError("there is no token to read")
        scores = np.zeros(0)
        length = self._rules.block if self._block is not None else 1
        for first in range(0, len(numbers), length):
            scores = self._one(numbers[first : first + length])
        return scores

    def _one(self, tokens: Array) -> Array:
        rules = self._rules
        inputs: dict[str, Array] = dict(self._memory)
        if rules.position is not None:
            inputs[rules.position] = np.array([[self.read_tokens]], np.int32)
        model = self._step
        # A lone token is a step's: a block of one would cost as much as a full one.
        if self._block is not None and len(tokens) > 1:
            model = self._block
            padded = np.zeros((1, rules.block), np.int32)
            padded[0, : len(tokens)] = tokens
            inputs |= {str(rules.tokens): padded, str(rules.count): np.array([[len(tokens)]], np.int32)}
        else:
            inputs[rules.token] = tokens.reshape(1, 1)
        given = model.infer(inputs)
        missing = {rules.scores, *(kept.output for kept in rules.memory)} - set(given)
        if missing:
            raise ModelRefusedError(f"the model does not give {min(missing)!r}")
        for kept in rules.memory:
            self._keep(kept, np.asarray(given[kept.output]), len(tokens))
        self.read_tokens += len(tokens)
        scores: Array = np.asarray(given[rules.scores], np.float64).reshape(-1)
        if not scores.size or not np.isfinite(scores).all():
            raise ModelRefusedError("the model gives scores that are not finite")
        return scores

    def _keep(self, kept: Kept, new: Array, count: int) -> None:
        memory = self._memory[kept.input]
        if not kept.ring:
            if new.shape != memory.shape:
                raise ModelRefusedError(f"the output {kept.output!r} has not the shape of {kept.input!r}")
            self._memory[kept.input] = new
            return
        if new.ndim == memory.ndim - 1:  # a step's: one token, without an axis for it
            new = np.expand_dims(new, _RING_AXIS)
        places = (self.read_tokens + np.arange(count)) % memory.shape[_RING_AXIS]
        taken = new[:, :, :count]
        if taken.shape != (*memory.shape[:_RING_AXIS], count, *memory.shape[_RING_AXIS + 1 :]):
            raise ModelRefusedError(f"the output {kept.output!r} does not fit into {kept.input!r}")
        memory[:, :, places] = taken


def _check(model: Model, expected: set[str]) -> None:
    found = {port.name for port in model.inputs}
    if found != expected:
        raise ModelRefusedError(
            f"the model takes {', '.join(sorted(found))}; its contract says {', '.join(sorted(expected))}"
        )


def choose(scores: Array, sampling: Sampling, random: np.random.Generator) -> int:
    """One token by its scores (vocabulary,); equal scores: the lower number is the likelier."""
    if sampling.temperature == 0:
        return int(np.argmax(scores))
    ordered = np.argsort(-scores, kind="stable")
    if sampling.top_k:
        ordered = ordered[: sampling.top_k]
    with np.errstate(over="ignore"):  # a temperature near 0 leaves the highest alone
        shares = np.exp((scores[ordered] - scores[ordered[0]]) / sampling.temperature)
    sums = np.cumsum(shares / shares.sum())
    last = min(int(np.searchsorted(sums, sampling.top_p * sums[-1], side="left")), len(sums) - 1)
    place = int(np.searchsorted(sums, random.random() * sums[last], side="right"))
    return int(ordered[min(place, last)])


def generate(
    reading: Reading, prompt: Sequence[int] | Array, tokens: int, sampling: Sampling, seed: int
) -> Iterator[int]:
    """So many tokens that follow the prompt, each as soon as it is known.

    Raises:
        InputsError: no token in the prompt, or numbers out of range.
        ModelRefusedError: see ``Reading.read``.
    """
    if not 1 <= tokens <= MOST_TOKENS or seed < 0:
        raise InputsError(f"1 to {MOST_TOKENS} tokens are written, from a seed of 0 or more; got {tokens}, {seed}")
    random = np.random.Generator(np.random.PCG64(seed))
    scores = reading.read(prompt)
    for number in range(tokens):
        token = choose(scores, sampling, random)
        yield token
        if number + 1 < tokens:
            scores = reading.read([token])
