"""The plot of a front as inline SVG: what is bought with what. Importing this module imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from edgegen.bench.drawing import CARD, GOOD, INK, LINE, MUTED, drawing, inline_svg
from edgegen.bench.labels import Box, leader, place_labels

_AREA = 46.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point in the plot."""

    name: str
    cost: float
    quality: float
    on_front: bool
    preset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis shows."""

    title: str
    log: bool
    better: str  # "lower" or "higher": where the good end is


def front_svg(dots: Sequence[Dot], cost: Axis, quality: Axis, *, wide: bool) -> str:
    """Quality over cost, every point of the front with its name."""
    with drawing(f"front-{cost.title}-{'wide' if wide else 'narrow'}", 9.5 if wide else 10.5):
        figure = Figure(figsize=(9.2, 4.2) if wide else (3.7, 3.6), layout="constrained")
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        _draw(plot, dots, cost, quality)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed in fixed coordinates
        _label(plot, renderer, dots)
        said = f"{quality.title} over {cost.title}; on the front: " + ", ".join(
            f"{dot.name} ({dot.cost:.4g}, {dot.quality:.4g})" for dot in dots if dot.on_front
        )
        return inline_svg(figure, said)


def _draw(plot: Any, dots: Sequence[Dot], cost: Axis, quality: Axis) -> None:
    for axis, values, scale, limits in (
        (cost, [dot.cost for dot in dots], plot.set_xscale, plot.set_xlim),
        (quality, [dot.quality for dot in dots], plot.set_yscale, plot.set_ylim),
    ):
        low, high = min(values), max(values)
        if axis.log and low > 0 and high / low > 4:
            scale("log")
            margin = (high / low) ** 0.08
            limits(low / margin, high * margin)
        else:
            span = high - low or abs(high) or 1.0
            limits(low - 0.1 * span, high + 0.12 * span)
    if quality.better == "lower":
        plot.invert_yaxis()  # what is better is further up
    plot.xaxis.set_major_formatter(EngFormatter(sep=""))
    plot.xaxis.set_minor_formatter(lambda *_: "")
    plot.grid(color=LINE, linewidth=0.6, alpha=0.55)
    plot.set_axisbelow(True)
    plot.set_xlabel(cost.title)
    plot.set_ylabel(quality.title)
    for dot in sorted(dots, key=lambda dot: dot.on_front):
        colour = GOOD if dot.on_front else MUTED
        plot.scatter(
            [dot.cost],
            [dot.quality],
            s=_AREA,
            marker="s" if dot.preset else "o",
            facecolor=colour if dot.on_front else "none",
            edgecolor=CARD if dot.on_front else colour,
            linewidth=0.8 if dot.on_front else 1.2,
            zorder=3 if dot.on_front else 2,
        )


def _label(plot: Any, renderer: Any, dots: Sequence[Dot]) -> None:
    """Names of the front's points where there is room; the table holds them all."""
    order = sorted(dots, key=lambda dot: not dot.on_front)  # the earlier, the better the place
    anchors = []
    for dot in order:
        x, y = plot.transData.transform((dot.cost, dot.quality))
        anchors.append((float(x), float(y)))
    radius = (_AREA / 3.14) ** 0.5 * plot.figure.dpi / 72
    sizes = [_size(plot, renderer, dot.name) if dot.on_front else (0.0, 0.0) for dot in order]
    frame = plot.get_window_extent(renderer)
    bounds = Box(left=frame.x0, bottom=frame.y0, right=frame.x1, top=frame.y1)
    inverse = plot.transData.inverted()
    places = place_labels(anchors, sizes, [radius] * len(order), bounds)
    for dot, anchor, place in zip(order, anchors, places, strict=True):
        if place is None or not dot.on_front:
            continue
        if place.far:
            (x0, y0), (x1, y1) = inverse.transform(leader(anchor, place))
            plot.plot([x0, x1], [y0, y1], color=MUTED, linewidth=0.6, alpha=0.7, zorder=2)
        x, y = inverse.transform(((place.left + place.right) / 2, (place.bottom + place.top) / 2))
        plot.text(x, y, dot.name, ha="center", va="center", color=INK, zorder=6)


def _size(plot: Any, renderer: Any, text: str) -> tuple[float, float]:
    """Width and height of a label in pixels."""
    drawn = plot.text(0, 0, text)
    box = drawn.get_window_extent(renderer)
    drawn.remove()
    return box.width + 4, box.height + 1
