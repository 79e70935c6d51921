"""The rows carrier: types, order, bounded row groups, equal bytes, and nothing half-written."""

import hashlib
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.core.errors import IntegrityError, UsageError
from edgegen.data import rows as rows_module
from edgegen.data.rows import GROUP_ROWS, RowsWriter, frame_type, read_rows, row_count
from edgegen.data.settings import Column

COLUMNS = {
    "weight.kg": Column(type="number"),
    "weight": Column(type="integer"),
    "kind": Column(type="category"),
    "note": Column(type="text"),
    "well": Column(type="boolean"),
    "at": Column(type="time"),
    "unread": Column(type="number", role="ignore"),
}
KEPT = [name for name in COLUMNS if name != "unread"]


def _frame(count):
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "at": numbers * 0.5,
            "weight.kg": np.where(numbers % 3 == 0, np.nan, numbers / 7),
            "weight": pd.array([None if n % 5 == 0 else 2**60 + n for n in range(count)], dtype="Int64"),
            "kind": pd.array([None if n % 4 == 0 else f"kind {n % 9}" for n in range(count)], dtype="string"),
            "note": pd.array(['ä\n"quoted", ' * (n % 3) or None for n in range(count)], dtype="string"),
            "well": pd.array([[True, False, None][n % 3] for n in range(count)], dtype="boolean"),
        }
    )


def _write(path, frames):
    with RowsWriter(path, COLUMNS) as writer:
        for frame in frames:
            writer.append(frame)
    return path


def _cut(frame, ends):
    edges = [0, *sorted(ends), len(frame)]
    return [frame.iloc[start:end] for start, end in pairwise(edges)]


def test_read_rows_gives_back_what_was_written_with_types_and_order(tmp_path):
    frame = _frame(1000)
    path = _write(tmp_path / "rows.parquet", [frame])
    found = pd.concat(read_rows(path))
    pd.testing.assert_frame_equal(found, frame[KEPT])
    assert {name: found[name].dtype for name in KEPT} == {name: frame_type(COLUMNS[name]) for name in KEPT}
    assert row_count(path) == 1000


def test_read_rows_numbers_rows_over_batches_and_keeps_them_small(tmp_path):
    path = _write(tmp_path / "rows.parquet", [_frame(1000)])
    batches = list(read_rows(path, ["at"], batch_rows=300))
    assert max(map(len, batches)) <= 300
    assert list(pd.concat(batches).index) == list(range(1000))
    assert (pd.concat(batches)["at"] == np.arange(1000) * 0.5).all()


@pytest.mark.parametrize("names", [["at", "weight"], ["weight", "at"], ["weight"], ["weight.kg"]])
def test_read_rows_reads_the_asked_columns_in_the_asked_order(tmp_path, names):
    path = _write(tmp_path / "rows.parquet", [_frame(10)])
    assert [list(frame.columns) for frame in read_rows(path, names)] == [names]


def test_read_rows_refuses_an_unknown_column_with_the_nearest_name(tmp_path):
    path = _write(tmp_path / "rows.parquet", [_frame(10)])
    with pytest.raises(UsageError, match="did you mean 'weight'"):
        list(read_rows(path, ["wieght"]))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=st.lists(st.integers(0, 120), max_size=8))
def test_rows_writer_gives_equal_bytes_however_rows_are_cut_into_frames(tmp_path, monkeypatch, ends):
    monkeypatch.setattr(rows_module, "GROUP_ROWS", 32)
    frame = _frame(120)
    whole = _write(tmp_path / "whole.parquet", [frame])
    parts = _write(tmp_path / "parts.parquet", _cut(frame, ends))
    assert hashlib.sha256(whole.read_bytes()).digest() == hashlib.sha256(parts.read_bytes()).digest()


def test_rows_writer_bounds_row_groups(tmp_path):
    columns = {"n": Column()}
    with RowsWriter(tmp_path / "rows.parquet", columns) as writer:
        for _ in range(3):
            writer.append(pd.DataFrame({"n": np.zeros(GROUP_ROWS // 2 + 1)}))
    metadata = pq.read_metadata(tmp_path / "rows.parquet")
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes == [GROUP_ROWS, GROUP_ROWS // 2 + 3]


def test_rows_writer_writes_early_when_texts_are_long(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "_GROUP_BYTES", 10_000)
    with RowsWriter(tmp_path / "rows.parquet", {"note": Column(type="text")}) as writer:
        for _ in range(4):
            writer.append(pd.DataFrame({"note": pd.array(["x" * 1000] * 11, dtype="string")}))
    assert pq.read_metadata(tmp_path / "rows.parquet").num_row_groups == 4
    assert row_count(tmp_path / "rows.parquet") == 44


def test_rows_writer_leaves_nothing_after_an_error(tmp_path):
    def interrupted():
        with RowsWriter(tmp_path / "rows.parquet", COLUMNS) as writer:
            writer.append(_frame(10))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_rows_writer_refuses_a_frame_that_was_not_conformed(tmp_path):
    frame = _frame(10).astype({"weight": "float64"})
    with pytest.raises(TypeError, match="weight"), RowsWriter(tmp_path / "rows.parquet", COLUMNS) as writer:
        writer.append(frame)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", [row_count, lambda path: list(read_rows(path))], ids=["row_count", "read_rows"])
@pytest.mark.parametrize("kept", [0, 3, 400], ids=["empty", "three bytes", "cut short"])
def test_damaged_rows_are_refused(tmp_path, use, kept):
    path = _write(tmp_path / "rows.parquet", [_frame(50)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IntegrityError, match=r"rows\.parquet"):
        use(path)


def test_reading_holds_one_batch_however_long_the_file(tmp_path):
    column = {"x": Column()}
    random = np.random.default_rng(1)
    with RowsWriter(tmp_path / "rows.parquet", column) as writer:
        for _ in range(40):
            writer.append(pd.DataFrame({"x": random.random(GROUP_ROWS)}))
    held = pa.total_allocated_bytes()
    for _ in read_rows(tmp_path / "rows.parquet"):
        assert pa.total_allocated_bytes() - held < 8e6, "of 16 MB in the file"
