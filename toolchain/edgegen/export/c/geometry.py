"""Explicit paddings from what LiteRT's options say."""

from __future__ import annotations


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells before and after an axis so that the output has ``ceil(size / stride)`` of them; the odd one comes after.

    Source: LiteRT, ``ComputePaddingWithOffset``.
    """
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def padding(
    kind: str, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of ``SAME`` or ``VALID``."""
    if kind == "VALID":
        return (0, 0, 0, 0)
    (top, bottom), (left, right) = (same_padding(*axis) for axis in zip(size, kernel, stride, dilation, strict=True))
    return top, left, bottom, right
