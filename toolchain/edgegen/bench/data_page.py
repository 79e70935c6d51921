"""The page about a set: what the data are, what to look at before training on them, and every column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.bench.wording import figure

if TYPE_CHECKING:
    from edgegen.data.dataset import DataSet

_TEMPLATES = Path(__file__).with_name("templates")
_PARTS = ("train", "validation", "test")
_DECISIONS = ("keep", "change", "drop")
_SHOWN_VALUES = 5
_MOST_COLUMNS = 400  # of one page
_ALONE = 2  # k-anonymity below that: somebody is alone with their values


def render_data_page(document: Mapping[str, Any], dataset: DataSet | None = None) -> str:
    """The page for what ``pipeline.inspect`` found out.

    Args:
        dataset: the prepared set, of which some samples are shown.
    """
    import jinja2
    import markupsafe

    from edgegen.bench.data_examples import examples

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    columns = column_rows(document)
    return environment.get_template("data.html.jinja").render(
        document=document,
        css=markupsafe.Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        facts=facts(document),
        concerns=concerns(document),
        parts=used_parts(document),
        classes=class_rows(document),
        columns=columns[:_MOST_COLUMNS],
        columns_left_out=max(0, len(columns) - _MOST_COLUMNS),
        represented=represented(document),
        calibration=calibration_rows(document),
        done=done(document),
        examples=None if dataset is None or _tells(document) else examples(dataset),
    )


def _tells(document: Mapping[str, Any]) -> bool:
    """Whether samples spelt out could show what looks personal."""
    return document["form"]["kind"] == "tokens" and bool(document["checked"]["private"])


def used_parts(document: Mapping[str, Any]) -> list[str]:
    """The parts that have samples."""
    return [part for part in _PARTS if document["form"]["samples"].get(part)]


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
    anonymity = checked["anonymity"]
    if anonymity and anonymity["smallest"] < _ALONE:
        said.append(f"One row alone has its values of {', '.join(anonymity['columns'])}: they single a person out")
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
    """A row a class: samples (rows of a table) by part, and its share of the training part."""
    found = document["checked"]["profile"]["classes"]
    named = {name for part in found.values() for name in part}
    order = [name for name in document["form"]["classes"] if name in named]
    names = [*order, *sorted(named - set(order))]
    total = sum(found.get("train", {}).values()) or 1
    return [
        {
            "name": name,
            "counts": [f"{found.get(part, {}).get(name, 0):,}" for part in used_parts(document)],
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
        "missing": _missing(column),
        "distinct": _distinct(column),
        "range": "" if column["minimum"] is None else f"{figure(column['minimum'])} to {figure(column['maximum'])}",
        "mean": "" if column["mean"] is None else f"{figure(column['mean'])} ± {figure(column['std'])}",
        "median": figure(column["quantiles"]["0.5"]) if "0.5" in column["quantiles"] else "",
        "bars": [100 * count / top for count in histogram["counts"]] if histogram and top else [],
        "ends": [figure(histogram["edges"][0]), figure(histogram["edges"][-1])] if histogram and top else [],
        "frequent": ", ".join(f"{name} {count:,}" for name, count in values[:_SHOWN_VALUES])
        + (f" and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else ""),
        "constant": column["constant"],
    }


def represented(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A sensitive column each: a row a value, with its share of every part; values that no part has are left out."""
    found = []
    for item in document["checked"]["representation"]:
        parts = [part for part in _PARTS if part in item["shares"]]
        names = [name for name in item["shares"]["train"] if any(item["shares"][part].get(name) for part in parts)]
        rows = [{"name": name, "shares": [100 * item["shares"][part].get(name, 0) for part in parts]} for name in names]
        found.append({"column": item["column"], "evenness": item["evenness"], "parts": parts, "rows": rows})
    return found


def calibration_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What quantization looks at, for a person; empty where none was drawn."""
    drawn = document.get("calibration")
    if not drawn:
        return []
    return [
        ("samples", f"{drawn['samples']:,} of {drawn['of']:,} training samples, drawn by seed {drawn['seed']}"),
        ("range", f"{figure(drawn['minimum'])} to {figure(drawn['maximum'])}"),
        ("training range", f"{figure(drawn['train_minimum'])} to {figure(drawn['train_maximum'])}"),
        ("their bytes", f"sha256:{drawn['sha256']}"),
        ("preprocessing", f"sha256:{drawn['preprocessing_sha256']}"),
    ]


def done(document: Mapping[str, Any]) -> list[str]:
    """What became of the data, one sentence each."""
    redacted = document["collected"]["redacted"]
    labels = document["labels"]
    said = [f"{count:,} x {what} taken out, a marker stands there" for what, count in redacted.items()]
    if labels["judged"]:
        decided = ", ".join(f"{kind} {labels['decided'][kind]}" for kind in _DECISIONS if labels["decided"][kind])
        said.append(
            f"{labels['judged']:,} labels were looked over, {labels['suspected']:,} are suspected; "
            f"decided: {decided or 'none'}, open: {labels['undecided']:,}"
        )
    return [*said, *labels["notes"], *document["cleaned"]["said"]]


def _missing(column: Mapping[str, Any]) -> str:
    if not column["missing"]:
        return ""
    return f"{column['missing']:,} ({100 * column['missing'] / (column['missing'] + column['count']):.1f} %)"


def _distinct(column: Mapping[str, Any]) -> str:
    if column["distinct"] is None:
        return ""
    return f"{'' if column['distinct_exact'] else 'at least '}{column['distinct']:,}"
