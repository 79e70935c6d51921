"""Architectures of classifiers and regressors as plain facts: what each takes, its widths, and how small is too small.

Needs no torch: settings are completed from the data in every rebuild. ``label_models`` builds the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    from edgegen.data.dataset import Form

Architecture: TypeAlias = Literal["mlp", "cnn1d", "ds-cnn", "resnet8", "mobilenet-v1-0.25"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one architecture takes."""

    axes: int  # of a sample: 1 features; 2 channels, rows; 3 channels, height, width
    takes: str  # the same for people
    widths: tuple[int, ...]  # by default
    fewest: int  # widths that it needs
    most: int  # widths that it can have
    halvings: int | None = None  # how often it halves every axis but the first; None: once a width


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "mlp": Layout(axes=1, takes="vectors", widths=(64, 32), fewest=1, most=16, halvings=0),
        "cnn1d": Layout(axes=2, takes="windows of series, or waveforms", widths=(32, 64, 64), fewest=1, most=12),
        "ds-cnn": Layout(
            axes=3, takes="spectrograms or images", widths=(64, 64, 64, 64, 64), fewest=2, most=16, halvings=1
        ),
        "resnet8": Layout(axes=3, takes="images or spectrograms", widths=(16, 32, 64), fewest=3, most=3, halvings=2),
        "mobilenet-v1-0.25": Layout(
            axes=3,
            takes="images or spectrograms",
            widths=(8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256),
            fewest=14,
            most=14,
            halvings=5,
        ),
    }
)

_DEFAULTS = {"vectors": "mlp", "series": "cnn1d", "audio": "ds-cnn", "images": "resnet8"}
_LEAST_MAP = 2  # rows and columns that must be left: a batch norm cannot learn from one value


def choose_architecture(form: Form, written: Architecture | None) -> str:
    """The architecture that was asked for, or the one that suits the data.

    Raises:
        UsageError: it does not take such samples.
    """
    if written is None:
        if form.kind not in _DEFAULTS:
            raise UsageError(
                "no architecture takes such samples",
                where="[model] family",
                got=form.kind,
                expected=", ".join(_DEFAULTS),
                next_step="tokens are for the family 'autoregressive'",
            )
        return "cnn1d" if form.kind == "audio" and len(form.shape) == 2 else _DEFAULTS[form.kind]
    layout = LAYOUTS[written]
    if form.kind == "tokens" or len(form.shape) != layout.axes:
        raise UsageError(
            f"{written!r} does not take such samples",
            where="[model] architecture",
            got=f"{form.kind} of shape {list(form.shape)}",
            expected=layout.takes,
            next_step="leave 'architecture' out: it is then chosen by the data",
        )
    return written


def choose_widths(architecture: str, written: tuple[int, ...]) -> tuple[int, ...]:
    """The widths that were asked for, or the architecture's own.

    Raises:
        UsageError: a number of widths that it cannot have.
    """
    layout = LAYOUTS[architecture]
    if not written:
        return layout.widths
    if not layout.fewest <= len(written) <= layout.most:
        number = str(layout.fewest) if layout.fewest == layout.most else f"{layout.fewest} to {layout.most}"
        raise UsageError(
            "the value of 'model.widths' is not usable",
            where="[model] widths",
            got=list(written),
            expected=f"{number} numbers for {architecture!r}, e.g. {list(layout.widths)}",
        )
    return written


def check_size(architecture: str, widths: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Refuses samples of which too little would be left behind the network's strides.

    Raises:
        UsageError: names the least size.
    """
    halvings = LAYOUTS[architecture].halvings
    least = _LEAST_MAP * 2 ** (len(widths) if halvings is None else halvings)
    if len(shape) > 1 and min(shape[1:]) < least:
        raise UsageError(
            f"the samples are too small for {architecture!r}",
            where="[model] architecture",
            got=f"shape {list(shape)}",
            expected=f"at least {least} along every axis but the first",
            next_step="choose an architecture with fewer strides, fewer widths, or larger samples",
        )
