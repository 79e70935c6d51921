"""One figure over its runs as inline SVG: points, their levels, and the places where the level moved.

Importing this module imports matplotlib; the page does so when it is rendered.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, ScalarFormatter

from edgegen.bench.change_points import Change
from edgegen.bench.drawing import BAD, GOOD, INK, LINE, MUTED, PLAIN, drawing, inline_svg

_HEAD_ROOM = 0.15


def trend_svg(
    values: Sequence[float],
    changes: Sequence[Change],
    *,
    salt: str,
    lower_is_better: bool,
    wide: bool,
) -> str:
    """The plot.

    Args:
        values: oldest first.
        changes: where the level moved.
        salt: tells plots of one page apart.
        wide: for a screen; else for a telephone.
    """
    width, height, size = (9.2, 2.4, 9.5) if wide else (3.7, 2.3, 9.0)
    with drawing(f"{salt}-{'wide' if wide else 'narrow'}", size):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        places = range(1, len(values) + 1)
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot(places, values, color=LINE, linewidth=1.0, zorder=1)
        axes.plot(places, values, "o", color=PLAIN, markersize=3.4 if len(values) < 60 else 2.2, zorder=2)
        _levels(axes, values, changes)
        for change in changes:
            worse = (change.ratio > 0) == lower_is_better
            axes.axvline(change.place + 0.5, color=BAD if worse else GOOD, linewidth=1.2, linestyle=(0, (3, 2)))
            axes.annotate(
                f"{100 * change.ratio:+.1f} %",
                (change.place + 0.5, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3 if change.place > len(values) * 0.8 else 3, -2),
                textcoords="offset points",
                color=BAD if worse else GOOD,
                ha="right" if change.place > len(values) * 0.8 else "left",
                va="top",
                fontsize=size - 0.5,
            )
        low, high = min(values), max(values)
        room = (high - low) * _HEAD_ROOM or abs(high) * 0.02 or 1.0
        axes.set_ylim(low - room, high + 2.2 * room)
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8 if wide else 5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.yaxis.set_major_formatter(EngFormatter() if high >= 1000 else ScalarFormatter(useOffset=False))
        axes.tick_params(colors=MUTED)
        axes.set_xlabel("run")
        return inline_svg(figure, f"the figure over {len(values)} runs, {len(changes)} changes of its level")


def _levels(axes: object, values: Sequence[float], changes: Sequence[Change]) -> None:
    """A line a level."""
    starts = [0, *(change.place for change in changes)]
    ends = [*(change.place for change in changes), len(values)]
    known = [changes[0].before, *(change.after for change in changes)] if changes else []
    for start, end, level in zip(starts, ends, known, strict=False):
        axes.hlines(level, start + 0.6, end + 0.4, color=INK, linewidth=1.4, zorder=3)  # type: ignore[attr-defined]
