"""``report.html``: one self-contained page that a person enjoys reading. No script, no request, no clock of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgegen.bench.page import render_page
from edgegen.bench.pareto import pareto_points
from edgegen.bench.summary import alternatives, caveats
from edgegen.bench.texts import texts_of
from edgegen.bench.tournament import tournament_rows
from edgegen.bench.view import (
    calibration_rows,
    candidate_rows,
    change_rows,
    class_rows,
    energy_rows,
    latency_rows,
    memory_rows,
    operator_rows,
    provenance_rows,
    quality_rows,
    training_rows,
    verdict_rows,
)
from edgegen.bench.wording import closeness_name, headline, known_name, size

if TYPE_CHECKING:
    import numpy as np
    from markupsafe import Markup

_BREAKS = frozenset("+@/")


def render_report(
    document: Mapping[str, Any],
    samples: Mapping[str, np.ndarray[Any, Any]] | None = None,
    *,
    device: str = "",
    arena: str = "",
) -> str:
    """The page for a result document.

    Args:
        document: as ``result.result_document`` gives it, or read from a ``result.json``.
        samples: outputs for the same inputs under ``"float"`` and ``"chosen"``, (samples, channels, height, width)
            with values in 0..1 and 1 or 3 channels; without them, or where they are not images, none are shown.
        device: what a person calls the target, e.g. ``Raspberry Pi 4 (Cortex-A72)``.
        arena: SVG of the arena's plan, where the shown candidate has one.
    """
    import markupsafe

    candidates = candidate_rows(document)
    return render_page(
        "report.html.jinja",
        {"size": size, "breakable": breakable},
        document=document,
        device=device or document["target"],
        headline=headline(document),
        caveats=caveats(document),
        alternatives=alternatives(document),
        subject=document["chosen"]["candidate"] if document["chosen"] else document.get("closest"),
        facts=_facts(document),
        verdicts=verdict_rows(document),
        candidates=candidates,
        tournament=tournament_rows(document),
        plot=_plot(document),
        arena=markupsafe.Markup(arena),
        images=_images(samples),
        texts=texts_of(document),
        classes=class_rows(document),
        operators=operator_rows(document),
        latencies=latency_rows(document),
        energies=energy_rows(document),
        memory=memory_rows(document),
        quality=quality_rows(document),
        calibration=calibration_rows(document),
        training=training_rows(document),
        curves=_curves(document),
        known=known_name(document["candidates"]),
        closeness=closeness_name(document["candidates"]),
        changes=change_rows(document),
        provenance=provenance_rows(document),
    )


def _facts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Latency and memory that no budget is about, for the first screen; the table of budgets holds the others."""
    judged = {(item["budget"], item["kind"]) for item in document["verdicts"]}
    known = {item["metric"] for item in document["verdicts"]}
    facts = [
        {"name": "one inference", "kind": row["kind"], "value": row["value"]}
        for row in latency_rows(document)
        if row["value"] and judged.isdisjoint({("latency", row["kind"]), ("instructions", row["kind"])})
    ]
    # One figure of energy: a predicted one beside a measured one would look like its equal.
    facts += [
        {"name": "energy of one inference", "kind": row["kind"], "value": row["value"]}
        for row in energy_rows(document)[:1]
        if ("energy", row["kind"]) not in judged
    ]
    return facts + [row for row in memory_rows(document) if row["metric"] not in known]


def breakable(text: str) -> Markup:
    """The text, escaped, with places where a long name may break: after +, @ and /."""
    import markupsafe

    return markupsafe.Markup("").join(
        markupsafe.escape(part) + markupsafe.Markup("<wbr>") if part in _BREAKS else markupsafe.escape(part)
        for part in re.split(r"([+@/])", text)
    )


def _images(samples: Mapping[str, Any] | None) -> Any:
    if not samples or "float" not in samples or "chosen" not in samples:
        return None
    from edgegen.bench.images import side_by_side

    return side_by_side(samples["float"], samples["chosen"])


def _curves(document: Mapping[str, Any]) -> Markup | None:
    history = (document.get("training") or {}).get("history") or []
    if len(history) < 2:
        return None
    import markupsafe

    from edgegen.bench.curves import curves_svg

    return markupsafe.Markup(curves_svg(history))


def _plot(document: Mapping[str, Any]) -> dict[str, Any] | None:
    found = pareto_points(document)
    if found is None:
        return None
    import markupsafe

    from edgegen.bench.plots import Axes, Point, pareto_svg

    points, axes = [Point(**item) for item in found["points"]], Axes(**found["axes"])
    return {
        "wide": markupsafe.Markup(pareto_svg(points, axes, wide=True)),
        "narrow": markupsafe.Markup(pareto_svg(points, axes, wide=False)),
        "points": found["points"],
        "left_out": found["left_out"],
        "cost": axes.cost,
        "quality": axes.quality,
        "capped": axes.capped,
    }
