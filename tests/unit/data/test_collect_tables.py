"""CSV, JSON, JSON Lines and Parquet as rows: equal tables give equal rows, whatever the form, in bounded memory."""

import datetime
import gzip
import hashlib
import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.core.digests import sha256_file
from edgegen.core.ports import Silent
from edgegen.data.collect import chunks
from edgegen.data.collect.source import find_source
from edgegen.data.collected import ROWS_FILE
from edgegen.data.settings import Column
from support.tables import collect_into, collected_frame, put, table_settings

COLUMNS = {
    "weight": Column(factor=0.5, unit="kg", minimum=0),
    "kind": Column(type="category", role="label"),
    "count": Column(type="integer"),
    "well": Column(type="boolean"),
    "at": Column(type="time", role="time"),
    "noise": Column(role="ignore"),
}
ROWS = [
    {"weight": 3.0, "kind": "a", "count": 2**53 + 1, "well": True, "at": "1970-01-01T00:00:01Z", "noise": "x"},
    {"weight": 5.5, "kind": 'b "quoted", and\nbroken', "count": -1, "well": False, "at": "1970-01-02", "noise": "y"},
    {"weight": None, "kind": "ü", "count": None, "well": None, "at": None, "noise": None},
]
EXPECTED = {
    "weight": [1.5, 2.75, None],
    "kind": ["a", 'b "quoted", and\nbroken', "ü"],
    "count": [2**53 + 1, -1, None],
    "well": [True, False, None],
    "at": [1.0, 86400.0, None],
}


def _csv(separator=","):
    def cell(value):
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in f'{separator}"\n') else text

    return "\n".join(separator.join(map(cell, row)) for row in [list(ROWS[0]), *(row.values() for row in ROWS)]) + "\n"


def _parquet(path, rows=ROWS, **options):
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    pq.write_table(table, path, **options)
    return path


def _jsonl():
    return "".join(f"{json.dumps(row)}\n" for row in ROWS)


FORMS = {
    "t.csv": lambda path: put(path, _csv()),
    "crlf.csv": lambda path: put(path, _csv().replace("\n", "\r\n").replace("and\r\n", "and\n")),
    "marked.csv": lambda path: put(path, b"\xef\xbb\xbf" + _csv().encode()),
    "blank-end.csv": lambda path: put(path, _csv() + "\n\n"),
    "t.tsv": lambda path: put(path, _csv("\t")),
    "t.json": lambda path: put(path, json.dumps(ROWS, indent=1)),
    "tight.json": lambda path: put(path, json.dumps(ROWS, separators=(",", ":"), ensure_ascii=False)),
    "t.jsonl": lambda path: put(path, _jsonl()),
    "open-end.jsonl": lambda path: put(path, _jsonl().rstrip("\n")),
    "t.parquet": _parquet,
    "plain.parquet": lambda path: _parquet(path, use_dictionary=False, compression="none", row_group_size=1),
}


def _plain(frame):
    return {
        name: [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]
        for name, column in frame.items()
    }


@pytest.mark.parametrize("name", FORMS)
def test_collect_gives_the_same_rows_from_every_form(tmp_path, name):
    path = FORMS[name](tmp_path / name)
    found = collect_into(tmp_path / "out", table_settings(name, COLUMNS), tmp_path)
    assert _plain(collected_frame(tmp_path / "out")) == EXPECTED
    assert (found.carrier, found.kind, found.samples) == ("rows", "table", 3)
    assert (found.source, found.sha256) == (name, sha256_file(path))
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == [ROWS_FILE]


def test_collect_gives_equal_bytes_from_every_form(tmp_path):
    digests = set()
    for name, make in FORMS.items():
        make(tmp_path / name)
        collect_into(tmp_path / f"out-{name}", table_settings(name, COLUMNS), tmp_path)
        digests.add(hashlib.sha256((tmp_path / f"out-{name}" / ROWS_FILE).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("t.csv.gz", lambda: gzip.compress(_csv().encode()), {"kind": "csv"}),
        ("t.tsv.gz", lambda: gzip.compress(_csv("\t").encode()), {"kind": "csv"}),
        ("t.jsonl.gz", lambda: gzip.compress(_jsonl().encode()), {"kind": "jsonl"}),
        ("t.csv", lambda: _csv(";"), {"separator": ";"}),
        ("t.csv", lambda: _csv().encode("latin-1"), {"encoding": "latin-1"}),
        ("t.csv", lambda: _csv().encode("utf-16"), {"encoding": "utf-16"}),
        ("t.dat", lambda: _csv("|"), {"kind": "csv", "separator": "|"}),
        ("t.json", lambda: json.dumps(ROWS).encode("utf-16"), {"encoding": "utf-16"}),
    ],
)
def test_collect_reads_other_encodings_and_separators(tmp_path, name, content, options):
    put(tmp_path / name, content())
    collect_into(tmp_path / "out", table_settings(name, COLUMNS, **options), tmp_path)
    assert _plain(collected_frame(tmp_path / "out")) == EXPECTED


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "a": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "b": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6),
            }
        ),
        min_size=1,
        max_size=12,
    ),
    indent=st.none() | st.integers(0, 3),
    block=st.integers(1, 40),
    limit=st.integers(1, 5),
)
def test_json_is_read_alike_however_it_is_cut_into_blocks_and_chunks(tmp_path, monkeypatch, rows, indent, block, limit):
    monkeypatch.setattr("edgegen.data.collect.lines._BLOCK_BYTES", block)
    monkeypatch.setattr(chunks, "_ROWS", limit)
    columns = {"a": Column(), "b": Column(type="text")}
    for name, text in {
        "t.json": json.dumps(rows, indent=indent, ensure_ascii=False),
        "t.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
    }.items():
        put(tmp_path / name, text)
        collect_into(tmp_path / "out", table_settings(name, columns), tmp_path)
        found = _plain(collected_frame(tmp_path / "out"))
        assert found == {key: [row[key] for row in rows] for key in columns}


def test_json_takes_a_key_that_an_object_lacks_as_missing_and_leaves_out_others(tmp_path):
    put(tmp_path / "t.json", '[{"b": "x", "deep": {"a": [1, 2]}}, {"a": 1, "b": "y"}]')
    columns = {"a": Column(), "b": Column(type="category")}
    collect_into(tmp_path / "out", table_settings("t.json", columns), tmp_path)
    assert _plain(collected_frame(tmp_path / "out")) == {"a": [None, 1.0], "b": ["x", "y"]}


def test_csv_with_one_column_keeps_a_quoted_empty_cell_as_missing(tmp_path):
    put(tmp_path / "t.csv", 'a\n1\n""\n3\n')
    collect_into(tmp_path / "out", table_settings("t.csv", {"a": Column()}), tmp_path)
    assert _plain(collected_frame(tmp_path / "out")) == {"a": [1.0, None, 3.0]}


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        (pa.array(["x", None, "x"]).dictionary_encode(), Column(type="category"), ["x", None, "x"]),
        (pa.array([1, None], pa.int8()), Column(type="category"), ["1", None]),
        (pa.array([7, None], pa.uint64()), Column(type="integer"), [7, None]),
        (pa.array([1.5, None], pa.float16()), Column(), [1.5, None]),
        (pa.array([Decimal("1.25"), None]), Column(), [1.25, None]),
        (pa.array([datetime.date(1970, 1, 2), None]), Column(type="time"), [86400.0, None]),
        (pa.array([1500, None], pa.timestamp("ms", "Europe/Berlin")), Column(type="time"), [1.5, None]),
        # Parquet knows no seconds: they are written as milliseconds. Both lie beyond the years that nanoseconds reach.
        (pa.array([2**40], pa.timestamp("s")), Column(type="time"), [2.0**40]),
        (pa.array([2**62], pa.timestamp("ms")), Column(type="time"), [2**62 / 1000]),
        (pa.array([1, 0, None]), Column(type="boolean"), [True, False, None]),
        (pa.array(["a"], pa.large_string()), Column(type="text"), ["a"]),
        (pa.array([None, None]), Column(), [None, None]),
        (pa.array([1.0, float("nan")]), Column(), [1.0, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, (pa.Array, pa.ChunkedArray)) else "",
)
def test_parquet_takes_every_plain_type(tmp_path, values, column, expected):
    table = pa.table({"x": values, "nested": [[1]] * len(values)})
    pq.write_table(table, tmp_path / "t.parquet")
    collect_into(tmp_path / "out", table_settings("t.parquet", {"x": column}), tmp_path)
    assert _plain(collected_frame(tmp_path / "out")) == {"x": expected}


def test_collect_keeps_the_source_order_over_many_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_ROWS", 100)
    order = np.random.default_rng(5).permutation(1234)
    put(tmp_path / "t.csv", "n\n" + "".join(f"{n}\n" for n in order))
    collect_into(tmp_path / "out", table_settings("t.csv", {"n": Column(type="integer")}), tmp_path)
    assert list(collected_frame(tmp_path / "out")["n"]) == list(order)


class _Bar(Silent):
    def __init__(self):
        self.seen = []

    def advance(self, task, done, total, detail=""):
        self.seen.append((done, total))


def test_collect_tells_how_far_it_is(tmp_path):
    from edgegen.data.collect.delimited import collect

    path = put(tmp_path / "t.csv", "a\n" + "1\n" * 400_000)
    given, bar = table_settings("t.csv", {"a": Column()}), _Bar()
    (tmp_path / "out").mkdir()
    collect(find_source(given, tmp_path), given, tmp_path / "out", bar)
    assert len(bar.seen) > 2
    assert bar.seen == sorted(bar.seen)
    assert bar.seen[-1] == (path.stat().st_size, path.stat().st_size)


_MEASURE = """
import resource, sys
from pathlib import Path
from support.tables import collect_into, table_settings
from edgegen.data.settings import Column
columns = {"a": Column(), "b": Column(type="category")}
def peak(name):
    collect_into(Path("out"), table_settings(name, columns), Path())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
peak(sys.argv[1])
print(peak(sys.argv[2]) - peak(sys.argv[1]))
"""


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    line = '{"a": 1.25, "b": "kind"}\n' if ending == "jsonl" else "1.25,kind\n"
    header = "" if ending == "jsonl" else "a,b\n"
    for name, rows in (("small", 100_000), ("large", 400_000)):
        put(tmp_path / f"{name}.{ending}", header + line * rows)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, f"small.{ending}", f"large.{ending}"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 20  # MiB more for four times the rows
