"""Error per layer, and quality with ever more layers in float, as inline SVG in the page's own colours.

Importing this module imports matplotlib; the page does so when it is rendered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from edgegen.bench.drawing import GOOD, INK, LINE, MUTED, PLAIN, drawing, inline_svg

# Stand-ins for the page's variables of instruction classes, which serve as a set of colours that differ.
_KIND_COLOURS = {
    "#0a0a01": "c-fma",
    "#0a0a02": "c-dot",
    "#0a0a03": "c-mmla",
    "#0a0a04": "c-mlal",
    "#0a0a05": "c-load_store",
    "#0a0a06": "c-branch",
}
_ROW_INCHES, _LEAST_INCHES = 0.21, 1.6
_DB_CAP = 100.0  # what is better than this is drawn there: rounding of float32 lies around 130 dB


def kind_classes(layers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Operator type -> the page's class of its colour, the most frequent first; the rest share the plain one."""
    frequent = [kind for kind, _ in Counter(layer["kind"] for layer in layers).most_common()]
    classes = list(_KIND_COLOURS.values())
    return {kind: classes[place] if place < len(classes) else "c-plain" for place, kind in enumerate(frequent)}


def layers_svg(layers: Sequence[Mapping[str, Any]], metric: str, unit: str, *, wide: bool) -> str:
    """A bar a layer in the model's order: the longer, the more error its own quantization makes.

    Args:
        metric: what people call the figure; ``unit`` dB: the axis runs from good to bad, else it is logarithmic.
    """
    colours = {name: stand_in for stand_in, name in _KIND_COLOURS.items()}
    classes = kind_classes(layers)
    known = [layer["alone"]["value"] for layer in layers if layer["alone"]["value"] is not None]
    if not known:
        return ""
    in_db = unit == "dB"
    with drawing(f"layers-{wide}", 9.0 if wide else 10.0):
        height = max(_LEAST_INCHES, _ROW_INCHES * len(layers) + 0.8)
        figure = Figure(figsize=(9.2 if wide else 3.7, height), layout="constrained")
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        best = min(max(known) + 3.0, _DB_CAP) if in_db else max(min(known) / 2, max(known) * 1e-7, 1e-12)
        for row, layer in enumerate(layers):
            value = layer["alone"]["value"]
            if value is None:
                continue
            shown = min(value, best) if in_db else max(value, best)
            colour = colours.get(classes[layer["kind"]], PLAIN)
            plot.barh(row, shown - best, left=best, height=0.66, color=colour)
        plot.set_yticks(range(len(layers)))
        plot.set_yticklabels(
            [f"{layer['name']}  {number}" if wide else str(number) for number, layer in enumerate(layers, start=1)]
        )
        for label, layer in zip(plot.get_yticklabels(), layers, strict=True):
            label.set_color(INK if layer["fragile"] else MUTED)
        if in_db:
            plot.set_xlim(best, min(known) - 1.5)
        else:
            plot.set_xscale("log")
            plot.set_xlim(best, max(*known, best) * 1.5)
        plot.set_ylim(len(layers) - 0.4, -0.6)
        plot.grid(axis="x", color=LINE, linewidth=0.6, alpha=0.55)
        plot.set_axisbelow(True)
        plot.set_xlabel(f"{metric}{', dB' if in_db else ''}, this layer alone in int8")
        svg = inline_svg(figure, f"{metric} with each of {len(layers)} layers alone in int8; the table has the same")
    for stand_in, name in _KIND_COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def curve_svg(document: Mapping[str, Any], metric: str, unit: str, *, wide: bool) -> str:
    """Quality over cost with ever more layers in float: instructions where they were counted, else the file's bytes."""
    points = document["curve"]
    cost = "instructions" if document["counted"] and points[0]["instructions"] is not None else "bytes"
    with drawing(f"curve-{wide}", 9.5 if wide else 10.5):
        figure = Figure(figsize=(9.2, 3.6) if wide else (3.7, 3.2), layout="constrained")
        plot = figure.add_subplot()
        figure.patch.set_visible(False)
        plot.patch.set_visible(False)
        costs, values = [point[cost] for point in points], [point["value"] for point in points]
        plot.plot(costs, values, color=PLAIN, linewidth=1.5, marker="o", markersize=4)
        plot.scatter(costs[:1], values[:1], color=GOOD, s=34, zorder=3)
        for point, x, y in zip(points, costs, values, strict=True):
            plot.annotate(
                "all int8" if point["float_layers"] == 0 else str(point["float_layers"]), (x, y), xytext=(0, 6),
                textcoords="offset points", ha="center", color=INK,
            )  # fmt: skip
        reference = document["float"][cost]
        if reference is not None:
            plot.axvline(reference, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        plot.margins(x=0.08, y=0.18)
        if unit != "dB" and min(values) > 0 and max(values) / min(values) > 12:
            plot.set_yscale("log")
        plot.xaxis.set_major_formatter(EngFormatter(sep=""))
        plot.xaxis.set_major_locator(MaxNLocator(5 if wide else 3))
        plot.grid(color=LINE, linewidth=0.6, alpha=0.55)
        plot.set_axisbelow(True)
        said = "instructions an inference" if cost == "instructions" else "bytes of the file"
        plot.set_xlabel(f"{said}; dashed: the float file" if wide else f"{said}; dashed: float")
        plot.set_ylabel(f"{metric}{', dB' if unit == 'dB' else ''}")
        return inline_svg(figure, f"{metric} over {cost} with 0 to {points[-1]['float_layers']} layers in float")
