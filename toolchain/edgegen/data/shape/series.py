"""Windows of time series: as (samples, channels, rows), or reduced to figures of each channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.carrier import Coded
from edgegen.data.clean import fit_scale
from edgegen.data.clean.columns import row_name
from edgegen.data.collected import Collected, Files
from edgegen.data.dataset import PARTS, DataSet, Form, Part
from edgegen.data.settings import DataSettings, WindowSettings
from edgegen.data.shape.recordings import Recordings, read_recordings
from edgegen.data.shape.spill import Spill
from edgegen.data.shape.windows import LEFT_OUT, Windows, find_windows
from edgegen_runtime.contract import MOST_COLUMNS
from edgegen_runtime.preprocess import Preprocessor
from edgegen_runtime.signals import statistics

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

MOST_BYTES = 16 * 1024**3
"""What the windows of a set may take on disk."""

_WINDOWS_AT_ONCE = 256


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """Windows (samples, channels, rows) float32 of the feature columns as cleaning leaves them.

    Raises:
        UsageError: no whole window in a part, a class without a training window, times that do not ascend inside a
            recording, or windows that take too much space.
    """
    window = _window(settings)
    recordings = read_recordings(files, collected, settings, np.float32, progress)
    windows = find_windows(recordings, window, collected, settings, progress)
    shape = (len(recordings.names), window.length)
    x = {}
    for name, starts in windows.starts.items():
        spill = _spill(np.float32, len(starts), shape)
        for begins, rows in _batches(recordings.rows, starts, window.length):
            spill.add(_finite(rows, begins))
        x[name] = spill.array()
    steps: list[dict[str, Any]] = [{"do": "transpose"}]
    return _dataset(collected, settings, window, how, "series", recordings.names, x, steps, recordings, windows)


def shape_statistics(
    files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress
) -> DataSet:
    """The same windows as vectors (samples, channels * figures), scaled as ``[data.clean] scale`` says.

    Feature columns are scaled row by row already; the figures are scaled again, by those of the training part.

    Raises:
        UsageError: as ``shape``; too many figures.
    """
    window = _window(settings)
    recordings = read_recordings(files, collected, settings, np.float64, progress)
    windows = find_windows(recordings, window, collected, settings, progress)
    names = tuple(f"{channel}_{figure}" for channel in recordings.names for figure in window.statistics)
    if len(names) > MOST_COLUMNS:
        raise UsageError(
            "windows have too many figures",
            where="[data.window] statistics",
            got=len(names),
            expected=f"at most {MOST_COLUMNS}",
        )
    figures = {}
    for name, starts in windows.starts.items():
        spill = _spill(np.float64, len(starts), (len(names),))
        for begins, rows in _batches(recordings.rows, starts, window.length):
            with np.errstate(over="ignore", invalid="ignore"):
                found = statistics(np.swapaxes(rows, 1, 2), window.statistics)
            spill.add(_finite(found, begins))
        figures[name] = spill.array()
    steps: list[dict[str, Any]] = [{"do": "statistics", "names": list(window.statistics)}]
    if settings.clean.scale != "none":
        steps.append(fit_scale(_slices(figures["train"]), settings.clean, axis=1))
    x = {name: _scaled(values, steps[1:], windows.starts[name]) for name, values in figures.items()}
    return _dataset(collected, settings, window, how, "vectors", names, x, steps, recordings, windows)


def _window(settings: DataSettings) -> WindowSettings:
    if settings.window is None:
        raise UsageError("a time series needs windows", where="[data.window]", next_step="name 'length' and 'step'")
    return settings.window


def _spill(dtype: type, windows: int, shape: tuple[int, ...]) -> Spill:
    size = int(np.prod([windows, *shape], dtype=object)) * np.dtype(dtype).itemsize
    if size > MOST_BYTES:
        raise UsageError(
            "the windows take too much space",
            where="[data.window]",
            got=f"{size} bytes: {windows} windows of {list(shape)}",
            expected=f"at most {MOST_BYTES} bytes",
            next_step="choose a larger step, or shorter windows",
        )
    return Spill(dtype, shape)


def _batches(rows: Array, starts: Array, length: int) -> Iterator[tuple[Array, Array]]:
    """Where windows begin, and the windows: (windows, channels, length)."""
    view = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)
    for begins in _slices(starts):
        yield begins, view[begins]


def _slices(values: Array) -> Iterator[Array]:
    for first in range(0, len(values), _WINDOWS_AT_ONCE):
        yield values[first : first + _WINDOWS_AT_ONCE]


def _scaled(figures: Array, steps: list[dict[str, Any]], starts: Array) -> Array:
    """(windows, figures) float32."""
    prepare = Preprocessor({"input": {}, "steps": steps})
    spill = Spill(np.float32, figures.shape[1:])
    for begins, batch in zip(_slices(starts), _slices(figures), strict=True):
        with np.errstate(over="ignore"):
            spill.add(_finite(np.asarray(prepare.run(batch)).astype(np.float32), begins))
    return spill.array()


def _finite(values: Array, starts: Array) -> Array:
    """The values of windows as they are.

    Raises:
        UsageError: names the window that holds one which is not finite.
    """
    wrong = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(wrong):
        row = row_name(int(starts[wrong[0]]))
        raise UsageError("a prepared value is not finite", where=f"the window that begins at {row}")
    return values


def _dataset(
    collected: Collected,
    settings: DataSettings,
    window: WindowSettings,
    how: str,
    kind: Literal["series", "vectors"],
    names: tuple[str, ...],
    x: Mapping[str, Array],
    steps: list[dict[str, Any]],
    recordings: Recordings,
    windows: Windows,
) -> DataSet:
    """``steps``: what becomes of a window; ``names``: of the features."""
    cut = {"do": "window", "length": window.length, "step": window.step}
    left_out = f"; {windows.skipped} {LEFT_OUT}" if windows.skipped else ""
    form = Form(
        name=collected.name,
        kind=kind,
        shape=x["train"].shape[1:],
        dtype="float32",
        minimum=0.0 if settings.clean.scale == "minmax" else None,
        maximum=1.0 if settings.clean.scale == "minmax" else None,
        features=names,
        classes=windows.classes,
        targets=recordings.target_names,
        samples={name: len(starts) for name, starts in windows.starts.items()},
        origin=collected.origin,
        licence=collected.licence,
        licence_doubt=collected.licence_doubt,
        synthetic=collected.synthetic,
        split=f"{how}; windows of {window.length} rows, one every {window.step}{left_out}",
        preprocessing={**recordings.contract, "steps": [*recordings.contract["steps"], cut, *steps]},
    )
    return DataSet(form=form, **{name: _part(x[name], name, recordings, windows, window.length) for name in PARTS})


def _part(x: Array, name: str, recordings: Recordings, windows: Windows, length: int) -> Part:
    """Targets are those of a window's last row; group and attributes those of its first."""
    starts = windows.starts[name]
    return Part(
        x=x,
        y=windows.labels.get(name) if recordings.targets is None else recordings.targets[starts + length - 1],
        group=None if recordings.group is None else _texts(recordings.group, starts),
        attributes={key: _texts(coded, starts) for key, coded in recordings.attributes.items()},
    )


def _texts(coded: Coded, rows: Array) -> Array:
    return np.array([*coded.names, ""], dtype=str)[coded.codes[rows]]
