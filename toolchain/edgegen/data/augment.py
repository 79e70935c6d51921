"""What training varies in its samples; every random number is drawn from the generator that it is given.

Naming what applies needs no torch: settings are checked where a project is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgegen.core.errors import UsageError
from edgegen.data.settings import AugmentSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor

_APPLIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "images": frozenset({"shift_ratio", "rotate_degrees", "scale_ratio", "flip", "noise"}),
        "waveforms": frozenset({"time_shift_ratio", "gain_db", "noise"}),
        "spectrograms": frozenset({"time_shift_ratio", "mask_ratio", "noise"}),
        "series": frozenset({"time_shift_ratio", "magnitude_ratio", "noise"}),
        "vectors": frozenset({"noise"}),
        "tokens": frozenset(),
    }
)


def augments(settings: AugmentSettings) -> bool:
    """Whether any operation is asked for."""
    return bool(_asked(settings))


def check_augment(settings: AugmentSettings, kind: str, shape: tuple[int, ...] | None = None) -> None:
    """Refuses an operation that samples of ``kind`` (as ``Form.kind``) cannot take.

    Args:
        shape: of one sample; tells spectrograms (1, frames, bands) from waveforms (1, samples). None: either may be.

    Raises:
        UsageError: names the key.
    """
    sorts = _sorts(kind, shape)
    for name in _asked(settings):
        if not any(name in _APPLIES[sort] for sort in sorts):
            fitting = sorted(set().union(*(_APPLIES[sort] for sort in sorts)))
            raise UsageError(
                f"{name!r} does not apply to {' or '.join(sorts)}",
                where=f"[data.augment] {name}",
                got=getattr(settings, name),
                expected=f"one of {', '.join(fitting)}" if fitting else "nothing: such samples are not varied",
                next_step="remove the key",
            )


def augment(x: Tensor, kind: str, settings: AugmentSettings, noise: Generator) -> Tensor:
    """A varied copy of a batch, of its shape and element type; images stay in 0..1.

    Args:
        x: (batch, *Form.shape) float32; left as it is.
        kind: as ``Form.kind``: images, audio, series or vectors.

    Raises:
        UsageError: an operation that such samples cannot take.
    """
    check_augment(settings, kind, tuple(x.shape[1:]))
    if kind == "images":
        x = _moved(x, settings, noise)
    if settings.time_shift_ratio:
        x = _shifted(x, settings.time_shift_ratio, 2, noise, silence=kind == "audio" and x.ndim == 3)
    if settings.gain_db:
        decibels = settings.gain_db * _uniform(x, (len(x), 1, 1), noise)
        x = x * 10 ** (decibels / 20)
    if settings.magnitude_ratio:
        x = x * (1 + settings.magnitude_ratio * _uniform(x, (*x.shape[:2], 1), noise))
    if settings.mask_ratio:
        x = _masked(x, settings.mask_ratio, noise)
    if settings.noise:
        x = x + settings.noise * _normal(x, noise)
    return x.clamp(0, 1) if kind == "images" else x


def moved_images(x: Tensor, angles: Tensor, sizes: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Images turned about their middle, resized, shifted and mirrored; black comes in at the borders.

    Args:
        x: (batch, channels, height, width).
        angles: (batch,) counterclockwise, radians.
        sizes: (batch,) 1.2 is 20 % larger.
        shifts: (batch, 2) right and down, in parts of width and height.
        mirrored: (batch,) bool; left and right are exchanged first.
    """
    import torch
    import torch.nn.functional as F

    height, width = x.shape[2:]
    cosines, sines = torch.cos(angles) / sizes, torch.sin(angles) / sizes
    sides = 1 - 2 * mirrored.to(x.dtype)
    right, down = 2 * shifts[:, 0], 2 * shifts[:, 1]  # the grid reaches from -1 to 1
    # The inverse of the motion: from a place of the result to the place of the source. The ratios keep a turn a turn
    # where height and width differ.
    over, under = -sines * height / width, sines * width / height
    places = torch.stack(
        [
            torch.stack([sides * cosines, sides * over, -sides * (cosines * right + over * down)], -1),
            torch.stack([under, cosines, -(under * right + cosines * down)], -1),
        ],
        1,
    )
    grid = F.affine_grid(places, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _asked(settings: AugmentSettings) -> list[str]:
    return [item.name for item in fields(settings) if getattr(settings, item.name)]


def _sorts(kind: str, shape: tuple[int, ...] | None) -> tuple[str, ...]:
    if kind != "audio":
        return (kind,)
    if shape is None:
        return ("waveforms", "spectrograms")
    return ("waveforms",) if len(shape) == 2 else ("spectrograms",)


def _moved(x: Tensor, settings: AugmentSettings, noise: Generator) -> Tensor:
    if not (settings.shift_ratio or settings.rotate_degrees or settings.scale_ratio or settings.flip):
        return x
    angles = math.radians(settings.rotate_degrees) * _uniform(x, (len(x),), noise)
    sizes = 1 + settings.scale_ratio * _uniform(x, (len(x),), noise)
    shifts = settings.shift_ratio * _uniform(x, (len(x), 2), noise)
    mirrored = (_uniform(x, (len(x),), noise) > 0) & settings.flip
    return moved_images(x, angles, sizes, shifts, mirrored)


def _shifted(x: Tensor, ratio: float, axis: int, noise: Generator, *, silence: bool) -> Tensor:
    """Each sample moved along ``axis``; what comes in is silence, or else the first or last row again."""
    import torch

    length = x.shape[axis]
    steps = (length * ratio * _uniform(x, (len(x),), noise)).round().long()
    sources = torch.arange(length, device=x.device) - steps[:, None]
    inside = (sources >= 0) & (sources < length)
    shape = [len(x), *(length if number == axis else 1 for number in range(1, x.ndim))]
    indexes = sources.clamp(0, length - 1).reshape(shape).expand(x.shape)
    moved = x.gather(axis, indexes)
    return moved * inside.reshape(shape) if silence else moved


def _masked(x: Tensor, ratio: float, noise: Generator) -> Tensor:
    """One run of frames and one of bands set to the sample's mean (SpecAugment, Park et al., arXiv 1904.08779).

    A run's length is drawn evenly from 0 to ``ratio`` of the axis, its place from all places.
    """
    import torch

    means = x.mean(dim=(1, 2, 3), keepdim=True)
    for axis in (2, 3):
        size = x.shape[axis]
        longest = torch.full((len(x), 1), math.floor(size * ratio), dtype=x.dtype, device=x.device)
        lengths = _whole(longest, noise)
        starts = _whole(size - lengths, noise)
        places = torch.arange(size, device=x.device)
        blank = (places >= starts) & (places < starts + lengths)
        shape = [len(x), 1, size, 1] if axis == 2 else [len(x), 1, 1, size]
        x = torch.where(blank.reshape(shape), means, x)
    return x


def _whole(greatest: Tensor, noise: Generator) -> Tensor:
    """Whole numbers, each evenly from 0 to its ``greatest``."""
    drawn = (_uniform(greatest, tuple(greatest.shape), noise) + 1) / 2
    return (drawn * (greatest + 1)).floor().minimum(greatest)


def _uniform(x: Tensor, shape: tuple[int, ...], noise: Generator) -> Tensor:
    """Evenly from -1 up to 1, drawn where the generator is."""
    import torch

    return (2 * torch.rand(shape, generator=noise, device=noise.device) - 1).to(x.device, x.dtype)


def _normal(x: Tensor, noise: Generator) -> Tensor:
    import torch

    return torch.randn(tuple(x.shape), generator=noise, device=noise.device).to(x.device, x.dtype)
