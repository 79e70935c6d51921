"""The project file's whole schema, and the reference page made from it.

``core`` knows the tables; families, data, training and steps own what stands inside some of them. Only here is
everything known at once. ``python -m edgegen.pipeline.reference DIR`` writes both files; a test keeps them current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.steps import STEPS
from edgegen.core.budgets import RESOURCES, QualityBudget
from edgegen.core.project import FILE_FAMILY, PointTable, project_schema
from edgegen.core.records import json_schema
from edgegen.data.settings import DataSettings
from edgegen.export.check.rules import RULES
from edgegen.metrics.table import METRICS
from edgegen.pipeline.brought_settings import BroughtSettings
from edgegen.pipeline.search_settings import SearchSettings
from edgegen.train.families import FAMILIES, find_family
from edgegen.train.settings import TrainSettings
from edgegen.train.tuning import TuneSettings

SCHEMA_FILE, PAGE_FILE, CHECK_FILE = "edgegen.schema.json", "project-file.md", "check.md"

_HEAD = """# The project file

`edgegen.toml`, or `[tool.edgegen]` in `pyproject.toml`: the one in reach of the working folder, upward to the
repository's root, or the one in the folder that `--project DIR` names. Both in one folder, or none, is an error.
An unknown key is an error that names the file, the key and the nearest right name. `--set a.b=VALUE` overrides a key
for one command; values are TOML. `edgegen.schema.json` beside this page is the same as JSON Schema, for editors.

This page is made from the code: `python -m edgegen.pipeline.reference toolchain/edgegen/docs`.
"""

_CHECK_HEAD = """# Check: a model file before any build

    edgegen check model.onnx --target raspberrypi4 --shape input=1,3,224,224
    edgegen check model.tflite --target raspberrypi5 --json
    edgegen check model.onnx --target raspberrypi4 --sarif check.sarif --strict

Reads an ONNX, LiteRT, torch.export (`.pt2`) or safetensors file as data and holds it against the rules below, without
running it. Nothing is unpickled, no path out of the file's folder is followed, and sizes are bounded before anything is
allocated. Exit code 0: nothing worse than a warning; 1: it does not fit the device; 2: the file cannot be read; 3: it
cannot be built. `--strict` counts warnings as errors. `--json` has everything that was found and what the file holds;
SARIF 2.1.0 is what code hosts show beside the file. `edgegen build --model` looks at the same rules first.

What onnxruntime has is asked of the installed onnxruntime itself: kernels of its CPU provider by operator, version and
type. Of LiteRT files the runtime's own verifier says whether it has every operator.

| rule | severity | what | why | fix |
|---|---|---|---|---|
"""


def full_schema() -> dict[str, Any]:
    """JSON Schema of the project file with everything that families, steps and metrics allow."""
    schema = project_schema()
    tables = schema["properties"]
    tables["model"] = _described(_model(), "the family and its settings")
    tables["data"] = _described(json_schema(DataSettings), "what the model is trained and judged on")
    tables["train"] = _described(json_schema(TrainSettings), "the training loop")
    tables["tune"] = _described(json_schema(TuneSettings), "a search of settings: edgegen tune")
    tables["search"] = _described(
        json_schema(SearchSettings), "a search of recipes and of their steps' settings: edgegen search"
    )
    tables["compress"] = _described(_compress(), "recipes, and settings of their steps")
    tables["budgets"] = _described(_budgets(), "limits that a build must keep")
    tables["targets"]["additionalProperties"]["properties"]["budgets"] = _budgets()
    return schema


def page() -> str:
    """The reference as Markdown."""
    lines = [_HEAD]
    for name, table in full_schema()["properties"].items():
        lines += _section(name, table)
    return "\n".join(lines).rstrip() + "\n"


def check_page() -> str:
    """The table of preflight rules as Markdown."""
    rows = [f"| {rule.id} | {rule.severity} | {rule.title} | {rule.why} | {rule.fix} |" for rule in RULES]
    return _CHECK_HEAD + "\n".join(rows) + "\n"


def _model() -> dict[str, Any]:
    """One of the families, or a file; a torch module of one's own and a file may leave the family out."""
    families = [_family(name, find_family(name).settings) for name in FAMILIES]
    return {"type": "object", "oneOf": [*families, _family(FILE_FAMILY, BroughtSettings)]}


def _family(name: str, settings: type) -> dict[str, Any]:
    schema = json_schema(settings)
    required = [*schema.get("required", ()), *(["family"] if name not in ("module", FILE_FAMILY) else [])]
    return {
        **schema,
        "properties": {"family": {"const": name}, **schema["properties"]},
        "required": required,
        "title": name,
    }


def _compress() -> dict[str, Any]:
    recipes = {"type": "array", "items": {"type": "string"}, "description": "candidates: step names joined by +"}
    properties: dict[str, Any] = {"recipes": recipes}
    for (name, form), step in STEPS.items():
        inner = json_schema(step.settings)
        forms = properties.get(name, {}).get("description", "")
        properties[name] = _described(inner, f"{forms}, {form}" if forms else f"works on: {form}")
    points = {"type": "object", "additionalProperties": json_schema(PointTable)}
    properties["points"] = _described(points, "candidates with settings of their own, by name")
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _budgets() -> dict[str, Any]:
    properties = {name: json_schema(record) for name, record in RESOURCES.items()}
    for name, metric in METRICS.items():
        if metric.kind != "unpaired":
            properties[name] = _described(json_schema(QualityBudget), metric.doc)
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {**schema, "description": text}


def _section(path: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## `[{path}]`\n".replace(" []`", "`")
    if table.get("description"):
        yield _sentence(table["description"]) + "\n"
    inner = {name: item for name, item in table.get("properties", {}).items() if _holds_keys(item)}
    plain = {name: item for name, item in table.get("properties", {}).items() if name not in inner}
    plain = {name: item for name, item in plain.items() if "const" not in item}
    if plain:
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        for name, item in plain.items():
            default = _default(item, name in table.get("required", ()))
            yield f"| `{name}` | {_type(item)} | {default} | {_meaning(item)} |"
    for option in table.get("oneOf", ()):
        yield from _section(f'{path}] family = "{option["title"]}" [', option)
    for name, item in inner.items():
        rows = item.get("additionalProperties")
        yield from _section(f"{path}.{name}.NAME" if isinstance(rows, dict) else f"{path}.{name}", rows or item)


def _holds_keys(item: Mapping[str, Any]) -> bool:
    """Whether a key is a table of keys of its own, or of tables by name."""
    rows = item.get("additionalProperties")
    return bool(item.get("properties")) or (isinstance(rows, dict) and bool(rows.get("properties")))


def _type(item: Mapping[str, Any]) -> str:
    if "enum" in item:
        return " or ".join(f"`{json.dumps(option)}`" for option in item["enum"])
    if item.get("type") == "array":
        return f"list of {_type(item['items'])}"
    return str(item.get("type", "any")).replace("object", "table")


def _default(item: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(item['default'])}`" if "default" in item else "none"


def _meaning(item: Mapping[str, Any]) -> str:
    limits = [f"{word} {item[key]:g}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in item]
    return "; ".join(text for text in (_sentence(item.get("description", "")), ", ".join(limits)) if text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / SCHEMA_FILE).write_text(json.dumps(full_schema(), indent=1) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(), encoding="utf-8")
    (folder / CHECK_FILE).write_text(check_page(), encoding="utf-8")
