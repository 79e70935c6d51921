"""Results from anywhere: what the schema does not describe is refused in a paragraph, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from example_build import document
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.bench.read_result import check_result, read_result
from edgegen.bench.result import result_schema
from edgegen.core.errors import UsageError


def paths(value, prefix=()):
    """Every place in a document."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*prefix, key))


WHOLE = document()
WHOLE["candidates"] = WHOLE["candidates"][:1]
WHOLE["training"] = None
VALIDATOR = jsonschema.Draft202012Validator(result_schema())
PLACES = [path for path in paths(WHOLE) if path]
VALUES = st.sampled_from([None, True, -1, 2.5, "text", [], {}, [None], {"a": 1}])


def changed(path: tuple, value: object) -> dict:
    """The document with another value at one place."""
    made = json.loads(json.dumps(WHOLE))
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return made


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_check_agrees_with_jsonschema(path: tuple, value: object) -> None:
    made = changed(path, value)
    if path[0] == "environment":
        return  # held to more than the schema says
    if VALIDATOR.is_valid(made):
        check_result(made, "result.json")
    else:
        with pytest.raises(UsageError):
            check_result(made, "result.json")


def test_a_result_is_read_from_its_file_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(WHOLE))
    assert read_result(tmp_path) == read_result(tmp_path / "result.json") == json.loads(json.dumps(WHOLE))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 1}', "null", '{"a": NaN}', "[" * 9000,
                                  json.dumps({**WHOLE, "more": 10**400})])  # fmt: skip
def test_files_that_are_no_result_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UsageError):
        read_result(tmp_path / "result.json")


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no result"):
        read_result(tmp_path)
