"""Tables of a database: one SELECT, or one table read whole, streamed in a read-only transaction."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.ports import Progress
from edgegen.data.collect.chunks import MOST_COLUMNS, Chunk, RowBuffer
from edgegen.data.collect.source import Source
from edgegen.data.collect.table import collect_rows
from edgegen.data.collected import Collected
from edgegen.data.database import opened, shown
from edgegen.data.declared import check_present
from edgegen.data.settings import CollectSettings, DataSettings

_ROWS_PER_FETCH = 500
_LITERALS = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$""", re.VERBOSE | re.DOTALL
)
_CHANGING = re.compile(r"\b(insert|update|delete|merge|into)\b", re.IGNORECASE)


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """The declared columns of ``[data.collect] query`` or ``table`` as rows.

    A table's rows come in the order of its primary key, or of all kept columns where it has none. A query's rows come
    in the query's own order: only an ORDER BY over unique values makes it the same every time.

    Raises:
        UsageError: not exactly one of both, a query that is more than one SELECT, what the database refuses, or a cell
            that is not as declared.
        ToolMissingError: the driver is missing, or the database cannot be reached.
    """
    return collect_rows(read, source, settings, folder, progress, where=_where(source, settings.collect))


def read(source: Source, settings: DataSettings, names: Sequence[str] | None, progress: Progress) -> Iterator[Chunk]:
    """Chunks of the driver's own Python objects."""
    where = _where(source, settings.collect)
    query = None if settings.collect.query is None else single_select(settings.collect.query)
    assert source.url is not None
    with opened(source.url, source.path, read_only=True) as connection:
        progress.say(f"reading {where}")
        if query is None:
            statement = _whole_table(connection, settings, names, where)
            result = _streaming(connection).execute(statement)
        else:
            # Without parameters the driver leaves percent signs and colons of the query alone.
            result = _streaming(connection).execution_options(no_parameters=True).exec_driver_sql(query)
        yield from _chunks(result, names, where, settings.collect.most_rows)


def _streaming(connection: sa.Connection) -> sa.Connection:
    """The connection with a cursor on the server's side: no result is ever held whole."""
    return connection.execution_options(stream_results=True, yield_per=_ROWS_PER_FETCH)


def _chunks(result: sa.CursorResult[Any], names: Sequence[str] | None, where: str, most_rows: int) -> Iterator[Chunk]:
    found = list(result.keys())
    name, times = Counter(found).most_common(1)[0]
    if times > 1 or len(found) > MOST_COLUMNS:
        raise UsageError(
            "the query's columns cannot be told apart" if times > 1 else "too many columns",
            where=where,
            got=f"{name!r}, {times} times" if times > 1 else len(found),
            expected=f"at most {MOST_COLUMNS} columns, each with a name of its own",
        )
    kept = found if names is None else list(names)
    check_present(kept, found, where)
    positions = [found.index(name) for name in kept]
    buffer = RowBuffer(kept, object)
    for number, row in enumerate(result, start=1):
        if number > most_rows:
            raise UsageError(
                "the result has too many rows",
                where=where,
                got=f"over {most_rows}",
                expected="as many as [data.collect] most_rows says, or fewer",
                next_step="look whether the query ends, or raise most_rows",
            )
        cells = [row[position] for position in positions]
        if buffer.add(cells, sum(len(cell) for cell in cells if isinstance(cell, (str, bytes)))):
            yield buffer.take()
    if len(buffer):
        yield buffer.take()


def _where(source: Source, collect: CollectSettings) -> str:
    if source.url is None:
        raise UsageError(
            "a source of kind 'sql' is a URL", where="[data] source", got="a path", expected="sqlite:///file.db"
        )
    if (collect.query is None) == (collect.table is None):
        raise UsageError(
            "a database is read by a query or a table",
            where="[data.collect]",
            got="both" if collect.query is not None else "neither",
            expected="one of 'query' and 'table'",
        )
    part = "query" if collect.table is None else f"table {collect.table!r}"
    return f"{shown(source.url, source.path)}, {part}"


def single_select(query: str) -> str:
    """The query without its final semicolon, if it is one statement that reads.

    A semicolon is refused wherever it stands, also in a text: so no reading of quotes can hide a second statement.

    Raises:
        UsageError: anything but one SELECT or WITH ... SELECT.
    """
    text = query.strip().removesuffix(";").rstrip()
    bare = _LITERALS.sub(" ", text)
    changing = _CHANGING.search(bare)
    reason = None
    if "\0" in text:
        reason = "a NUL stands in it"
    elif ";" in text:
        reason = "a semicolon stands in it; chr(59) or char(59) spells one in a text"
    elif not re.match(r"\s*(select|with)\b", bare, re.IGNORECASE):
        reason = f"it begins with {(bare.split() or ['nothing'])[0][:20]!r}"
    elif changing:
        reason = f"{changing.group().upper()} stands in it; quote it if it is a column's name"
    if reason is not None:
        raise UsageError(
            "the query is not one SELECT",
            where="[data.collect] query",
            got=reason,
            expected="one statement that begins with SELECT or WITH and only reads",
        )
    return text


def _whole_table(
    connection: sa.Connection, settings: DataSettings, names: Sequence[str] | None, where: str
) -> sa.Select[Any]:
    """A SELECT of the named columns in an order that the table's content decides."""
    schema, name = _found_table(sa.inspect(connection), str(settings.collect.table), where)
    inspector = sa.inspect(connection)
    found = [column["name"] for column in inspector.get_columns(name, schema)]
    kept = found if names is None else list(names)
    check_present(kept, found, where)
    order = inspector.get_pk_constraint(name, schema)["constrained_columns"] or kept
    table = sa.table(name, *(sa.column(column) for column in found), schema=schema)
    return sa.select(*(table.c[column] for column in kept)).order_by(*(table.c[column] for column in order))


def _found_table(inspector: sa.Inspector, declared: str, where: str) -> tuple[str | None, str]:
    """The table's schema and name; a name with a dot may be either one name or both."""
    known = inspector.get_table_names()
    if declared in known:
        return None, declared
    schema, _, name = declared.partition(".")
    if name and schema in inspector.get_schema_names() and name in inspector.get_table_names(schema):
        return schema, name
    raise UsageError(
        "the database has no such table",
        where=where,
        expected=f"one of {', '.join(map(repr, known[:12])) or 'no table at all'}{nearest(declared, known)}",
        next_step="a view is read with [data.collect] query",
    )
