"""SQNR of every tensor in execution order, as inline SVG in the page's own colours.

Importing this module imports matplotlib; the page does so when it is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgegen.bench.drawing import BAD, INK, LINE, MUTED, PLAIN, drawing, inline_svg

_CAP_DB = 120.0  # what is better is drawn there: float sums in another order lie around 120 to 140 dB


def layers_svg(document: Mapping[str, Any], *, wide: bool) -> str:
    """A point a tensor; the first that is off is marked, the dashed line is the threshold."""
    rows = document["tensors"]
    values = [min(row["sqnr_db"], _CAP_DB) for row in rows]
    with drawing(f"tensors-{wide}", 9.5 if wide else 10.5):
        figure = Figure(figsize=(9.2, 3.8) if wide else (3.7, 3.4), layout="constrained")
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        places = range(1, len(rows) + 1)
        plot.plot(places, values, color=PLAIN, linewidth=1.1, marker="o", markersize=3)
        plot.axhline(document["threshold_db"], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        found = document["first_diverging"]
        if found is not None:
            place = next(index for index, row in enumerate(rows) if row["name"] == found["tensor"])
            plot.scatter([place + 1], [values[place]], color=BAD, s=42, zorder=3)
            # At the end of the axis the label stands to the left of its point.
            left = place > 0.6 * len(rows)
            name = found["tensor"] if len(found["tensor"]) <= 28 else "…" + found["tensor"][-26:]
            plot.annotate(
                name if wide else str(place + 1), (place + 1, values[place]), xytext=(-7 if left else 7, 7),
                textcoords="offset points", ha="right" if left else "left", color=INK,
            )  # fmt: skip
        plot.margins(x=0.03, y=0.12)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.grid(axis="y", color=LINE, linewidth=0.6, alpha=0.55)
        plot.set_axisbelow(True)
        plot.set_xlabel("tensor, in execution order")
        plot.set_ylabel("SQNR, dB")
        return inline_svg(figure, f"SQNR of {len(rows)} tensors; the table below holds the same figures")
