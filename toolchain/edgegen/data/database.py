"""Databases by URL: SQLite files and PostgreSQL servers, read in read-only transactions, never with a written password.

A password comes from the environment (PGPASSWORD) or from PostgreSQL's own password file; one in a URL is refused
and never shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from edgegen.core.errors import ToolMissingError, UsageError

_LONGEST_VALUE_BYTES = 16 * 1024**2
_CONNECT_SECONDS = 10
_OPTIONS = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "service")
_EXPECTED = "sqlite:///file.db or postgresql+psycopg://user@host:5432/database"


@contextmanager
def opened(url: str, file: Path | None, *, read_only: bool) -> Iterator[sa.Connection]:
    """A connection in one transaction, which is committed when the block ends without an error and may write.

    Args:
        file: the file of an SQLite database; None for a server.
        read_only: the database itself refuses every change.

    Raises:
        UsageError: an unusable URL or one with a password, a damaged file, or a statement that the database refuses.
        ToolMissingError: the driver is missing, or the server cannot be reached or goes away.
    """
    where = shown(url, file)
    engine = _server(_checked(url), read_only) if file is None else _file(file, read_only)
    try:
        with engine.connect() if file is not None else _reached(engine, where) as connection:
            transaction = connection.begin()
            yield connection
            if read_only:
                transaction.rollback()  # some of a server's functions have effects even in a read-only transaction
            else:
                transaction.commit()
    except (DBAPIError, UnicodeDecodeError) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise _unreachable(where, error) from error
        raise UsageError("the database refuses", where=where, got=_reason(error)) from error
    except SQLAlchemyError as error:
        raise UsageError("the database cannot be used so", where=where, got=_reason(error)) from error
    finally:
        engine.dispose()


def shown(url: str, file: Path | None) -> str:
    """The database as a person would find it: without user and password."""
    if file is not None:
        return str(file)
    parts = _checked(url)
    return sa.URL.create("postgresql", None, None, parts.host, parts.port, parts.database).render_as_string()


def _checked(url: str) -> sa.URL:
    """The URL's parts. Its text is never shown: it may hold a password."""
    try:
        parts = sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        raise UsageError("the database's URL cannot be read", where="[data] source", expected=_EXPECTED) from error
    if parts.password is not None or any("password" in key for key in parts.query):
        raise UsageError(
            "the database's URL holds a password",
            where="[data] source",
            expected="a URL without one: a project file is shared and kept",
            next_step="set PGPASSWORD in the environment, or write a password file (~/.pgpass)",
        )
    if parts.drivername not in ("postgresql", "postgresql+psycopg"):
        raise UsageError("unusable kind of database", where="[data] source", got=parts.drivername, expected=_EXPECTED)
    unknown = sorted(set(parts.query) - set(_OPTIONS))
    if unknown:
        raise UsageError(
            "unusable option in the database's URL",
            where="[data] source",
            got=", ".join(map(repr, unknown)),
            expected=f"one of {', '.join(_OPTIONS)}",
        )
    return parts.set(drivername="postgresql+psycopg")


def _server(url: sa.URL, read_only: bool) -> sa.Engine:
    # The session's zone would else be the server's, and with it how a time without one is spelt.
    session = f"-c timezone=UTC -c default_transaction_read_only={'on' if read_only else 'off'}"
    arguments = {"connect_timeout": _CONNECT_SECONDS, "options": session, "client_encoding": "utf8"}
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            f"the library {error.name!r} is not installed", where="PostgreSQL", next_step="pip install 'edgegen[data]'"
        ) from error
    return engine.execution_options(postgresql_readonly=True) if read_only else engine


def _reached(engine: sa.Engine, where: str) -> sa.Connection:
    try:
        return engine.connect()
    except SQLAlchemyError as error:
        raise _unreachable(where, error) from error


def _unreachable(where: str, error: SQLAlchemyError) -> ToolMissingError:
    return ToolMissingError(
        "the database cannot be reached",
        where=where,
        got=_reason(error),
        next_step="start the server or correct [data] source; a password goes into PGPASSWORD or ~/.pgpass",
    )


def _file(path: Path, read_only: bool) -> sa.Engine:
    if path.exists() and not path.is_file():
        raise UsageError("not a regular file", where=str(path), expected="an SQLite database")
    mode = "ro" if read_only else "rwc"

    def connect() -> sqlite3.Connection:
        # Without an isolation level the driver opens no transactions of its own; SQLAlchemy's event below does.
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> Any:
    connection.exec_driver_sql("BEGIN")


def _reason(error: Exception) -> str:
    """What the database itself says, without SQLAlchemy's words around it and without control characters."""
    text = str(getattr(error, "orig", None) or error)
    return "".join(mark if mark.isprintable() or mark.isspace() else "?" for mark in text)
