"""Tables in files that a stranger, a broken disk or a tired person may hand over."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from support.hostile_case import COLUMNS, OBJECTS, Cases, Make, csv, csv_rows, typed
from support.tables import put

CASES = Cases()
add = CASES.add

# -- CSV -----------------------------------------------------------------------------------------------------------

add("CSV with a NUL", csv(csv_rows((5, "4.5,\0x"))), "t.csv", "line 6")
add("CSV in Latin-1", csv(csv_rows((9, "8.5,caf\xe9")).encode("latin-1")), "t.csv", "line 10", "utf-8")
add("CSV in UTF-16", csv(csv_rows().encode("utf-16")), "t.csv", "line 1")
add("CSV cut off in a packed file", csv(gzip.compress(csv_rows().encode() * 9)[:-40], name="t.csv.gz"), "t.csv.gz")
add("CSV named as packed", csv(csv_rows(), name="t.csv.gz"), "t.csv.gz", "damaged")
add("CSV as a gzip bomb", csv(gzip.compress(b"a,kind\n" + b"0" * 70_000_000), name="t.csv.gz"), "t.csv.gz", "line 2")
_LONG_ROW = b"1," + b"x" * 120_000 + b"\n"
add("CSV as a bomb of long rows", csv(gzip.compress(b"a,kind\n" + _LONG_ROW * 700), name="t.csv.gz"), "t.csv.gz", "300")
add("CSV with a column twice", csv(csv_rows(header="a,a")), "t.csv", "line 1", "'a'")
add("CSV that is one endless line", csv("a,kind\n" + "1" * 2_000_000), "t.csv", "line 2", "too long")
add("CSV with a quote that never closes", csv(csv_rows((3, '2.5,"x'))), "t.csv", "line 4")
add("CSV with a quote inside a cell", csv(csv_rows((3, '2.5,"x"y'))), "t.csv", "line 4")
add("CSV row too short", csv(csv_rows((6, "5.5"))), "t.csv", "row 6", "line 7")
add("CSV row too long", csv(csv_rows((6, "5.5,x,y"))), "t.csv", "row 6", "line 7")
add("CSV with a blank line", csv(csv_rows((6, ""))), "t.csv", "line 7")
add("CSV without a byte", csv(""), "t.csv", "line 1", "header")
add("CSV of a header alone", csv("a,kind\n"), "t.csv", "no rows")
add("CSV column without a name", csv(csv_rows(header=",kind")), "t.csv", "column 1")
add("CSV lacking a column", csv(csv_rows(header="a,kin")), "t.csv", "'kind'", "did you mean")
add("CSV with 20,001 columns", csv(",".join(f"c{n}" for n in range(20_001)) + "\n"), "t.csv", "20001")
add("CSV with a cell of 200,000 characters", csv(csv_rows((3, f"2.5,{'x' * 200_000}"))), "t.csv", "line 4")
add("text where a number should be", typed("seven", '"number"'), "t.csv", "row 7", "column 'c'")
add("NaN spelt out", typed("nan", '"number"'), "row 7", "column 'c'")
add("infinity spelt out", typed("inf", '"number"'), "row 7", "column 'c'")
add("number beyond every float", typed("1e999", '"number"'), "row 7", "column 'c'", "finite")
add("integer of 30 digits", typed("9" * 30, '"integer"'), "row 7", "column 'c'")
add("fraction where an integer should be", typed("1.25", '"integer"'), "row 7", "column 'c'")
add("day that never was", typed("2024-02-30", '"time"'), "row 7", "column 'c'")
add("neither true nor false", typed("maybe", '"boolean"'), "row 7", "column 'c'")
add("value too small", typed("-1", '"number", minimum = 0'), "row 7", "column 'c'", "at least 0")
add("value too large", typed("9", '"number", maximum = 2'), "row 7", "column 'c'", "at most 2")
add("value not allowed", typed("w", '"category", values = ["u", "v"]'), "row 7", "column 'c'")
add("cell missing that may not", typed("", '"number", missing = false'), "row 7", "column 'c'")
add("value twice in a unique column", typed("2", '"number", unique = true', 1), "row", "column 'c'", "twice")
add("label missing", csv(csv_rows((12, "11.5,"))), "t.csv", "row 12", "column 'kind'")
add(
    "label that is NaN",
    csv(
        csv_rows((12, "11.5,NaN")).replace(",x", ",0").replace(",y", ",1"),
        columns=COLUMNS.replace('"category"', '"integer"'),
    ),
    "row 12",
    "column 'kind'",
)
add(
    "label that is a fraction",
    csv(
        csv_rows((12, "11.5,0.5")).replace(",x", ",0").replace(",y", ",1"),
        columns=COLUMNS.replace('"category"', '"number"'),
    ),
    "row 12",
    "column 'kind'",
)
add("one class only", csv(csv_rows().replace(",y", ",x")), "[data.columns]", "x")
add("CSV of no known encoding", csv(csv_rows(), collect='encoding = "klingon"'), "[data.collect] encoding", "klingon")
add("CSV in an encoding of bytes", csv(csv_rows(), collect='encoding = "zip_codec"'), "[data.collect] encoding")
add("CSV with a separator of two characters", csv(csv_rows(), collect='separator = "||"'), "[data.collect] separator")


def _folder_as_csv(folder: Path) -> str:
    (folder / "t.csv").mkdir()
    return f'source = "t.csv"\n{COLUMNS}'


def _pipe_as_csv(folder: Path) -> str:
    os.mkfifo(folder / "t.csv")
    return f'source = "t.csv"\n{COLUMNS}'


def _ring(folder: Path) -> str:
    (folder / "t.csv").symlink_to("t.csv")
    return f'source = "t.csv"\n{COLUMNS}'


add("folder named as a CSV", _folder_as_csv, "t.csv", "not a regular file")
add("pipe named as a CSV", _pipe_as_csv, "t.csv", "not a regular file")
add("endless device as a CSV", lambda folder: f'source = "/dev/zero"\nkind = "csv"\n{COLUMNS}', "/dev/zero")
add("link that leads to itself", _ring, "t.csv")
add("file that is not there", lambda folder: f'source = "nothing.csv"\n{COLUMNS}', "nothing.csv")
add(
    "file of an unknown ending",
    lambda folder: put(folder / "t.xlsx", b"PK") and f'source = "t.xlsx"\n{COLUMNS}',
    "t.xlsx",
)

# -- JSON ----------------------------------------------------------------------------------------------------------


def _json(content: str | bytes, name: str = "t.json") -> Make:
    def make(folder: Path) -> str:
        put(folder / name, content)
        return f'source = "{name}"\n{COLUMNS}'

    return make


def _with(row: int, item: str, *, lines: bool = False) -> Make:
    """Objects of which one, counted from 1, is this text."""
    items = [json.dumps(found) for found in OBJECTS]
    items[row - 1] = item
    return _json("\n".join(items) if lines else f"[{', '.join(items)}]", "t.jsonl" if lines else "t.json")


add("JSON that is none", _json("hello"), "t.json", "line 1")
add("JSON cut off", _json(json.dumps(OBJECTS)[:-9]), "t.json", "row 40")
add("JSON without a byte", _json(""), "t.json")
add("JSON that is one object", _json('{"a": 1}'), "t.json", "one array of objects")
add("JSON of numbers", _json("[1, 2, 3]"), "t.json", "row 1")
add("JSON of no row", _json("[]"), "t.json", "no rows")
add("JSON with a key twice", _with(4, '{"a": 1, "a": 2, "kind": "x"}'), "t.json", "row 4", "'a'")
add("JSON with NaN", _with(4, '{"a": NaN, "kind": "x"}'), "t.json", "row 4", "NaN")
add("JSON nested in a cell", _with(4, '{"a": [1, 2], "kind": "x"}'), "t.json", "row 4", "column 'a'")
add("JSON with true for a number", _with(4, '{"a": true, "kind": "x"}'), "t.json", "row 4", "column 'a'")
add("JSON with text for a number", _with(4, '{"a": "four", "kind": "x"}'), "t.json", "row 4", "column 'a'")
add("JSON with half a surrogate pair", _with(4, '{"a": 1, "kind": "\\ud800"}'), "t.json", "row 4", "column 'kind'")
add("JSON label that is null", _with(4, '{"a": 1, "kind": null}'), "t.json", "row 4", "column 'kind'")
add("JSON nested 100,000 deep", _with(4, '{"a": ' + "[" * 100_000), "t.json", "row 4")
add("JSON integer of 5,000 digits", _with(4, '{"a": ' + "9" * 5000 + ', "kind": "x"}'), "t.json", "row 4")
add("JSON with more after its end", _json(json.dumps(OBJECTS) + "x"), "t.json", "after the array's end")
add("JSON object that never ends", _json('[{"a": 1, "kind": "' + "x" * 3_000_000), "t.json", "row 1")
add("JSON lacking a key everywhere", _json(json.dumps([{"a": 1, "knid": "x"}] * 40)), "t.json", "'kind'")
add("JSON lines with a blank line", _with(4, "", lines=True), "t.jsonl", "row 4")
add("JSON lines with an array", _with(4, "[1, 2]", lines=True), "t.jsonl", "row 4")
add("JSON lines cut off", _with(40, '{"a": 1, "ki', lines=True), "t.jsonl", "row 40")
add("JSON lines in Latin-1", _json('{"a": 1, "kind": "\xe9"}\n'.encode("latin-1") * 40, "t.jsonl"), "t.jsonl", "line 1")

# -- Parquet -------------------------------------------------------------------------------------------------------


def _parquet_bytes(**columns: Any) -> bytes:
    table = pa.table({"a": [row["a"] for row in OBJECTS], "kind": [row["kind"] for row in OBJECTS]} | columns)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    return sink.getvalue()


def _parquet(content: Callable[[], bytes], columns: str = COLUMNS) -> Make:
    def make(folder: Path) -> str:
        put(folder / "t.parquet", content())
        return f'source = "t.parquet"\n{columns}'

    return make


def _flipped() -> bytes:
    """A page's header destroyed."""
    content = bytearray(_parquet_bytes())
    content[4:24] = b"\xff" * 20
    return bytes(content)


def _long_footer() -> bytes:
    return _parquet_bytes()[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1"


def _no_utf8() -> bytes:
    texts = pa.Array.from_buffers(
        pa.string(), 40, [None, pa.py_buffer(struct.pack("<41i", *range(41))), pa.py_buffer(b"\xff" * 40)]
    )
    return _parquet_bytes(kind=texts)


def _twice() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1.0] * 40)] * 3, names=["a", "a", "kind"]), sink)
    return sink.getvalue()


add("Parquet cut off", _parquet(lambda: _parquet_bytes()[:-40]), "t.parquet")
add("Parquet cut in the middle", _parquet(lambda: _parquet_bytes()[:200]), "t.parquet")
add("Parquet of its magic alone", _parquet(lambda: b"PAR1"), "t.parquet")
add("Parquet without a byte", _parquet(lambda: b""), "t.parquet")
add("Parquet that is a CSV", _parquet(lambda: csv_rows().encode()), "t.parquet")
add("Parquet with a footer of 2 GB", _parquet(_long_footer), "t.parquet")
add("Parquet with a destroyed page", _parquet(_flipped), "t.parquet")
add("Parquet texts that are no UTF-8", _parquet(_no_utf8), "t.parquet")
add("Parquet with a column twice", _parquet(_twice), "t.parquet", "'a'")
add("Parquet with a nested column", _parquet(lambda: _parquet_bytes(a=[[1.0]] * 40)), "t.parquet", "column 'a'")
add("Parquet with a column of bytes", _parquet(lambda: _parquet_bytes(a=[b"x"] * 40)), "t.parquet", "column 'a'")
add("Parquet with text for numbers", _parquet(lambda: _parquet_bytes(a=["u"] * 40)), "t.parquet", "row 1", "column 'a'")
add("Parquet with NaN labels", _parquet(lambda: _parquet_bytes(kind=[float("nan")] * 40)), "row 1", "column 'kind'")
add(
    "Parquet of no row",
    _parquet(lambda: _parquet_bytes(a=pa.array([], pa.float64()), kind=pa.array([], pa.string()))),
    "t.parquet",
    "no rows",
)
add(
    "Parquet lacking a column",
    _parquet(_parquet_bytes, f'{COLUMNS}b = {{ type = "number" }}\n'),
    "t.parquet",
    "'b'",
)
