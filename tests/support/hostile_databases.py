"""Queries, URLs and databases that are not what they should be."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from support.hostile_case import COLUMNS, OBJECTS, Cases, Make
from support.tables import put

CASES = Cases()
add = CASES.add

# -- databases -----------------------------------------------------------------------------------------------------


def _database(folder: Path, rows: list[tuple[Any, ...]] | None = None) -> None:
    with sqlite3.connect(folder / "t.db") as connection:
        connection.execute("CREATE TABLE t (a, kind TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows or [(row["a"], row["kind"]) for row in OBJECTS])
    connection.close()


def _sql(collect: str, *, url: str = "sqlite:///t.db", rows: list[tuple[Any, ...]] | None = None) -> Make:
    def make(folder: Path) -> str:
        _database(folder, rows)
        return f"source = '{url}'\n[data.collect]\n{collect}\n{COLUMNS}"

    return make


def _query(query: str, *says: str) -> None:
    add(f"SQL: {query[:50] or 'nothing'}", _sql(f"query = {json.dumps(query)}"), "[data.collect] query", *says)


_query("", "nothing")
_query("hello", "hello")
_query("DROP TABLE t", "DROP")
_query("SELECT * FROM t; DROP TABLE t", "semicolon")
_query("WITH c AS (SELECT 1) INSERT INTO t SELECT 1, 2", "INSERT")
_query("PRAGMA writable_schema = 1", "PRAGMA")
_query("ATTACH 'other.db' AS other", "ATTACH")
_query("SELECT a FROM t -- \0", "NUL")
for _name, _text, *_says in (
    ("syntax error", "SELECT FROM WHERE", "syntax"),
    ("table that is not there", "SELECT * FROM nowhere", "nowhere"),
    ("column that is not there", "SELECT b FROM t", "no such column: b"),
    ("library to load", "SELECT load_extension('evil')", "not authorized"),
    ("value of a gigabyte", "SELECT zeroblob(1000000000) AS a, 'x' AS kind", "too big"),
    ("column twice", "SELECT a, a AS a, kind FROM t", "'a'"),
    ("no row", "SELECT a, kind FROM t WHERE a > 1000", "no rows"),
    ("no needed column", "SELECT a FROM t", "'kind'"),
):
    add(f"SQL with a {_name}", _sql(f"query = {json.dumps(_text)}"), "t.db", *_says)
_ENDLESS = "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n) SELECT a, 'x' AS kind FROM n"
add(
    "SQL of rows without end",
    _sql(f"query = {json.dumps(_ENDLESS)}\nmost_rows = 20000"),
    "t.db",
    "too many rows",
    "over 20000",
)
add("SQL of a table and a query", _sql('query = "SELECT 1"\ntable = "t"'), "[data.collect]", "both")
add("SQL of neither", _sql("side = 28"), "[data.collect]", "neither")
add("SQL table that is not there", _sql('table = "u"'), "t.db", "'t'")
add(
    "SQL text among numbers",
    _sql('query = "SELECT * FROM t ORDER BY rowid"', rows=[(1, "x"), ("one", "y")]),
    "t.db",
    "row 2",
    "column 'a'",
)
add(
    "SQL bytes among texts",
    _sql('query = "SELECT * FROM t ORDER BY rowid"', rows=[(1, "x"), (2, b"\xff")]),
    "t.db",
    "row 2",
    "column 'kind'",
)
add("URL with a password", _sql('table = "t"', url="postgresql://me:secret@127.0.0.1/x"), "[data] source", "password")
add("URL of an unknown database", _sql('table = "t"', url="mysql://me@127.0.0.1/x"), "[data] source", "mysql")
add("URL of no database", _sql('table = "t"', url="sqlite:///"), "[data] source", "names no file")
add("URL of a database that is not there", _sql('table = "t"', url="sqlite:///u.db"), "u.db")
add("URL to the web", _sql('table = "t"', url="https://example.org/t.csv"), "[data] source")
add(
    "database that is text",
    lambda folder: (
        put(folder / "t.db", "hello " * 400) and f'source = "sqlite:///t.db"\n[data.collect]\ntable = "t"\n{COLUMNS}'
    ),
    "t.db",
)


def _torn_database(folder: Path) -> str:
    _database(folder, [(1.5, "x" * 400)] * 400)
    content = (folder / "t.db").read_bytes()
    put(folder / "t.db", content[:4096] + b"\xff" * 8192 + content[12288:20000])
    return f'source = "sqlite:///t.db"\n[data.collect]\ntable = "t"\n{COLUMNS}'


add("database that is torn", _torn_database, "t.db")
