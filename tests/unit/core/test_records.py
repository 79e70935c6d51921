"""Strict records: what is written is read back, what is not declared is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.digests import canonical_json, sha256_json
from edgegen.core.errors import BudgetError, BuildError, EdgegenError, ExitCode, UsageError, gravest
from edgegen.core.lazy import load, nearest
from edgegen.core.models import CandidateName
from edgegen.core.records import json_schema, read_record, setting, write_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int = setting(doc="size", minimum=0, maximum=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    ratio: float = 0.5
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    inner: Inner | None = None
    table: Mapping[str, Inner] = setting({})
    odd: bool = setting(False, key="is-odd")


records = st.builds(
    Outer,
    name=st.text(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["a", "b"]),
    sizes=st.lists(st.integers()).map(tuple),
    inner=st.none() | st.builds(Inner, size=st.integers(0, 10)),
    table=st.dictionaries(st.text(), st.builds(Inner, size=st.integers(0, 10)), max_size=3),
    odd=st.booleans(),
)


@given(records)
def test_record_round_trip(record: Outer) -> None:
    assert read_record(Outer, json.loads(canonical_json(write_record(record))), "", "test") == record


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "a table"),
        ({}, "'name' is missing"),
        ({"name": 1}, "a string"),
        ({"name": "x", "naem": 1}, "did you mean 'name'"),
        ({"name": "x", "ratio": "1"}, "a number"),
        ({"name": "x", "ratio": True}, "a number"),
        ({"name": "x", "kind": "c"}, "'a', 'b'"),
        ({"name": "x", "kind": 1}, "'a', 'b'"),
        ({"name": "x", "sizes": 3}, "a list"),
        ({"name": "x", "sizes": [1, "2"]}, r"sizes\[1\]"),
        ({"name": "x", "inner": {"size": 11}}, "at most 10"),
        ({"name": "x", "table": {"k": {"size": -1}}}, "table.k.size"),
        ({"name": "x", "odd": True}, "did you mean 'is-odd'"),
        ({"name": "x", "is-odd": 1}, "true or false"),
    ],
)
def test_record_refuses(data: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_record(Outer, data, "", "test")


def test_schema_of_a_record() -> None:
    schema = json_schema(Outer)
    assert schema["required"] == ["name"]
    assert schema["properties"]["inner"]["properties"]["size"] == {
        "type": "integer",
        "description": "size",
        "minimum": 0,
        "maximum": 10,
    }
    assert schema["properties"]["kind"] == {"enum": ["a", "b"], "default": "a"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values))
def test_canonical_json_ignores_the_order_of_keys(value: dict) -> None:
    backwards = dict(reversed(list(value.items())))
    assert sha256_json(value) == sha256_json(backwards)
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


@given(st.lists(st.sampled_from(list(ExitCode))))
def test_gravest_is_one_of_them_and_ok_only_if_all_are(codes: list[ExitCode]) -> None:
    worst = gravest(codes)
    assert worst in (codes or [ExitCode.OK])
    assert (worst == ExitCode.OK) == all(code == ExitCode.OK for code in codes)


def test_gravest_order() -> None:
    assert gravest([ExitCode.BUDGET_FAILED, ExitCode.NOT_JUDGED]) == ExitCode.NOT_JUDGED
    assert gravest([ExitCode.BUILD, ExitCode.NOT_JUDGED]) == ExitCode.BUILD
    assert gravest([ExitCode.INTEGRITY, ExitCode.USAGE]) == ExitCode.USAGE


def test_error_is_one_paragraph() -> None:
    error = BuildError("it broke", where="here", got="a\nb" + "x" * 2000, expected="c.", next_step="do that")
    text = error.paragraph()
    assert text.startswith("it broke (here). Got: a b")
    assert text.endswith("Expected: c. Next: do that.")
    assert "\n" not in text
    assert len(text) < 1000
    assert error.to_dict()["exit_code"] == 3
    assert isinstance(BudgetError("x"), EdgegenError)


def test_lazy_names_the_extra() -> None:
    with pytest.raises(EdgegenError, match=r"pip install 'edgegen\[litert\]'") as caught:
        load("no_such_library_anywhere:thing", extra="litert")
    assert caught.value.exit_code == ExitCode.NOT_JUDGED
    assert nearest("onxx", ["onnx", "litert"]) == "; did you mean 'onnx'?"
    assert nearest("zzz", ["onnx"]) == ""


@pytest.mark.parametrize("text", ["float32@onnx", "distilled+static-int8@litert"])
def test_candidate_name_round_trip(text: str) -> None:
    assert str(CandidateName.parse(text)) == text


@pytest.mark.parametrize("text", ["", "float32", "@onnx", "a++b@onnx", "a@tflite"])
def test_candidate_name_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        CandidateName.parse(text)
