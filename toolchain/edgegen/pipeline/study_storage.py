"""Where a study is kept that processes and machines share: a journal file, or a database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import StorageError, ToolMissingError
from edgegen.core.lazy import load
from edgegen.pipeline.study import storage_errors

if TYPE_CHECKING:
    from optuna import Study

_ATTEMPTS = 5  # at a database whose tables others are making


def open_study(name: str, folder: Path, storage: str, where: str, **more: Any) -> Study:
    """The study of that name, made if it is not there.

    Args:
        folder: that the path of a journal file begins in.
        storage: that path, or a database's URL.
        where: which key of the project file names it.
        more: ``optuna.create_study``'s: pruner, directions.

    Raises:
        ToolMissingError: optuna is not installed, or the storage cannot be reached.
    """
    create = load("optuna:create_study", extra="tune")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study: Study = create(study_name=name, storage=_storage(folder, storage), load_if_exists=True, **more)
        return study
    except (ImportError, ValueError) as error:  # no driver for such a database, or a file that is no journal
        raise _unreachable(error, where) from error


@contextmanager
def reached(where: str) -> Iterator[None]:
    """Around all that asks a study's storage: a database may go at any moment."""
    try:
        yield
    except storage_errors() as error:
        raise _unreachable(error, where) from error


def _storage(folder: Path, storage: str) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if "://" in storage:
        return _database(storage)
    path = folder / storage
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot write", where=str(path.parent), got=error) from error
    lock = JournalFileOpenLock(str(path))
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _database(storage: str) -> Any:
    """A database's storage; its tables are made where they are missing."""
    from optuna.storages import RDBStorage
    from sqlalchemy import make_url
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    url = make_url(storage)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    for _ in range(_ATTEMPTS - 1):
        try:
            return RDBStorage(url.render_as_string(hide_password=False))
        except (IntegrityError, ProgrammingError):
            time.sleep(1)  # another process is making the same tables at this moment
    return RDBStorage(url.render_as_string(hide_password=False))


def _unreachable(error: Exception, where: str) -> ToolMissingError:
    return ToolMissingError(
        "the study's storage cannot be reached",
        where=where,
        got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
        next_step="start the database (a password goes into PGPASSWORD or ~/.pgpass), or name a journal file",
    )
