"""Declared columns: what each type takes, units, ranges, missing cells, and messages that name row and column."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.cells import read_cells
from edgegen.data.collect.source import find_source
from edgegen.data.declared import kept_columns
from edgegen.data.format import conform, propose_columns
from edgegen.data.rows import RowsWriter, frame_type
from edgegen.data.settings import Column, DataSettings
from edgegen.data.unique import refuse_repeats
from support.tables import put, table_settings


def _conform(values, column, **place):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    return conform(frame, {"x": column}, **({"first_row": 1, "where": "t.csv"} | place))["x"]


def _refused(values, column, **place):
    with pytest.raises(UsageError) as caught:
        _conform(values, column, **place)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("number", ["1", "-2.5e3", ".5", "1.", "+7", " 8 ", ""], [1, -2500, 0.5, 1, 7, 8, None]),
        ("number", [1, 2.5, None, math.nan], [1, 2.5, None, None]),
        ("integer", ["1", "-3", "007", "3.0", "999999999999999999", ""], [1, -3, 7, 3, 10**18 - 1, None]),
        ("integer", [1, 3.0, None], [1, 3, None]),
        ("boolean", ["true", "FALSE", "Yes", "no", "1", "0", ""], [True, False, True, False, True, False, None]),
        ("boolean", [True, False, 1, 0.0, None], [True, False, True, False, None]),
        ("category", ["a", " b", "", "nan"], ["a", " b", None, "nan"]),
        ("category", [3, 3.0, 2.5, True, None, "x"], ["3", "3", "2.5", "true", None, "x"]),
        ("time", ["0", "1.5", "1970-01-02", "1970-01-01T01:00:00+01:00", ""], [0, 1.5, 86400, 0, None]),
        ("time", ["2024-05-01T12:30:00.25Z", "2024-05-01 12:30:00.250000999"], [1714566600.25, 1714566600.25]),
        ("time", ["0001-01-01", "9999-12-31T23:59:59Z"], [-62135596800, 253402300799]),
    ],
)
def test_conform_takes_cells_and_gives_the_declared_type(kind, cells, expected):
    column = Column(type=kind)
    found = _conform(cells, column)
    assert found.dtype == frame_type(column)
    assert [None if missing else value for value, missing in zip(found, found.isna(), strict=True)] == expected


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        *[("number", cell) for cell in ("12abc", "nan", "NaN", "NA", "-", "1,5", "1_000", "0x1F", "١٢", "1e", "--1")],
        *[("number", cell) for cell in ("  ", "1 2", True, [1], {"a": 1}, b"1", "inf", "-Infinity", "1e999", math.inf)],
        *[("integer", cell) for cell in ("3.5", "1e3", "0x10", "1000000000000000000", 2.5, 10**18, 10**5000, True)],
        *[("boolean", cell) for cell in ("maybe", "2", "t", 2, 0.5)],
        *[("category", cell) for cell in ("a\0b", "x" * 131_073, "\ud800", [], b"a")],
        *[("time", cell) for cell in ("now", "today", "2024-13-01", "2024-02-30", "2024-1-1", "12:30", "20240101x")],
        *[("time", cell) for cell in ("2024-01-01T25:00", "0000-00-00", True)],
    ],
    ids=lambda value: ascii(value)[:24] if not isinstance(value, int) or value < 10**20 else "huge",
)
def test_conform_refuses_a_cell_that_its_type_does_not_take(kind, cell):
    error = _refused([None, cell], Column(type=kind))
    assert "row 2, column 'x'" in str(error)
    assert len(str(error)) < 1000


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        (Column(factor=0.45359237, unit="kg"), ["100", ""], [45.359237, None]),
        (Column(type="integer", factor=1000), ["3", "-2"], [3000, -2000]),
        (Column(type="time", factor=0.001), ["1500"], [1.5]),
    ],
)
def test_conform_multiplies_by_the_factor(column, cells, expected):
    found = _conform(cells, column)
    assert [None if missing else value for value, missing in zip(found, found.isna(), strict=True)] == expected


@pytest.mark.parametrize(
    ("column", "cells", "row", "words"),
    [
        (Column(minimum=0), ["1", "-0.5"], 2, "at least 0"),
        (Column(maximum=10, factor=0.1, unit="kg"), ["100", "101"], 2, "kg after factor 0.1"),
        (Column(type="integer", maximum=5), ["5", "", "6"], 3, "at most 5"),
        (Column(type="time", minimum=0), ["1969-12-31"], 1, "at least 0"),
        (Column(factor=1e300), ["1e10"], 1, "finite"),
        (Column(type="integer", factor=10), [str(10**18 - 1)], 1, "whole number"),
        (Column(type="time", factor=0.001), ["5", "2024-01-01"], 2, "remove 'factor'"),
        (Column(type="category", values=("red", "green")), ["red", "gren"], 2, "did you mean 'green'"),
        (Column(missing=False), ["1", ""], 2, "missing = false"),
        (Column(type="category", role="label"), ["a", ""], 2, "a label in every row"),
        (Column(role="target"), ["1", None], 2, "a target in every row"),
        (Column(type="category", role="group"), [None], 1, "a group in every row"),
    ],
)
def test_conform_refuses_a_value_outside_the_declaration(column, cells, row, words):
    error = _refused(cells, column)
    assert f"row {row}, column 'x'" in str(error)
    assert words in str(error)


def test_conform_names_row_line_value_and_how_many_more():
    error = _refused(["1", "no", "2", "nor"], Column(), first_row=1001, lines=[5, 6, 9, 10])
    assert error.where == "t.csv, row 1002 (line 6), column 'x'"
    assert error.got == "'no'; 1 more such cells in rows 1001 to 1004"


def test_conform_refuses_the_topmost_cell_whatever_the_rule():
    frame = pd.DataFrame({"a": ["1", "2", "x"], "b": ["5", "-1", "3"]}, dtype=object)
    with pytest.raises(UsageError, match="row 2, column 'b'"):
        conform(frame, {"a": Column(), "b": Column(minimum=0)}, first_row=1, where="t")


def test_conform_leaves_out_ignored_and_undeclared_columns_and_keeps_the_declared_order():
    frame = pd.DataFrame({"a": ["1"], "b": ["bad"], "c": ["2"], "d": ["bad"]}, dtype=object)
    columns = {"c": Column(), "b": Column(role="ignore"), "a": Column()}
    assert list(conform(frame, columns, first_row=1, where="t").columns) == ["c", "a"]


def test_conform_refuses_a_lacking_column_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"no column 'weight'.*did you mean 'wieght'"):
        conform(pd.DataFrame({"wieght": ["1"]}), {"weight": Column()}, first_row=1, where="t")


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18)))
def test_numbers_are_read_alike_as_texts_and_as_objects(values):
    texts = pd.Series([None if value is None else repr(value) for value in values], dtype=object)
    mixed = pd.Series([*values, "0"], dtype=object)  # one text keeps the list from the way of plain numbers
    plain = read_cells(pd.Series(values, dtype=object), "number")
    for other in (read_cells(texts, "number"), read_cells(mixed, "number")):
        assert plain.values.tolist() == pytest.approx(other.values.tolist()[: len(values)], abs=0, rel=0, nan_ok=True)
    assert not plain.wrong.any()


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=8)))
def test_no_text_is_ever_changed_into_something_else(values):
    texts = pd.Series(values, dtype=object)
    for kind in ("number", "integer", "boolean", "time", "category"):
        cells = read_cells(texts, kind)
        for text, value, missing, wrong in zip(values, cells.values, cells.values.isna(), cells.wrong, strict=True):
            assert missing == (wrong or not text)
            if not missing and kind == "number":
                assert value == float(text)
            if not missing and kind == "category":
                assert value == text


@pytest.mark.parametrize(
    "column",
    [
        Column(factor=0),
        Column(factor=math.inf),
        Column(type="integer", factor=0.5),
        Column(minimum=2, maximum=1),
        Column(values=("a",)),
        Column(type="category", values=("a", "a")),
        Column(type="category", values=("",)),
        Column(type="category", minimum=1),
        Column(type="boolean", factor=2),
    ],
)
def test_kept_columns_refuses_a_declaration_that_contradicts_itself(column):
    with pytest.raises(UsageError, match="column 'x' is unusable"):
        kept_columns(DataSettings(columns={"x": column}))


@pytest.mark.parametrize("columns", [{}, {"x": Column(role="ignore")}], ids=["none", "ignored"])
def test_kept_columns_points_to_proposals_when_nothing_is_declared(columns):
    with pytest.raises(UsageError, match="edgegen data columns"):
        kept_columns(DataSettings(columns=columns))


def _rows(path, values, column):
    typed = pd.DataFrame({"x": pd.array(values, dtype=frame_type(column))})
    with RowsWriter(path, {"x": column}) as writer:
        writer.append(typed)
    return path


@pytest.mark.parametrize(
    ("kind", "values", "first", "again"),
    [
        ("integer", [5, None, 6, None, 5], 1, 5),
        ("category", ["a", "b", "c", "b"], 2, 4),
        ("number", [0.0, 1.0, -0.0], 1, 3),
        ("boolean", [True, True], 1, 2),
    ],
)
def test_refuse_repeats_names_both_rows(tmp_path, kind, values, first, again):
    column = Column(type=kind, unique=True)
    with pytest.raises(UsageError) as caught:
        refuse_repeats(_rows(tmp_path / "r", values, column), {"x": column}, "t.csv")
    assert caught.value.where == f"t.csv, row {again}, column 'x'"
    assert caught.value.got.endswith(f"as in row {first}")


def test_refuse_repeats_finds_a_repeat_across_many_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr("edgegen.data.unique._ROWS_AT_ONCE", 100)
    column = Column(type="integer", unique=True)
    values = np.arange(1000)
    refuse_repeats(_rows(tmp_path / "whole", values, column), {"x": column}, "t")
    values[777] = 3
    with pytest.raises(UsageError, match=r"row 778, column 'x'.*as in row 4"):
        refuse_repeats(_rows(tmp_path / "twice", values, column), {"x": column}, "t")


def test_refuse_repeats_lets_values_pass_that_only_share_a_digest(tmp_path, monkeypatch):
    monkeypatch.setattr("edgegen.data.unique._digests", lambda values: np.zeros(len(values), np.uint64))
    column = Column(type="category", unique=True)
    refuse_repeats(_rows(tmp_path / "whole", ["a", "b"], column), {"x": column}, "t")
    with pytest.raises(UsageError, match="row 3"):
        refuse_repeats(_rows(tmp_path / "twice", ["a", "b", "a"], column), {"x": column}, "t")


def test_propose_columns_reads_types_and_roles_off_a_sample(tmp_path):
    lines = [
        f"{n},{n / 4},{n % 3},{'yes' if n % 2 else 'no'},2024-01-{n % 28 + 1:02d},text {n},,{n % 2}" for n in range(60)
    ]
    put(
        tmp_path / "t.csv",
        "id,weight,kind,well,at,note,empty,label\n" + "\n".join(lines) + "\n60,,1,no,2024-01-01,x,,0\n",
    )
    settings = table_settings("t.csv", {})
    found = propose_columns(find_source(settings, tmp_path), settings)
    assert {name: (column.type, column.role, column.missing) for name, column in found.items()} == {
        "id": ("integer", "identifier", False),
        "weight": ("number", "feature", True),
        "kind": ("integer", "feature", False),
        "well": ("boolean", "feature", False),
        "at": ("time", "time", False),
        "note": ("text", "ignore", False),
        "empty": ("text", "ignore", True),
        "label": ("category", "label", False),
    }
    assert found["id"].unique


def test_propose_columns_refuses_what_is_no_table(tmp_path):
    put(tmp_path / "t.txt", "words")
    settings = table_settings("t.txt", {})
    with pytest.raises(UsageError, match="tables only"):
        propose_columns(find_source(settings, tmp_path), settings)
