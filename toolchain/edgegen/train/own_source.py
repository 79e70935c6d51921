"""The source of a person's own torch module: found in the project's folder, digested, and imported.

Only what a project file of this process names is ever imported: a model's record on disk may come from a stranger, and
a name in it runs nothing that the project itself does not name. Nothing is unpickled.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import BuildError, EdgegenError, UsageError

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
_MOST_FILES = 500
_MOST_BYTES = 1 << 20  # of one file
_WHERE = "[model] module"

_KNOWN: dict[tuple[str, str | None], Source] = {}
"""What project files named in this process, by name and digest; None as the digest: the latest of that name."""

_FOLDERS: set[Path] = set()
"""Where all of them lie."""

_CLASSES: dict[tuple[Path, str, str], type] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A class in files of a project's folder."""

    folder: Path
    name: str  # "package.module:Class"
    files: Mapping[str, Path]  # dotted name -> file: the module, and what it imports from the folder
    digest: str

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.name.partition(":")[0]


def find_source(name: str, folder: Path) -> Source:
    """The files behind ``"package.module:Class"``, read but not run.

    What counts is every file of the folder that the module imports, directly or not, by an ``import`` that stands in
    the text; installed libraries count by the versions that name the stage.

    Raises:
        UsageError: the name is none, or a file is missing, too large, or no Python.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(
            "not the name of a class", where=_WHERE, got=name, expected="package.module:Class, e.g. mymodel:Net"
        )
    folder = folder.resolve()
    first = _file_of(match[1], folder)
    if first is None:
        raise UsageError(
            "the module is not in the project's folder",
            where=_WHERE,
            got=name,
            expected=f"{match[1].replace('.', '/')}.py in {folder}",
            next_step="put the file there; a class of an installed library is taken by importing it in that file",
        )
    files = {match[1]: first}
    waiting = [match[1]]
    while waiting:
        for found in _imported(waiting.pop(), files, folder):
            path = _file_of(found, folder)
            if path is not None and found not in files:
                files[found] = path
                waiting.append(found)
        if len(files) > _MOST_FILES:
            raise UsageError(
                "the module imports too many files of the project", where=_WHERE, expected=f"at most {_MOST_FILES}"
            )
    digest = sha256_json({module: sha256_file(path) for module, path in files.items()})
    return Source(folder=folder, name=name, files=files, digest=digest)


def remember(source: Source) -> None:
    """Lets models of this source be built in this process."""
    _KNOWN[source.name, source.digest] = _KNOWN[source.name, None] = source
    _FOLDERS.add(source.folder)


def recall(name: str, digest: str | None) -> Source:
    """The source of that name and digest, else the latest of that name: weights that do not fit it are refused later.

    Raises:
        UsageError: no project file of this process names it.
    """
    found = _KNOWN.get((name, digest)) or _KNOWN.get((name, None))
    if found is None:
        raise UsageError(
            "the model is built by code that this project does not name",
            where=_WHERE,
            got=name,
            expected="the project's own [model] module",
            next_step="only open models of code that you trust, from the project that holds it",
        )
    return found


def import_class(source: Source) -> type:
    """The class, imported from exactly the files that were digested.

    The project's folder stands at the end of ``sys.path`` while it is imported, and no longer: a file in it can hide
    no library, and no library may hide a file of it.

    Raises:
        UsageError: the import fails, there is no such class, or another module has the name of one of the files.
    """
    key = (source.folder, source.name, source.digest)
    if key not in _CLASSES:
        _make_way(source)
        with foreign("the module cannot be imported", _WHERE, source.folder), _importable(source.folder):
            module = importlib.import_module(source.module)
        _check_files(source)
        found = getattr(module, source.name.partition(":")[2], None)
        if not isinstance(found, type):
            raise UsageError(
                "the module has no such class",
                where=_WHERE,
                got=source.name,
                expected=f"a class in {source.files[source.module]}",
            )
        _CLASSES[key] = found
    return _CLASSES[key]


class foreign:  # reads as what it is in a 'with'
    """Makes whatever a person's own code raises one paragraph that names its file and line.

    Such code may raise anything, so anything is taken; edgegen's own errors pass.
    """

    def __init__(self, what: str, where: str, folder: Path, error: type[EdgegenError] = UsageError) -> None:
        self._what, self._where, self._folder, self._error = what, where, folder, error

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, EdgegenError) or not isinstance(error, Exception | SystemExit):
            return
        lines = [frame for frame in traceback.extract_tb(trace) if Path(frame.filename).is_relative_to(self._folder)]
        place = f"{Path(lines[-1].filename).relative_to(self._folder)}, line {lines[-1].lineno}" if lines else None
        raise self._error(
            self._what,
            where=f"{self._where}: {place}" if place else self._where,
            got=f"{type(error).__name__}: {error}",
            next_step="correct it there" if place else "see the contract in docs/own-module.md",
        ) from error


def broken(what: str, folder: Path) -> foreign:
    """The same for code that fails while it trains: not a mistake of the project file but a build that failed."""
    return foreign(what, _WHERE, folder, BuildError)


def _file_of(module: str, folder: Path) -> Path | None:
    place = folder.joinpath(*module.split("."))
    return next((path.resolve() for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _imported(module: str, files: Mapping[str, Path], folder: Path) -> Iterator[str]:
    """Dotted names that a module's text imports, and the packages that they and the module lie in."""
    path = files[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    yield from _with_packages(module)
    for node in ast.walk(_parsed(path, folder)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for name in (base, *(f"{base}.{alias.name}" for alias in node.names)):
                yield from _with_packages(name)


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        if all(parts[:length]):
            yield ".".join(parts[:length])


def _parsed(path: Path, folder: Path) -> ast.Module:
    shown = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError("the file is too large", where=shown, expected=f"at most {_MOST_BYTES} bytes")
        return ast.parse(path.read_bytes(), shown)
    except SyntaxError as error:
        raise UsageError("the file is not Python", where=f"{shown}, line {error.lineno}", got=error.msg) from error
    except (ValueError, RecursionError) as error:
        raise UsageError("the file is not Python", where=shown, got=error) from error
    except OSError as error:
        raise UsageError("the file cannot be read", where=shown, got=error.strerror) from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The folder at the end of the path; no bytecode is written into it, which could outlive the text it is of."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before


def _make_way(source: Source) -> None:
    """Forgets what earlier projects, or earlier texts of this one, imported under the same names."""
    for name in source.files:
        loaded = _loaded_from(name)
        if loaded is not None and any(loaded.is_relative_to(folder) for folder in _FOLDERS):
            del sys.modules[name]


def _check_files(source: Source) -> None:
    for name, path in source.files.items():
        loaded = _loaded_from(name)
        if name in sys.modules and loaded != path:
            raise UsageError(
                "another module of this name is in the way",
                where=_WHERE,
                got=f"{name} is {loaded or 'part of Python'}",
                expected=str(path),
                next_step="rename the file in the project's folder",
            )


def _loaded_from(name: str) -> Path | None:
    """The file that a module of this name was imported from; None where there is no such module or file."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return None if file is None else Path(file).resolve()
