"""Places the labels of a scatter plot so that none covers another, a marker, or the line that leads to another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_ANGLES = (0, 180, 40, -40, 140, -140, 90, -90, 20, -20, 160, -160, 65, -65, 115, -115)
_DISTANCES = (3.0, 10.0, 20.0, 34.0, 52.0, 74.0, 100.0, 130.0)
_FAR = 9.0  # beyond this a line leads from the marker to its label


Line: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels; ``far``: away from what it labels."""

    left: float
    bottom: float
    right: float
    top: float
    far: bool = False

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def crossed_by(self, line: Line) -> bool:
        """Whether a straight line passes through this (Liang and Barsky, 1984)."""
        (x0, y0), (x1, y1) = line
        enters, leaves = 0.0, 1.0
        for start, step, low, high in ((x0, x1 - x0, self.left, self.right), (y0, y1 - y0, self.bottom, self.top)):
            if step == 0:
                if not low < start < high:
                    return False
                continue
            near, far = sorted(((low - start) / step, (high - start) / step))
            enters, leaves = max(enters, near), min(leaves, far)
        return enters < leaves

    def within(self, other: Box) -> bool:
        """Whether this lies in the other as a whole."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    radii: Sequence[float],
    bounds: Box,
    avoid: Sequence[Box] = (),
) -> list[Box | None]:
    """A box for each label, or None where there is no room; earlier labels have the better places.

    Args:
        anchors: centres of the markers, in pixels; ``radii`` theirs.
        sizes: width and height of each label.
        bounds: no label leaves it; ``avoid``: no label covers it.
    """
    markers = [
        Box(left=x - radius, bottom=y - radius, right=x + radius, top=y + radius)
        for (x, y), radius in zip(anchors, radii, strict=True)
    ]
    placed: list[Box] = []
    leaders: list[Line] = []
    result: list[Box | None] = []
    for anchor, size, radius in zip(anchors, sizes, radii, strict=True):
        free = (
            box
            for box in _places(anchor, size, radius)
            if box.within(bounds)
            and not any(box.overlaps(other) for other in (*placed, *markers, *avoid))
            and not any(box.crossed_by(line) for line in leaders)
            and not (box.far and any(other.crossed_by(leader(anchor, box)) for other in placed))
        )
        best = next(free, None)
        if best is not None:
            placed.append(best)
            leaders += [leader(anchor, best)] if best.far else []
        result.append(best)
    return result


def leader(anchor: tuple[float, float], box: Box) -> Line:
    """The line from a marker to the nearest place on its label."""
    return anchor, (min(max(anchor[0], box.left), box.right), min(max(anchor[1], box.bottom), box.top))


def _places(anchor: tuple[float, float], size: tuple[float, float], radius: float) -> Iterator[Box]:
    """Around the marker, nearest first."""
    width, height = size
    for distance in _DISTANCES:
        for angle in _ANGLES:
            direction = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # The box's own half extent is added in the direction in which it is pushed away.
            reach = radius + distance
            x = anchor[0] + direction[0] * (reach + width / 2)
            y = anchor[1] + direction[1] * (reach + height / 2)
            yield Box(
                left=x - width / 2, bottom=y - height / 2, right=x + width / 2, top=y + height / 2, far=distance > _FAR
            )
