"""A transposed convolution as a convolution whose channels are laid out in space: geometry and weights of both forms.

Along one axis a transposed convolution of stride s gives y[n] = sum over j of w[j] x[t] where s t + j = n + p. With
n + o = s i + r (i: position, r: phase in 0..s-1, o: how many outputs are cropped in front) the taps of one phase lie at
t = i + (r + p - o - j) / s, so all phases together are one stride-1 convolution of at most ceil((k + s - 1) / s) taps
that gives s values a position: the sub-pixel convolution of Shi et al., "Is the deconvolution layer the same as a
convolutional layer?", arXiv:1609.07009. With the right o it has ceil(k / s) taps and no wasted product, at the price of
a crop. An input of one pixel has no stride: there the kernel itself is the output, and one tap is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One axis of a transposed convolution."""

    length: int  # of the input, at least 1
    taps: int  # of the kernel, at least 1
    stride: int
    dilation: int
    before: int  # outputs that its padding takes off in front; may be negative
    output: int  # length of the output, at least 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """The same axis as a convolution of stride 1 and ``block`` values a position, of which ``crop`` in front go."""

    block: int
    taps: int
    first: int  # a position's first tap lies so far from it; never positive
    pads: tuple[int, int]
    crop: int
    positions: int
    output: int

    @property
    def cropped(self) -> bool:
        """Whether anything has to go, in front or behind."""
        return self.crop > 0 or self.positions * self.block > self.output


def lay(axis: Stretch, crop: int) -> Laid:
    """The axis with ``crop`` outputs too many in front, 0 or more."""
    if axis.length == 1:
        return Laid(block=axis.output, taps=1, first=0, pads=(0, 0), crop=0, positions=1, output=axis.output)
    block = axis.stride
    span = axis.dilation * (axis.taps - 1) + 1
    shift = axis.before - crop
    first = min(math.ceil((shift - span + 1) / block), 0)
    last = max((block - 1 + shift) // block, first)
    needed = -(-(crop + axis.output) // block)
    after = max(needed + last - axis.length, 0)
    taps = last - first + 1
    return Laid(
        block=block,
        taps=taps,
        first=first,
        pads=(-first, after),
        crop=crop,
        positions=axis.length - first + after - taps + 1,
        output=axis.output,
    )


def layouts(axes: Sequence[Stretch]) -> tuple[list[Laid], list[Laid]]:
    """Without a crop in front, and with the fewest products; the two may be equal."""
    whole = [lay(axis, 0) for axis in axes]
    fewest = [min((lay(axis, crop) for crop in range(axis.stride)), key=_work) for axis in axes]
    return whole, fewest


def phases(weight: Array, axes: Sequence[Stretch], laid: Sequence[Laid]) -> Array:
    """The convolution's weights before their channels are put in an order.

    Args:
        weight: of the transposed convolution: (input, output, *kernel), of one group.

    Returns:
        (output, input, *blocks, *taps): for each phase the taps that it has.
    """
    first, second = weight.shape[:2]
    count = len(axes)
    made = np.zeros((second, first, *(one.block for one in laid), *(one.taps for one in laid)), dtype=weight.dtype)
    for place in product(*(range(one.block) for one in laid), *(range(one.taps) for one in laid)):
        source = [
            _tap(axis, one, place[at], place[count + at]) for at, (axis, one) in enumerate(zip(axes, laid, strict=True))
        ]
        if None not in source:
            made[_both(place)] = weight[_both(source)].T
    return made


def repeated(weight: Array, scales: Sequence[int]) -> Array:
    """The kernel of the transposed convolution that equals repeating every pixel ``scale`` times, then convolving.

    Repeating is a transposed convolution with a kernel of ones, and two linear maps are one. The padding in front of
    the new one is k - 1 - (padding of the convolution).

    Args:
        weight: of the convolution of stride 1: (output, input, *kernel).

    Returns:
        (input, output, *kernel), each side k + scale - 1.
    """
    kernel = weight.shape[2:]
    flipped = np.flip(weight, axis=tuple(range(2, weight.ndim))).swapaxes(0, 1)
    sides = [side + scale - 1 for side, scale in zip(kernel, scales, strict=True)]
    made = np.zeros((*flipped.shape[:2], *sides), dtype=weight.dtype)
    for shift in product(*(range(scale) for scale in scales)):
        made[(slice(None), slice(None), *(slice(at, at + side) for at, side in zip(shift, kernel, strict=True)))] += (
            flipped
        )
    return made


def neighbours(weight: Array, strides: Sequence[int], dilations: Sequence[int], block: int) -> Array:
    """The weights of a convolution that gives ``block`` neighbouring outputs along every axis at once, as channels.

    Its stride is ``block`` times as large, and its kernel wide enough for all of them; a tap that an output does not
    have is zero.

    Args:
        weight: of the convolution: (output, input, *kernel).

    Returns:
        (output, *blocks, input, *kernel), each side (k - 1) dilation + 1 + stride (block - 1), dilation 1.
    """
    kernel = weight.shape[2:]
    spans = [(side - 1) * dilation + 1 for side, dilation in zip(kernel, dilations, strict=True)]
    sides = [span + stride * (block - 1) for span, stride in zip(spans, strides, strict=True)]
    made = np.zeros((weight.shape[0], *(block,) * len(kernel), weight.shape[1], *sides), dtype=weight.dtype)
    for place in product(range(block), repeat=len(kernel)):
        taps = tuple(
            slice(at * stride, at * stride + span, dilation)
            for at, stride, span, dilation in zip(place, strides, spans, dilations, strict=True)
        )
        made[_both((*place, slice(None), *taps))[1:]] = weight
    return made


def _both(rest: Sequence[Any]) -> tuple[Any, ...]:
    """An index of all along the first two axes."""
    return (slice(None), slice(None), *rest)


def _work(laid: Laid) -> tuple[int, int]:
    return laid.positions * laid.taps * laid.block, laid.crop


def _tap(axis: Stretch, laid: Laid, phase: int, tap: int) -> int | None:
    """Which of the kernel's taps a phase applies there, or None."""
    place = phase + axis.before - laid.crop - laid.block * (laid.first + tap)
    tap_at, rest = divmod(place, axis.dilation)
    return tap_at if rest == 0 and 0 <= tap_at < axis.taps else None
