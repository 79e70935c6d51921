"""Text as rows of context + 1 tokens; a row's last token is the next row's first.

So every token but a part's first is predicted once. Tokenizers are learnt from the training part alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress
from edgegen.data.collected import SPLIT_FILE, TEXT_FILE, Collected, Files
from edgegen.data.dataset import PARTS, DataSet, Form, Part
from edgegen.data.settings import DataSettings
from edgegen.data.tokenizer import learn_tokenizer
from edgegen_runtime.tokens import Tokenizer, read_tokenizer

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """Rows (samples, context + 1) of tokens, kept in the smallest unsigned type that holds them.

    Raises:
        UsageError: a way of making tokens that such data cannot take, or a part that is shorter than one row.
    """
    if collected.carrier == "text":
        return _shape_text(files, collected, settings, how, progress)
    shaper = load("edgegen.data.shape.bins:shape", extra="data")
    dataset: DataSet = shaper(files, collected, settings, how, progress)
    return dataset


def text_parts(data: bytes, split: Array) -> dict[str, bytes]:
    """The text of each part. ``split`` has one place a line; a line reaches to its "\\n", the last to the end.

    Raises:
        UsageError: another number of lines, or a part whose lines do not follow each other.
    """
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    if len(split) != len(ends):
        raise UsageError("the split is not of this text", got=f"{len(split)} places", expected=f"{len(ends)} lines")
    begins = np.concatenate([[0], ends[:-1]])
    parts = {}
    for number, name in enumerate(PARTS):
        lines = np.flatnonzero(split == number)
        if len(lines) and lines[-1] - lines[0] + 1 != len(lines):
            raise UsageError(
                "a part of a text is one piece", where=f"[data.split] by, {name} part", next_step="split by 'time'"
            )
        parts[name] = data[begins[lines[0]] : ends[lines[-1]]] if len(lines) else b""
    return parts


def _shape_text(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    parts = text_parts(files[TEXT_FILE].read_bytes(), np.load(files[SPLIT_FILE], allow_pickle=False))
    record = learn_tokenizer(parts["train"].decode(), settings.text, progress)
    tokenizer = read_tokenizer(record)
    found = {name: tokenizer.encode(data.decode()) for name, data in parts.items()}
    if settings.text.tokens == "character":
        for name in ("validation", "test"):
            unknown = int(np.sum(found[name] == 0))
            if unknown:
                progress.say(f"{unknown} of {len(found[name])} characters of the {name} part never come in training")
    context = settings.text.context
    rows = {
        name: token_rows(tokens, np.arange(0, len(tokens) - context, context), context)
        for name, tokens in found.items()
    }
    contract = {
        "schema_version": 1,
        "input": {"kind": "text", "encoding": "utf-8"},
        "steps": [{"do": "tokens", "tokenizer": record}],
    }
    size = len(parts["test"]) / max(1, len(found["test"]))
    return token_set(collected, settings, how, rows, tokenizer, contract, bytes_per_token=size)


def token_rows(tokens: Array, starts: Array, context: int) -> Array:
    """(starts, context + 1): the tokens from each start on."""
    if not len(starts):
        return np.empty((0, context + 1), tokens.dtype)
    return np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[starts]


def token_set(
    collected: Collected,
    settings: DataSettings,
    how: str,
    rows: Mapping[str, Array],
    tokenizer: Tokenizer,
    contract: Mapping[str, Any],
    *,
    bytes_per_token: float | None = None,
    features: tuple[str, ...] = (),
) -> DataSet:
    """The set of these rows by part.

    Raises:
        UsageError: a part that is wanted has no row.
    """
    for name in PARTS:
        if not len(rows[name]) and (name != "validation" or settings.split.validation_ratio):
            raise UsageError(
                f"the {name} part is shorter than one row of tokens",
                where="[data.text] context",
                got=settings.text.context,
                next_step="choose a shorter context, or more data",
            )
    smallest = np.uint8 if tokenizer.size <= 256 else np.uint16
    form = Form(
        name=collected.name,
        kind="tokens",
        shape=(settings.text.context + 1,),
        dtype="int64",
        features=features,
        vocabulary=tokenizer.texts(),
        samples={name: len(rows[name]) for name in PARTS},
        bytes_per_token=bytes_per_token,
        origin=collected.origin,
        licence=collected.licence,
        licence_doubt=collected.licence_doubt,
        synthetic=collected.synthetic,
        split=how,
        preprocessing=contract,
    )
    return DataSet(form=form, **{name: Part(x=rows[name].astype(smallest)) for name in PARTS})
