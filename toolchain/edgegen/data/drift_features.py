"""What two sets are compared by: columns of numbers and categories, read off a bounded sample of a prepared set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.data.dataset import PARTS, DataSet, Form, Part

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

MOST_SAMPLES = 10_000
_MOST_NUMBERS = 20_000_000  # samples x features held together
_BATCH_VALUES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns by name, (samples,) each: float64 numbers, and text."""

    samples: int
    of: int
    numbers: Mapping[str, Array]
    categories: Mapping[str, Array]
    steps: list[Any] = field(default_factory=list)  # of the preprocessing, but for those that were undone here


def read_columns(dataset: DataSet, seed: int) -> Columns:
    """The features, labels, targets and sensitive attributes of at most ``MOST_SAMPLES`` samples of all parts."""
    form = dataset.form
    steps, undo = _undone(form)
    width = max(1, form.shape[0]) if form.kind in ("vectors", "series") else 1
    chosen = _chosen(dataset, min(MOST_SAMPLES, max(100, _MOST_NUMBERS // width)), seed)
    summaries = [_features(form, batch, undo) for batch in _batches(dataset, chosen)]
    numbers = {name: np.concatenate([found[name] for found in summaries]) for name in summaries[0]}
    categories = _one_hot_joined(form, numbers)
    if form.kind == "tokens":
        categories["token"] = np.array([*form.vocabulary])[numbers.pop("token").astype(np.int64)]
    parts: list[tuple[Part, Array]] = [(getattr(dataset, name), chosen[name]) for name in PARTS if len(chosen[name])]
    first = parts[0][0]
    answers = [part.y[places] for part, places in parts if part.y is not None]
    if form.targets and answers:
        targets = np.concatenate(answers).astype(np.float64)
        numbers |= {f"target {name}": targets[:, place] for place, name in enumerate(form.targets)}
    elif form.classes and answers:
        categories["label"] = np.array(form.classes)[np.concatenate(answers)]
    for name in sorted(
        first.attributes.keys() - categories.keys() - numbers.keys()
    ):  # a feature may be an attribute too
        categories[f"attribute {name}"] = np.concatenate([part.attributes[name][places] for part, places in parts])
    return Columns(
        samples=sum(len(places) for places in chosen.values()),
        of=sum(len(getattr(dataset, name)) for name in PARTS),
        numbers=numbers,
        categories=categories,
        steps=steps,
    )


def _chosen(dataset: DataSet, most: int, seed: int) -> dict[str, Array]:
    """Indices by part, rising; every sample of the set is as likely as any other."""
    sizes = [len(getattr(dataset, name)) for name in PARTS]
    total = sum(sizes)
    drawn = np.arange(total)
    if total > most:
        drawn = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(total, most, replace=False))
    ends = np.cumsum(sizes)
    return {
        name: drawn[(drawn >= end - size) & (drawn < end)] - (end - size)
        for name, size, end in zip(PARTS, sizes, ends, strict=True)
    }


def _batches(dataset: DataSet, chosen: Mapping[str, Array]) -> Iterator[Array]:
    at_once = max(1, _BATCH_VALUES // int(np.prod(dataset.form.shape)))
    for name in PARTS:
        x = getattr(dataset, name).x
        for first in range(0, len(chosen[name]), at_once):
            yield x[chosen[name][first : first + at_once]]


def _undone(form: Form) -> tuple[list[Any], Mapping[str, tuple[float, float]]]:
    """The steps without the last scale of features, and that scale's shift and factor by feature.

    Columns that were scaled before figures of windows were taken stay scaled.
    """
    steps = list(form.preprocessing["steps"])
    if form.kind not in ("vectors", "series"):
        return steps, {}
    figures = any(step["do"] == "statistics" for step in steps)
    undone = [step for step in steps if step["do"] == ("scale-array" if figures else "scale")]
    pairs: dict[str, tuple[float, float]] = {}
    for step in undone:
        if figures:
            pairs |= dict(zip(form.features, zip(step["shift"], step["factor"], strict=True), strict=True))
        else:
            pairs |= {name: (shift, factor) for name, (shift, factor) in step["columns"].items()}
    return [step for step in steps if step not in undone], pairs


def _features(form: Form, batch: Array, undo: Mapping[str, tuple[float, float]]) -> dict[str, Array]:
    """(samples,) by name: vectors as they are, of everything else some figures of each sample."""
    if form.kind == "tokens":
        return {"token": batch[:, -1]}  # one of each row: tokens of a row depend on each other
    values = batch.astype(np.float64)
    if form.kind == "vectors":
        return {name: _raw(values[:, place], undo.get(name)) for place, name in enumerate(form.features)}
    if form.kind == "series":
        found: dict[str, Array] = {}
        for place, name in enumerate(form.features):
            channel = _raw(values[:, place], undo.get(name))
            found |= {f"{name} mean": channel.mean(1), f"{name} deviation": channel.std(1)}
        return found
    return _picture(values) if form.kind == "images" else _sound(values)


def _raw(values: Array, scale: tuple[float, float] | None) -> Array:
    """Values before (value - shift) * factor."""
    return values if scale is None else values / scale[1] + scale[0]


def _picture(values: Array) -> dict[str, Array]:
    """(samples, channels, height, width) -> brightness, contrast, edges and centre of brightness; of colours, each."""
    axes = (1, 2, 3)
    mass = values.sum(1) + 1e-9
    rows, columns = (np.linspace(0, 1, size) for size in mass.shape[1:])
    total = mass.sum((1, 2))
    edges = np.abs(np.diff(values, axis=2)).mean(axes) + np.abs(np.diff(values, axis=3)).mean(axes)
    found = {"brightness": values.mean(axes), "contrast": values.std(axes), "edges": edges}
    found["centre down"] = (mass.sum(2) @ rows) / total
    found["centre across"] = (mass.sum(1) @ columns) / total
    if values.shape[1] == 3:
        found |= {name: values[:, place].mean((1, 2)) for place, name in enumerate(("red", "green", "blue"))}
    return found


def _sound(values: Array) -> dict[str, Array]:
    """(samples, 1, frames, bands) or (samples, 1, length) -> level, spread, change in time, and centre of bands."""
    flat = values.reshape(len(values), -1)
    in_time = np.abs(np.diff(values, axis=2)).reshape(len(values), -1).mean(1)
    found = {"level": flat.mean(1), "spread": flat.std(1), "change in time": in_time}
    if values.ndim == 4:
        bands = values.mean((1, 2))
        above = bands - bands.min(1, keepdims=True) + 1e-9
        found["centre of bands"] = (above @ np.linspace(0, 1, bands.shape[1])) / above.sum(1)
    return found


def _one_hot_joined(form: Form, numbers: dict[str, Array]) -> dict[str, Array]:
    """Categories that became columns of 0 and 1, as texts again; their columns leave ``numbers``."""
    found: dict[str, Array] = {}
    if form.kind != "vectors":
        return found
    for step in form.preprocessing["steps"]:
        if step["do"] != "one-hot":
            continue
        flags = [numbers.pop(f"{step['column']}={value}", None) for value in step["values"]]
        if any(flag is None for flag in flags):
            continue
        table = np.stack([np.asarray(flag) for flag in flags], axis=1)
        texts = np.array([*step["values"], "(other)"])
        found[step["column"]] = texts[np.where(table.max(1) > 0, table.argmax(1), len(step["values"]))]
    return found
