"""Models of sequences: how well they foretell the held-out rows, beside an n-gram model of no more bytes.

Every row begins without memory, for the model and for the n-gram model alike. Intervals are bootstrapped over stretches
of neighbouring rows, which resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.train.evaluate import Judged
from edgegen.train.families import find_family
from edgegen.train.figures import Baseline, Evaluation, Figure
from edgegen.train.ngram import NGram, fit_ngram
from edgegen.train.resampling import UNKNOWN, Interval, Resampling
from edgegen_runtime.tokens import Bins, Tokenizer, contract_tokenizer

if TYPE_CHECKING:
    from torch import nn

    from edgegen.data.dataset import Form, Part

    Array = np.ndarray[Any, np.dtype[Any]]

STRETCHES = 50
"""Pieces that the held-out rows are drawn anew in, at most."""

SAMPLE_TOKENS, TEMPERATURE = 200, 0.8
"""Length of the text that is shown, and what its logits are divided by before tokens are drawn."""

_PROMPT_TOKENS = 16
_LOGITS_AT_ONCE = 1 << 24
_VALUE_BYTES = 4
_LATE = "late_"
_SERIES = "The next value of the series"
_MEANINGS = {
    "bits_per_byte": ("bits", "lower", "what a byte of the text costs, written with the model's probabilities"),
    "nats_per_token": ("nats", "lower", "mean cross-entropy of a token after those before it in its row"),
    "perplexity": ("", "lower", "between how many equally likely tokens the model hesitates: exp of the nats"),
    "accuracy_ratio": ("", "higher", "part of the tokens that the model names first"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a model makes of the held-out rows, (rows, context) each."""

    nats: Array  # -ln p of the token that came
    right: Array | None  # whether it was named first; None: not known
    expected: Array | None  # bins: mean of the next value


def judge(judged: Judged) -> Evaluation:
    """Figures of foretelling, of a series' values where tokens are bins, and a text that the model wrote."""
    dataset = judged.dataset
    tokenizer = contract_tokenizer(dataset.form.preprocessing)
    found = _foretold(judged, judged.model, tokenizer)
    other = None if judged.other is None else _foretold(judged, judged.other, tokenizer)
    simple = fit_ngram(np.asarray(dataset.train.x), tokenizer.size, judged.deployed_bytes)
    plain = None if simple is None else _Found(nats=-simple.log_likelihood(dataset.test.x), right=None, expected=None)
    baseline = None if simple is None or plain is None else (_spelled(simple), simple.bytes, plain)
    rows = len(dataset.test)
    drawn = Resampling(samples=rows, groups=np.arange(rows) * min(STRETCHES, rows) // rows, seed=judged.seed)
    figures = [*_figures(dataset.form, found, other, baseline, drawn)]
    if isinstance(tokenizer, Bins):
        figures += _series(judged, tokenizer, found, other, drawn)
    return Evaluation(
        samples=rows,
        figures=tuple(figures),
        notes=(
            f"every row of {dataset.test.x.shape[1] - 1} tokens is foretold without memory of the rows before it",
            f"intervals: {drawn.group_count} stretches of neighbouring rows drawn anew",
        ),
        sample_text="" if isinstance(tokenizer, Bins) else write_text(judged, tokenizer),
    )


def write_text(judged: Judged, tokenizer: Tokenizer) -> str:
    """The first tokens of the held-out part, ``|``, and what the deployed model goes on with, a token a step."""
    prompt = np.asarray(judged.dataset.test.x[0, :_PROMPT_TOKENS]).astype(np.int64)
    tokens = _continued(judged, prompt.tolist())
    return f"{tokenizer.decode(prompt)}|{tokenizer.decode(np.array(tokens))}"


def _continued(judged: Judged, prompt: list[int]) -> list[int]:
    """Tokens after the prompt, drawn by PCG64."""
    import torch

    kind: Any = find_family(judged.family)
    step, settings = kind.deployed(judged.model), judged.settings
    takes, gives = kind.signature(settings)
    random = np.random.Generator(np.random.PCG64(judged.seed))
    memory, token, written = kind.begin(settings), prompt[0], list[int]()
    for number in range(len(prompt) + SAMPLE_TOKENS - 1):
        inputs = {**memory, "token": np.array([[token]], np.int32)}
        with torch.no_grad():
            given = step(*(torch.from_numpy(inputs[spec.name]) for spec in takes))
        outputs = {spec.name: value.numpy() for spec, value in zip(gives, given, strict=True)}
        memory = kind.remember(settings, inputs, outputs)
        if number + 1 < len(prompt):
            token = prompt[number + 1]
        else:
            scores = outputs["logits"][0].astype(np.float64) / TEMPERATURE
            shares = np.exp(scores - scores.max()).cumsum()
            token = min(int(np.searchsorted(shares, random.random() * shares[-1], side="right")), len(shares) - 1)
            written.append(token)
    return written


def _foretold(judged: Judged, model: nn.Module, tokenizer: Tokenizer) -> _Found:
    centres = tokenizer.decode(np.arange(tokenizer.size)) if isinstance(tokenizer, Bins) else None
    nats, right, expected = [], [], []
    for rows, log_p in _log_probabilities(judged, model, tokenizer.size):
        nats.append(-np.take_along_axis(log_p, rows[:, 1:, None], axis=2)[..., 0])
        right.append(log_p.argmax(axis=2) == rows[:, 1:])
        if centres is not None:
            expected.append(np.exp(log_p) @ centres)
    values = np.concatenate(nats)
    if not np.isfinite(values).all():
        raise BuildError("the model gives values that are not finite", where=judged.family, next_step="train it again")
    return _Found(nats=values, right=np.concatenate(right), expected=np.concatenate(expected) if expected else None)


def _log_probabilities(judged: Judged, model: nn.Module, vocabulary: int) -> Iterator[tuple[Array, Array]]:
    """Batches of held-out rows (batch, context + 1), and ln p of every token after each one but the last."""
    import torch

    part: Part = judged.dataset.test
    at_once = max(1, _LOGITS_AT_ONCE // (part.x.shape[1] * vocabulary))
    with torch.no_grad():
        for first in range(0, len(part), at_once):
            rows = np.asarray(part.x[first : first + at_once]).astype(np.int64)
            logits = cast(Any, find_family(judged.family)).scores(model, torch.from_numpy(rows[:, :-1]))
            yield rows, logits.double().log_softmax(dim=2).numpy()


def _figures(
    form: Form,
    found: _Found,
    other: _Found | None,
    baseline: tuple[str, int, _Found] | None,
    drawn: Resampling,
) -> Iterator[Figure]:
    def all_of(one: _Found, weights: Array) -> Mapping[str, float]:
        return _values(one, weights, form.bytes_per_token)

    once = np.ones(len(found.nats))
    values = all_of(found, once)
    second = {} if other is None else all_of(other, once)
    simple = {} if baseline is None else all_of(baseline[2], once)
    intervals = drawn.intervals(lambda weights: all_of(found, weights)) if drawn.group_count > 1 else {}
    for name, value in values.items():
        low, high = intervals.get(name, UNKNOWN)
        unit, better, doc = _MEANINGS[name.removeprefix(_LATE)]
        if name.startswith(_LATE):
            doc = f"the same for the second half of every row, where more is known: {doc}"
        yield Figure(
            name=name,
            value=value,
            unit=unit,
            better="higher" if better == "higher" else "lower",
            doc=doc,
            low=low,
            high=high,
            seeds=abs(second[name] - value) if second else None,
            baseline=Baseline(name=baseline[0], value=simple[name], bytes=baseline[1])
            if baseline is not None and name in simple
            else None,
        )


def _values(found: _Found, weights: Array, bytes_per_token: float | None) -> dict[str, float]:
    """Every figure, with each row counted as often as ``weights`` (rows,) says."""
    half = found.nats.shape[1] // 2
    nats = float(np.average(found.nats.mean(axis=1), weights=weights))
    late = float(np.average(found.nats[:, half:].mean(axis=1), weights=weights))
    values = {"nats_per_token": nats, "perplexity": math.exp(nats)}
    if bytes_per_token is None:
        values[f"{_LATE}nats_per_token"] = late
    else:
        bits = 1 / (math.log(2) * bytes_per_token)
        values = {"bits_per_byte": nats * bits, f"{_LATE}bits_per_byte": late * bits, **values}
    if found.right is not None:
        values["accuracy_ratio"] = float(np.average(found.right.mean(axis=1), weights=weights))
    return values


def _series(judged: Judged, bins: Bins, found: _Found, other: _Found | None, drawn: Resampling) -> list[Figure]:
    """How far the mean of the foretold distribution lies from the bin that came, in the unit of the column."""
    values = bins.decode(np.asarray(judged.dataset.test.x).ravel()).reshape(judged.dataset.test.x.shape)

    def error(expected: Array, weights: Array) -> float:
        squares = np.square(expected - values[:, 1:]).mean(axis=1)
        return math.sqrt(float(np.average(squares, weights=weights)))

    once = np.ones(len(values))
    mean = cast("Array", found.expected)
    interval: Interval = UNKNOWN
    if drawn.group_count > 1:
        interval = drawn.intervals(lambda weights: {"rmse": error(mean, weights)})["rmse"]
    value = error(mean, once)
    return [
        Figure(
            name="rmse",
            value=value,
            better="lower",
            group=_SERIES,
            doc="root mean squared distance of the foretold mean from the centre of the bin that came, in the unit of "
            f"{', '.join(judged.dataset.form.features)}",
            low=interval[0],
            high=interval[1],
            seeds=None if other is None or other.expected is None else abs(error(other.expected, once) - value),
            baseline=Baseline(
                name="the value before, once more", value=error(values[:, :-1], once), bytes=_VALUE_BYTES
            ),
        )
    ]


def _spelled(model: NGram) -> str:
    seldom = f", {model.order} tokens from {model.least} times on" if model.least > 1 else ""
    return f"Witten-Bell n-grams of up to {model.order} tokens{seldom}"
