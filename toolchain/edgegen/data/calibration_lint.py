"""What is wrong with calibration samples: what misleads quantization is refused, the rest is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.calibration import CalibrationFinding
from edgegen.data.dataset import DataSet, Form
from edgegen.data.settings import CalibrationSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

LEAST_SAMPLES = 32
"""Fewer samples leave the ranges of activations to chance."""

_CHANNEL_AXIS = {"images": 1, "vectors": 1, "series": 1, "audio": 3}
_TOLERANCE = 1e-3  # of the declared range's width: rounding to float32, not a mistake
_NARROW = 0.5  # of the training part's width
_ALREADY = 0.1  # how near to mean 0 and deviation 1 (or to 0..1) raw columns lie that were scaled before
_SHOWN = 3
_NEXT = "look at what [data] makes of a raw sample: edgegen data inspect shows the steps"


class Ranges:
    """Least and greatest value of every channel, of the training part and of the drawn samples, batch by batch."""

    def __init__(self, form: Form) -> None:
        axis = _CHANNEL_AXIS.get(form.kind)
        self._axis = axis if axis is not None and axis <= len(form.shape) else None
        channels = 1 if self._axis is None else form.shape[self._axis - 1]
        self.train_least, self.drawn_least = np.full(channels, np.inf), np.full(channels, np.inf)
        self.train_greatest, self.drawn_greatest = np.full(channels, -np.inf), np.full(channels, -np.inf)

    def add_train(self, batch: Array) -> None:
        """A batch (samples, ...) of the training part.

        Raises:
            UsageError: a value that is not finite.
        """
        self._add(batch, self.train_least, self.train_greatest)

    def add_drawn(self, batch: Array) -> None:
        """A batch (samples, ...) of the drawn samples."""
        self._add(batch, self.drawn_least, self.drawn_greatest)

    def _add(self, batch: Array, least: Array, greatest: Array) -> None:
        if not np.isfinite(batch).all():
            raise UsageError("a prepared training value is not finite", where="[data.calibration]", next_step=_NEXT)
        values = batch.reshape(-1, 1) if self._axis is None else np.moveaxis(batch, self._axis, -1)
        values = values.reshape(-1, len(least))
        np.minimum(least, values.min(0), out=least)
        np.maximum(greatest, values.max(0), out=greatest)

    @property
    def train_width(self) -> Array:
        """(channels,)"""
        width: Array = self.train_greatest - self.train_least
        return width

    @property
    def drawn_width(self) -> Array:
        """(channels,)"""
        width: Array = self.drawn_greatest - self.drawn_least
        return width


def lint(
    dataset: DataSet,
    ranges: Ranges,
    indices: Array,
    settings: CalibrationSettings,
    *,
    shared: int,
    passed_over: int,
) -> tuple[CalibrationFinding, ...]:
    """Everything that is to be said of a draw.

    Args:
        shared: training samples that equal a test sample; ``passed_over`` of them would have been drawn.

    Raises:
        UsageError: values outside the set's range, or samples that were divided twice.
    """
    form = dataset.form
    _refuse_divided_twice(form, ranges)
    _refuse_outside(form, ranges)
    return (
        *_scaled_twice(form),
        *_narrow(form, ranges),
        *_constant(form, ranges),
        *_leak(len(dataset.train), shared, passed_over),
        *_few(dataset, indices, settings),
    )


def _refuse_divided_twice(form: Form, ranges: Ranges) -> None:
    """Raw values of 0..1 that a contract divides by 255 once more fill one step in 255 of the model's range."""
    by = _divisor(form.preprocessing)
    greatest = float(ranges.train_greatest.max())
    if by > 1 and 0 < greatest * by <= 1 + _TOLERANCE:
        raise UsageError(
            "the samples are normalized twice",
            where="[data.calibration], rule double-normalization",
            got=f"raw values of at most {greatest * by:g}, which the preprocessing divides by {by:g}",
            expected="raw values that the division brings to 0..1",
            next_step="store pixels as 0..255, or as floats in 0..1, which nothing divides",
        )


def _divisor(contract: Mapping[str, Any]) -> float:
    by = 1.0
    for step in contract.get("steps", ()):
        by *= float(step["by"]) if step["do"] == "divide" else 1.0
    return by


def _refuse_outside(form: Form, ranges: Ranges) -> None:
    """Training values outside of the range that the set's form promises to the model."""
    if form.minimum is None or form.maximum is None:
        return
    slack = _TOLERANCE * (form.maximum - form.minimum)
    least, greatest = float(ranges.train_least.min()), float(ranges.train_greatest.max())
    if least < form.minimum - slack or greatest > form.maximum + slack:
        raise UsageError(
            "training values leave the range that the set declares",
            where="[data.calibration], rule range-mismatch",
            got=f"{least:g} to {greatest:g}",
            expected=f"{form.minimum:g} to {form.maximum:g}",
            next_step=_NEXT,
        )


def _scaled_twice(form: Form) -> Iterator[CalibrationFinding]:
    pairs = list(_scales(form.preprocessing))
    if pairs and all(abs(shift) <= _ALREADY and abs(factor - 1) <= _ALREADY for shift, factor in pairs):
        yield CalibrationFinding(
            rule="double-normalization",
            severity="warning",
            said="The raw columns were scaled before: [data.clean] scale finds nothing left to do. The device must do "
            "what was done to them, and if it was fitted on the test part too, the figures are too good",
        )


def _scales(contract: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """(shift, factor) of everything that a contract scales."""
    for step in contract.get("steps", ()):
        if step["do"] == "scale":
            yield from ((float(shift), float(factor)) for shift, factor in step["columns"].values())
        elif step["do"] == "scale-array":
            yield from zip(map(float, step["shift"]), map(float, step["factor"]), strict=True)


def _narrow(form: Form, ranges: Ranges) -> Iterator[CalibrationFinding]:
    if form.kind == "tokens":
        return
    narrow = np.flatnonzero((ranges.drawn_width > 0) & (ranges.drawn_width < _NARROW * ranges.train_width))
    if len(narrow):
        yield CalibrationFinding(
            rule="range-mismatch",
            severity="warning",
            said=f"Calibration sees less than half of the training part's range in {_named(form, narrow)}: what lies "
            "beyond is clipped by int8; draw more samples, or clip outliers with [data.clean]",
        )


def _constant(form: Form, ranges: Ranges) -> Iterator[CalibrationFinding]:
    if form.kind == "tokens":
        return
    always = np.flatnonzero(ranges.train_width == 0)
    only_here = np.flatnonzero((ranges.drawn_width == 0) & (ranges.train_width > 0))
    if len(only_here):
        yield CalibrationFinding(
            rule="constant-channel",
            severity="warning",
            said=f"Calibration sees a single value in {_named(form, only_here)} and training does not: draw more",
        )
    if len(always):
        yield CalibrationFinding(
            rule="constant-channel",
            severity="note",
            said=f"The training part has a single value in {_named(form, always)}: it takes room and tells nothing",
        )


def _named(form: Form, channels: Array) -> str:
    """Channels for people: by name where they have names."""
    names = form.features if len(form.features) > int(channels.max()) else ()
    shown = ", ".join(repr(names[place]) if names else str(place) for place in channels[:_SHOWN].tolist())
    more = f" and {len(channels) - _SHOWN} more" if len(channels) > _SHOWN else ""
    word = {"vectors": "feature", "audio": "band"}.get(form.kind, "channel")
    return f"{word}{'s' if len(channels) > 1 else ''} {shown}{more}"


def _leak(train: int, shared: int, passed_over: int) -> Iterator[CalibrationFinding]:
    if shared == train:
        yield CalibrationFinding(
            rule="test-leak",
            severity="warning",
            said="Every training sample equals a test sample, so calibration looks at test samples too: the quality "
            "of quantized models is too good",
        )
    elif shared:
        yield CalibrationFinding(
            rule="test-leak",
            severity="note",
            said=f"{shared:,} training samples equal a test sample; the draw passed over {passed_over:,} of them",
        )


def _few(dataset: DataSet, indices: Array, settings: CalibrationSettings) -> Iterator[CalibrationFinding]:
    if len(indices) < LEAST_SAMPLES:
        yield CalibrationFinding(
            rule="too-few",
            severity="warning",
            said=f"Only {len(indices)} samples calibrate; {LEAST_SAMPLES} are the least that ranges can be read off",
        )
    elif len(indices) < settings.samples:
        yield CalibrationFinding(
            rule="too-few",
            severity="note",
            said=f"{settings.samples:,} calibration samples were asked for, the training part has {len(indices):,}",
        )
    classes, y = dataset.form.classes, dataset.train.y
    if classes and y is not None:
        learnt, drawn = (np.bincount(labels, minlength=len(classes)) for labels in (y, y[indices]))
        unseen = [classes[place] for place in np.flatnonzero((learnt > 0) & (drawn == 0))]
        if unseen:
            more = f" and {len(unseen) - _SHOWN} more" if len(unseen) > _SHOWN else ""
            yield CalibrationFinding(
                rule="too-few",
                severity="warning",
                said=f"Calibration sees no sample of the class {', '.join(unseen[:_SHOWN])}{more}: draw more samples",
            )
