"""Loss by epoch as inline SVG in the page's own colours. Importing this module imports matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgegen.bench.drawing import COLOURS, drawing, inline_svg


def curves_svg(history: Sequence[Mapping[str, float]]) -> str:
    """A line for every part of the loss, over epochs from 1; of many parts, those that people look at first."""
    names = sorted({name for epoch in history for name in epoch}, key=lambda name: (not name.endswith("loss"), name))
    shown = [name for name in names if name == "validation" or name.endswith("loss")] or names
    with drawing("curves", 9.5):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        epochs = range(1, len(history) + 1)
        for name, colour in zip(shown, COLOURS, strict=False):
            values = [epoch.get(name, float("nan")) for epoch in history]
            plot.plot(epochs, values, color=colour, linewidth=1.6)
            plot.annotate(
                name.replace("_", " "), (len(history), values[-1]), xytext=(5, 0), textcoords="offset points",
                va="center", color=colour,
            )  # fmt: skip
        plot.margins(x=0.02)
        plot.set_xlabel("epoch")
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        return inline_svg(figure, f"{', '.join(shown)} over {len(history)} epochs; lower is better")
