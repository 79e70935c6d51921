"""``sensitivity.html``: one self-contained page about what each layer's quantization does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.bench.page import render_page
from edgegen.bench.sensitivity import by_loss
from edgegen.bench.wording import figure, named, size, unit_of
from edgegen.metrics.table import METRICS


def render_sensitivity(document: Mapping[str, Any]) -> str:
    """The page for a document of ``bench.sensitivity``."""
    import markupsafe

    from edgegen.bench.sensitivity_plot import curve_svg, kind_classes, layers_svg

    metric, unit = metric_of(document)
    return render_page(
        "sensitivity.html.jinja",
        document=document,
        kept_as=document["kept_as"],
        facts=facts(document),
        kinds=kind_classes(document["layers"]),
        metric=metric,
        rows=layer_rows(document),
        steps=curve_rows(document),
        layers_wide=markupsafe.Markup(layers_svg(document["layers"], metric, unit, wide=True)),
        layers_narrow=markupsafe.Markup(layers_svg(document["layers"], metric, unit, wide=False)),
        curve_wide=markupsafe.Markup(curve_svg(document, metric, unit, wide=True)),
        curve_narrow=markupsafe.Markup(curve_svg(document, metric, unit, wide=False)),
    )


def metric_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """What people call the document's figure, and its unit."""
    key = document["metric"].rpartition("_")[0]
    return named(key), unit_of(key)


def direction(document: Mapping[str, Any]) -> str:
    """Which way the figure is better."""
    return f"{METRICS[document['metric'].rpartition('_')[0]].better} is better"


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands on the first screen."""
    metric, unit = metric_of(document)
    worst = by_loss(document)[0]
    rows = [
        (f"{metric}, all int8", figure(document["int8"]["value"], unit)),
        ("layer that spoils most", f"{worst['name']}: {share(worst)} of the error"),
    ]
    for name, title in (("instructions", "instructions, int8 / float"), ("bytes", "size, int8 / float")):
        quantized, parent = document["int8"][name], document["float"][name]
        if quantized is not None and parent is not None:
            shown = size if name == "bytes" else figure
            rows.append((title, f"{shown(quantized)} / {shown(parent)}"))
    return rows


def layer_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row a layer, those first whose return to float takes most error away."""
    _, unit = metric_of(document)
    numbers = {layer["name"]: str(number) for number, layer in enumerate(document["layers"], start=1)}
    return [
        {
            "number": numbers[layer["name"]],
            "name": layer["name"],
            "kind": layer["kind"],
            "fragile": layer["fragile"],
            "share": share(layer),
            "alone": figure(layer["alone"]["value"], unit) if layer["alone"]["value"] is not None else "not possible",
            "weights": "" if layer["weights"] is None else figure(layer["weights"], unit),
            "restored": figure(layer["restored"]["value"], unit)
            if layer["restored"]["value"] is not None
            else "not possible",
            "added": added(layer),
        }
        for layer in by_loss(document)
    ]


def curve_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row a point of the curve: how many layers are in float, which came to it, quality and cost."""
    _, unit = metric_of(document)
    rows, before = [], set[str]()
    for point in document["curve"]:
        new = [name for name in point["layers"] if name not in before]
        before.update(new)
        rows.append(
            {
                "layers": str(point["float_layers"]),
                "new": ", ".join(new),
                "value": figure(point["value"], unit),
                "bytes": size(point["bytes"]),
                "instructions": "" if point["instructions"] is None else figure(point["instructions"]),
            }
        )
    return rows


def share(layer: Mapping[str, Any]) -> str:
    """The part of the whole error that goes away with the layer in float; below zero it grows."""
    return f"{100 * layer['share_of_error']:.1f} %"


def added(layer: Mapping[str, Any]) -> str:
    """What the layer in float adds to the int8 file: instructions where they were counted, else bytes."""
    if layer["added_instructions"] is not None:
        return f"{layer['added_instructions']:+,}"
    return "" if layer["added_bytes"] is None else f"{layer['added_bytes']:+,} bytes"
