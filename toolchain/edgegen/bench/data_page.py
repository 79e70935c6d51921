"""The page about a set: what the data are, what to look at before training on them, and every column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.bench.wording import figure

if TYPE_CHECKING:
    import numpy as np

_TEMPLATES = Path(__file__).with_name("templates")
_PARTS = ("train", "validation", "test")
_SHOWN_VALUES = 5


def render_data_page(document: Mapping[str, Any], samples: np.ndarray[Any, Any] | None = None) -> str:
    """The page for what ``pipeline.inspect`` found out.

    Args:
        samples: prepared samples (samples, ...); pictured where they are images.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("data.html.jinja").render(
        document=document,
        css=markupsafe.Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        facts=facts(document),
        concerns=concerns(document),
        parts=_PARTS,
        classes=class_rows(document),
        columns=column_rows(document),
        picture=_picture(document, samples),
    )


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands on the first screen."""
    form = document["form"]
    counts = [f"{form['samples'].get(part, 0):,} {part}" for part in _PARTS if form["samples"].get(part)]
    rows = [
        ("samples", ", ".join(counts)),
        ("one sample", f"{form['kind']} of shape {' x '.join(map(str, form['shape']))}, {form['dtype']}"),
        ("split", document["split"]["how"]),
    ]
    if form["classes"]:
        rows.append(("classes", f"{len(form['classes'])}"))
    if form["vocabulary"]:
        rows.append(("tokens", f"{len(form['vocabulary']):,}"))
    return rows


def concerns(document: Mapping[str, Any]) -> list[str]:
    """What a person should look at before training, one sentence each."""
    checked, collected = document["checked"], document["collected"]
    said = []
    if collected["synthetic"]:
        said.append("The data are synthetic: a figure on them says nothing of real ones")
    if collected["licence_doubt"]:
        said.append(f"Licence in doubt: {collected['licence_doubt']}")
    for leak in checked["leaks"]:
        what = {"exact": "equal samples", "near": "nearly equal samples", "group": "groups"}[leak["kind"]]
        said.append(
            f"{leak['count']:,} of {leak['of']:,} {what} of the {leak['later']} part stand in the {leak['earlier']} "
            f"part too: {'; '.join(leak['first'])}"
        )
    for cells in checked["private"]:
        where = f"cells of {cells['column']!r}"
        said.append(f"{cells['cells']:,} {where} look like {cells['kind']}, the first in row {cells['first']}")
    if checked["telling_names"]:
        said.append(f"Columns whose names suggest personal data: {', '.join(checked['telling_names'])}")
    for item in checked["representation"]:
        if item["only_judged"]:
            said.append(f"{item['column']}: {', '.join(item['only_judged'])} are judged and never learnt from")
    said += [*checked["profile"]["warnings"], *checked["notes"]]
    said += [item["said"] for item in (document.get("calibration") or {}).get("findings", ())]
    return said


def class_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a class: samples by part, and its share of the training part."""
    found = document["checked"]["profile"]["classes"]
    names = sorted({name for part in found.values() for name in part})
    total = sum(found.get("train", {}).values()) or 1
    return [
        {
            "name": name,
            "counts": [f"{found.get(part, {}).get(name, 0):,}" for part in _PARTS],
            "share": 100 * found.get("train", {}).get(name, 0) / total,
        }
        for name in names
    ]


def column_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a column, with a histogram as bars of 0 to 100."""
    return [_column_row(column) for column in document["checked"]["profile"]["columns"]]


def _column_row(column: Mapping[str, Any]) -> dict[str, Any]:
    histogram = column["histogram"]
    top = max(histogram["counts"], default=0) if histogram else 0
    values = list(column["most_frequent"].items())
    return {
        "name": column["name"],
        "what": f"{column['type']}, {column['role']}{', ' + column['unit'] if column['unit'] else ''}",
        "missing": f"{column['missing']:,}" if column["missing"] else "",
        "distinct": _distinct(column),
        "range": "" if column["minimum"] is None else f"{figure(column['minimum'])} to {figure(column['maximum'])}",
        "mean": "" if column["mean"] is None else f"{figure(column['mean'])} ± {figure(column['std'])}",
        "median": figure(column["quantiles"]["0.5"]) if "0.5" in column["quantiles"] else "",
        "bars": [100 * count / top for count in histogram["counts"]] if histogram and top else [],
        "values": ", ".join(f"{name} {count:,}" for name, count in values[:_SHOWN_VALUES])
        + (f" and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else ""),
        "constant": column["constant"],
    }


def _distinct(column: Mapping[str, Any]) -> str:
    if column["distinct"] is None:
        return ""
    return f"{'' if column['distinct_exact'] else 'at least '}{column['distinct']:,}"


def _picture(document: Mapping[str, Any], samples: np.ndarray[Any, Any] | None) -> str | None:
    if samples is None or document["form"]["kind"] != "images":
        return None
    from edgegen.bench.images import mosaic_uri

    return mosaic_uri(samples, columns=12)
