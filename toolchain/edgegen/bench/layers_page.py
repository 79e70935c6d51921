"""``layers.html``: one self-contained page about where two runs of a graph begin to differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.bench.layers import JUMP_DB
from edgegen.bench.page import render_page
from edgegen.bench.wording import figure
from edgegen.metrics.paired import PSNR_CAP_DB

_MOST_ROWS = 600


def render_layers(document: Mapping[str, Any]) -> str:
    """The page for a document of ``bench.layers``."""
    import markupsafe

    from edgegen.bench.layers_plot import layers_svg

    rows = tensor_rows(document)
    return render_page(
        "layers.html.jinja",
        document=document,
        facts=facts(document),
        jump_db=JUMP_DB,
        rows=rows[:_MOST_ROWS],
        left_out=max(0, len(rows) - _MOST_ROWS),
        plot_wide=markupsafe.Markup(layers_svg(document, wide=True)),
        plot_narrow=markupsafe.Markup(layers_svg(document, wide=False)),
    )


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands on the first screen."""
    last = document["tensors"][-1]
    found = document["first_diverging"]
    rows = [
        ("first that differs", f"{found['tensor']}: {found['why']}" if found else "none"),
        ("last tensor", decibels(last["sqnr_db"])),
        ("tensors compared", f"{len(document['tensors'])}"),
    ]
    if document["tensors_not_shared"]:
        rows.append(("tensors of the first alone", f"{document['tensors_not_shared']}"))
    return rows


def tensor_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a tensor, in execution order."""
    found = (document["first_diverging"] or {}).get("tensor")
    return [
        {
            "number": number,
            "name": row["name"],
            "kind": row["kind"] or "input",
            "sqnr": decibels(row["sqnr_db"]),
            "inputs": "" if row["inputs_db"] is None else decibels(row["inputs_db"]),
            "drop": f"{row['drop_db']:.1f} dB" if row["drop_db"] >= 0.05 else "",
            "jumps": row["drop_db"] >= JUMP_DB,
            "error": figure(row["max_abs_error"]),
            "first": row["name"] == found,
        }
        for number, row in enumerate(document["tensors"], start=1)
    ]


def decibels(value: float) -> str:
    """A ratio as people read it."""
    return "identical" if value >= PSNR_CAP_DB else f"{value:.1f} dB"
