"""The Pareto plot as inline SVG whose colours are the page's own, so that it follows light, dark and print.

Importing this module imports matplotlib; the report does so when it is rendered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FuncFormatter

from edgegen.bench.drawing import BAD, CARD, GOOD, INK, LINE, MUTED, PLAIN, drawing, inline_svg
from edgegen.bench.labels import Box, leader, place_labels

_CAP_DB = 70.0  # above it nobody sees a difference; identical outputs have 150
_SMALLEST, _LARGEST = 24.0, 520.0  # marker areas in points squared


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A candidate in the plot."""

    number: int  # as in the table of candidates
    name: str
    cost: float
    quality: float
    size_bytes: int
    kind: Literal["chosen", "eligible", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the axes mean, and where the budgets are."""

    cost: str
    quality: str
    cost_limit: float | None
    quality_limit: float | None
    capped: bool  # the quality axis is in dB and ends at a cap


def pareto_svg(points: Sequence[Point], axes: Axes, *, wide: bool) -> str:
    """Quality over cost, area = file size. The narrow form has numbers for labels, the wide one names too."""
    with drawing("wide" if wide else "narrow", 9.5 if wide else 10.5):
        figure = Figure(figsize=(9.2, 4.9) if wide else (3.7, 3.9), layout="constrained")
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        _draw(plot, points, axes)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed in fixed coordinates
        _label(plot, renderer, points, axes, wide=wide)
        return inline_svg(figure, _described(points, axes))


def _draw(plot: Any, points: Sequence[Point], axes: Axes) -> None:
    shown = [_shown(point, axes) for point in points]
    costs = [point.cost for point in points] + ([axes.cost_limit] if axes.cost_limit else [])
    if min(costs) > 0 and max(costs) / min(costs) > 12:
        plot.set_xscale("log")
        plot.set_xlim(min(costs) / 1.35, max(costs) * 1.5)
    else:
        span = max(costs) - min(costs) or max(costs) or 1.0
        plot.set_xlim(max(0.0, min(costs) - 0.13 * span), max(costs) + 0.16 * span)
    heights = shown + ([axes.quality_limit] if axes.quality_limit is not None else [])
    span = max(heights) - min(heights) or abs(max(heights)) or 1.0
    plot.set_ylim(min(heights) - 0.14 * span, max(heights) + 0.14 * span)
    engineered = EngFormatter(sep="")
    plot.xaxis.set_major_formatter(engineered)
    if plot.get_xscale() == "log":  # between two powers of ten, at 2 and at 5
        plot.xaxis.set_minor_formatter(
            FuncFormatter(lambda value, _: engineered(value) if f"{value:e}"[0] in "25" else "")
        )
    if axes.capped and any(point.quality > _CAP_DB for point in points):
        plot.yaxis.set_major_formatter(
            FuncFormatter(
                lambda value, _: f"≥{value:g}" if value == _CAP_DB else f"{value:g}" if value < _CAP_DB else ""
            )
        )
    plot.grid(color=LINE, linewidth=0.6, alpha=0.55)
    plot.set_axisbelow(True)
    plot.set_xlabel(axes.cost)
    plot.set_ylabel(axes.quality)
    _draw_limits(plot, axes)
    _draw_front(plot, points, axes)
    largest = max(point.size_bytes for point in points) or 1
    for point, height in zip(points, shown, strict=True):
        area = max(_SMALLEST, _LARGEST * point.size_bytes / largest)
        chosen = point.kind == "chosen"
        # The smaller a circle, the nearer to the reader: a big file must not hide a small one.
        above = 3 + 1 - point.size_bytes / largest
        colour = {"chosen": GOOD, "eligible": PLAIN, "rejected": BAD}[point.kind]
        plot.scatter(
            [point.cost],
            [height],
            s=area,
            marker="o",
            facecolor="none" if point.kind == "rejected" else colour,
            edgecolor=colour if point.kind == "rejected" else CARD,
            linewidth=1.4 if point.kind == "rejected" else 0.8,
            zorder=above,
        )
        if chosen:
            plot.scatter([point.cost], [height], s=(area**0.5 + 9) ** 2, facecolor="none", edgecolor=GOOD, zorder=2.9)


def _draw_limits(plot: Any, axes: Axes) -> None:
    left, right = plot.get_xlim()
    bottom, top = plot.get_ylim()
    wall = right if axes.cost_limit is None else axes.cost_limit
    floor = bottom if axes.quality_limit is None else axes.quality_limit
    if axes.cost_limit is None and axes.quality_limit is None:
        return
    plot.fill_between([left, wall], [floor, floor], [top, top], color=GOOD, alpha=0.09, linewidth=0, zorder=0)
    if axes.cost_limit is not None:
        plot.plot([wall, wall], [bottom, top], color=GOOD, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    if axes.quality_limit is not None:
        plot.plot([left, right], [floor, floor], color=GOOD, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)


def _draw_front(plot: Any, points: Sequence[Point], axes: Axes) -> None:
    """Joins the candidates that no other beats in both cost and quality."""
    front: list[Point] = []
    for point in sorted(points, key=lambda item: (item.cost, -item.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    if len(front) > 1:
        heights = [_shown(point, axes) for point in front]
        plot.step([point.cost for point in front], heights, where="post", color=MUTED, linewidth=1.0, alpha=0.6)


def _label(plot: Any, renderer: Any, points: Sequence[Point], axes: Axes, *, wide: bool) -> None:
    anchors, radii = [], []
    order = sorted(points, key=lambda item: (item.kind != "chosen", item.kind == "rejected", item.number))
    largest = max(point.size_bytes for point in points) or 1
    for point in order:
        x, y = plot.transData.transform((point.cost, _shown(point, axes)))
        anchors.append((float(x), float(y)))
        area = max(_SMALLEST, _LARGEST * point.size_bytes / largest)
        halo = 5.0 if point.kind == "chosen" else 0.0
        radii.append(((area / math.pi) ** 0.5 + halo) * plot.figure.dpi / 72)
    frame = plot.get_window_extent(renderer)
    bounds = Box(left=frame.x0, bottom=frame.y0, right=frame.x1, top=frame.y1)
    limits = _limit_lines(plot, axes, bounds)
    texts = [f"{point.number}  {point.name}" if wide else str(point.number) for point in order]
    places = place_labels(anchors, _sizes(plot, renderer, order, texts), radii, bounds, limits)
    if None in places:  # no room for a name: perhaps for the number
        texts = [text if place else str(point.number) for point, text, place in zip(order, texts, places, strict=True)]
        places = place_labels(anchors, _sizes(plot, renderer, order, texts), radii, bounds, limits)
    for point, text, anchor, place in zip(order, texts, anchors, places, strict=True):
        if place is None:
            continue  # no room: the table of candidates has it
        middle = ((place.left + place.right) / 2, (place.bottom + place.top) / 2)
        if place.far:
            inverse = plot.transData.inverted()
            (x0, y0), (x1, y1) = inverse.transform(leader(anchor, place))
            plot.plot([x0, x1], [y0, y1], color=MUTED, linewidth=0.6, alpha=0.7, zorder=2)
        x, y = plot.transData.inverted().transform(middle)
        colour = {"chosen": GOOD, "eligible": INK, "rejected": MUTED}[point.kind]
        weight = "bold" if point.kind == "chosen" else "normal"
        # A light edge keeps the letters apart from a line that runs behind them.
        edge = [withStroke(linewidth=2.5, foreground="white")]
        plot.text(x, y, text, ha="center", va="center", color=colour, weight=weight, zorder=6, path_effects=edge)


def _sizes(plot: Any, renderer: Any, points: Sequence[Point], texts: Sequence[str]) -> list[tuple[float, float]]:
    """Width and height of each label in pixels."""
    sizes = []
    for point, text in zip(points, texts, strict=True):
        drawn = plot.text(0, 0, text, weight="bold" if point.kind == "chosen" else "normal")
        box = drawn.get_window_extent(renderer)
        drawn.remove()
        sizes.append((box.width + 4, box.height + 1))
    return sizes


def _limit_lines(plot: Any, axes: Axes, bounds: Box) -> list[Box]:
    """The dashed limits as thin boxes, in pixels."""
    found = []
    if axes.cost_limit is not None:
        x = float(plot.transData.transform((axes.cost_limit, plot.get_ylim()[0]))[0])
        found.append(Box(left=x - 1, bottom=bounds.bottom, right=x + 1, top=bounds.top))
    if axes.quality_limit is not None:
        y = float(plot.transData.transform((plot.get_xlim()[0], axes.quality_limit))[1])
        found.append(Box(left=bounds.left, bottom=y - 1, right=bounds.right, top=y + 1))
    return found


def _shown(point: Point, axes: Axes) -> float:
    return min(point.quality, _CAP_DB) if axes.capped else point.quality


def _described(points: Sequence[Point], axes: Axes) -> str:
    return f"{axes.quality} over {axes.cost} of {len(points)} candidates; the table below holds the same figures"
