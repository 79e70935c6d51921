"""Reads a ``result.json`` that may come from anywhere: bounded, strict JSON, and held against the schema that ships.

Only the words of JSON Schema that this schema uses are understood (draft 2020-12): ``type``, ``const``, ``enum``,
``anyOf``, ``$ref``, ``properties``, ``required``, ``additionalProperties``, ``items``, ``minimum`` and ``pattern``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.artifacts.layout import BUNDLE_DIR
from edgegen.artifacts.verify import evidence_files
from edgegen.bench.given_json import given_json
from edgegen.bench.result import result_schema
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.given_file import read_file

RESULT, REPORT = "result.json", "report.html"
MAX_BYTES = 64 << 20

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def read_result(path: Path) -> dict[str, Any]:
    """The result document of a file, a build's folder, or a bundle (whose evidence holds it).

    Raises:
        UsageError: there is none, or it is not one of schema 1.
        IntegrityError: the bundle does not hold.
    """
    found = _file(path)
    data = read_file(found, "the result", limit_bytes=MAX_BYTES)
    try:
        document = given_json(data, str(path))
    except IntegrityError as error:
        raise UsageError("the result is no JSON", where=str(path), got=error.got, expected="a result.json") from error
    check_result(document, str(path))
    return document


def page_of(path: Path) -> bytes:
    """``report.html`` for what ``read_result`` reads: a bundle's own, else drawn anew from the document alone.

    Raises:
        UsageError, IntegrityError: as ``read_result``.
    """
    bundle = None if path.is_file() else bundle_of(path)
    page = None if bundle is None else evidence_files(bundle).get(REPORT)
    if page is not None:
        return page.read_bytes()
    from edgegen.bench.report import render_report

    return render_report(read_result(path)).encode()


def bundle_of(path: Path) -> Path | None:
    """The bundle that a path means: itself, or the one in a build's folder; None where it is neither."""
    for folder in (path / BUNDLE_DIR, path):
        if (folder / "oci-layout").is_file():
            return folder
    return None


def check_result(document: Mapping[str, Any], where: str) -> None:
    """Raises UsageError where the document is not what ``result.schema.json`` describes."""
    schema = result_schema()
    fault = _fault(document, schema, schema, "")
    if fault:
        raise UsageError(
            "not a result document",
            where=where,
            got=fault,
            expected="result.json of schema 1, as edgegen build writes it",
        )
    tools = document["environment"].get("tools", {})
    if not isinstance(tools, Mapping) or not all(isinstance(version, str) for version in tools.values()):
        raise UsageError("the tools of a result are no table of texts", where=where)


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / RESULT).is_file():
        return path / RESULT
    bundle = bundle_of(path)
    if bundle is not None:
        files = evidence_files(bundle)
        if RESULT in files:
            return files[RESULT]
    raise UsageError(
        "there is no result",
        where=str(path),
        expected="a result.json, a build's folder, or a bundle with its evidence",
        next_step="edgegen build --target NAME",
    )


def _fault(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str:
    """The first place that does not fit, told in a clause; empty where all fits."""
    if "$ref" in schema:
        return _fault(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)
    if "anyOf" in schema:
        faults = [_fault(value, option, root, where) for option in schema["anyOf"]]
        # Of "this, or null" the first says more than that something is not null.
        return "" if not all(faults) else faults[0]
    if "const" in schema and value != schema["const"]:
        return f"{where or 'the document'} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of {schema['enum']}"
    told = schema.get("type", ())
    kinds = (told,) if isinstance(told, str) else tuple(told)
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{where or 'the document'} is no {' or '.join(kinds)}"
    if isinstance(value, Mapping):
        return _fault_in_object(value, schema, root, where)
    if isinstance(value, list) and "items" in schema:
        found = (_fault(item, schema["items"], root, f"{where}[{place}]") for place, item in enumerate(value))
        return next((fault for fault in found if fault), "")
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        return f"{where} is below {schema['minimum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return f"{where} does not look as it must"
    return ""


def _is(value: Any, kind: str) -> bool:
    """Whether a value is of a JSON type; Python's truth values are numbers, JSON's are not."""
    return isinstance(value, _TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _fault_in_object(value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> str:
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        return f"{where or 'the document'} has no {missing[0]}"
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        place = f"{where}.{name}" if where else name
        if name not in known and rest is False:
            return f"{place[:100]} is not known"
        inner = known.get(name, rest)
        fault = _fault(item, inner, root, place[:100]) if isinstance(inner, Mapping) else ""
        if fault:
            return fault
    return ""
