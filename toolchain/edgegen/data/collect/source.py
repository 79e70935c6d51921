"""What ``[data]`` names: its kind, its digest, and the collector that reads it.

Naming a source and taking its digest load no numpy: a rebuild that changes nothing does only that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.data.manifest import SetManifest
from edgegen.data.settings import DataSettings
from edgegen.data.shipped import DEFAULT_SET, verified_set

COLLECTORS = {
    "npz": "edgegen.data.collect.arrays:collect",
    "images": "edgegen.data.collect.images:collect",
    "csv": "edgegen.data.collect.delimited:collect",
    "json": "edgegen.data.collect.json:collect",
    "jsonl": "edgegen.data.collect.json:collect",
    "parquet": "edgegen.data.collect.parquet:collect",
    "sql": "edgegen.data.collect.sql:collect",
    "wav": "edgegen.data.collect.wav:collect",
    "text": "edgegen.data.collect.text:collect",
}
"""Kind -> its collector: ``collect(source, settings, folder, progress) -> Collected``, writing a carrier's files."""

_ENDINGS = {
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".gz": "text",
}
_PACKED = ("csv", "json", "jsonl")  # these may be packed by gzip, as name.csv.gz


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source that exists. ``path`` is None for a database server, which only ``url`` names."""

    kind: str
    name: str
    path: Path | None
    url: str | None
    origin: str
    licence: str
    licence_doubt: str
    synthetic: bool
    manifest: SetManifest | None  # of a shipped set


def find_source(settings: DataSettings, folder: Path) -> Source:
    """The source that ``[data]`` names; ``folder`` is the project's.

    Raises:
        UsageError: unknown set, a file that is missing, or no origin or licence.
        IntegrityError: a shipped file is not the one that its manifest names.
    """
    if settings.source is None:
        return _shipped(settings)
    if settings.set is not None:
        raise UsageError("[data] names both 'set' and 'source'", where="[data]", next_step="remove one of them")
    for key in ("origin", "licence"):
        if not (getattr(settings, key) or "").strip():
            raise UsageError(
                f"[data] source needs {key!r}",
                where="[data]",
                expected="one line that is carried into the bundle",
                next_step=f'add {key} = "..."',
            )
    url = settings.source if "://" in settings.source else None
    path = folder / settings.source if url is None else sqlite_path(url, folder)
    if path is not None and settings.collect.deb is None and not path.exists():
        raise UsageError("the data file is missing", where="[data] source", got=settings.source)
    return Source(
        kind=settings.kind or _kind(settings.source, path if url is None else None),
        name=Path(settings.source.removesuffix(".gz")).stem if url is None else "database",
        path=path,
        url=url,
        origin=settings.origin or "",
        licence=settings.licence or "",
        licence_doubt="",
        synthetic=settings.synthetic,
        manifest=None,
    )


def source_digest(source: Source, settings: DataSettings) -> str | None:
    """Digest of the source and of how it is read, for stage keys; None where only reading it tells."""
    if source.path is None or (settings.collect.deb is not None and settings.collect.sha256 is None):
        return None
    if settings.collect.deb is not None:
        content = settings.collect.sha256
    else:
        content = content_digest(source.path)
    if source.url is not None:
        content = sha256_json([content, _write_ahead_digest(source.path)])
    manifest = None if source.manifest is None else write_record(source.manifest)
    return sha256_json({"content": content, "name": source.name, "manifest": manifest})


def collect(
    settings: DataSettings, project: Path, folder: Path, progress: Progress, *, offline: bool = False
) -> Mapping[str, Any]:
    """Reads the source into ``folder`` as a carrier; returns ``Collected`` as a plain record.

    Raises:
        UsageError: whatever is wrong with the source, naming file and row, column or sample.
        IntegrityError: the source has not the digest that ``[data.collect] sha256`` names.
        ToolMissingError: the library that reads it is not installed, or a database or package cannot be reached.
    """
    source = find_source(settings, project)
    deb = settings.collect.deb
    with ExitStack() as stack:
        if deb is not None:
            from edgegen.data.collect.deb import fetched

            if settings.source is None or source.path is None:
                raise UsageError("'deb' needs a path inside the package", where="[data] source", got=settings.source)
            path = stack.enter_context(fetched(deb, settings.source, folder.parent, progress, offline=offline))
            source = replace(source, path=path)
        if source.path is None and source.kind != "sql":
            raise UsageError("a source of this kind is a file or a folder", where="[data] source", got="a URL")
        _check_content(source, settings)
        collected = load(COLLECTORS[source.kind], extra="data")(source, settings, folder, progress)
    return write_record(collected if deb is None else replace(collected, source=f"{deb}: {settings.source}"))


def _check_content(source: Source, settings: DataSettings) -> None:
    expected = settings.collect.sha256
    if expected is None:
        return
    if source.path is None:
        raise UsageError("the content of a database has no digest", where="[data.collect] sha256")
    found = content_digest(source.path)
    if found != expected:
        raise IntegrityError(
            "the source does not hold what it should",
            where=settings.source,
            got=found,
            expected=f"{expected}, as [data.collect] sha256 says",
            next_step="look at what has changed; if it is right, name the new digest",
        )


def _shipped(settings: DataSettings) -> Source:
    if settings.origin is not None or settings.licence is not None:
        raise UsageError("'origin' and 'licence' belong to 'source'", where="[data]", next_step="name 'source' too")
    manifest, path = verified_set(settings.set or DEFAULT_SET)
    return Source(
        kind=settings.kind or _kind(manifest.file, path),
        name=manifest.name,
        path=path,
        url=None,
        origin=manifest.origin,
        licence=manifest.licence,
        licence_doubt=manifest.licence_doubt,
        synthetic=manifest.synthetic,
        manifest=manifest,
    )


def sqlite_path(url: str, folder: Path) -> Path | None:
    """The file of an SQLite URL, from the project's folder; None for a database server."""
    prefix = "sqlite:///"
    if not url.startswith("sqlite"):
        return None
    if not url.startswith(prefix) or url == prefix:
        raise UsageError("the SQLite URL names no file", where="[data] source", expected=f"{prefix}file.db")
    return folder / url.removeprefix(prefix)


def _write_ahead_digest(path: Path) -> str | None:
    """Digest of what SQLite has committed but not yet moved into the file itself."""
    log = path.with_name(f"{path.name}-wal")
    return sha256_file(log) if log.is_file() and log.stat().st_size else None


def _kind(name: str, path: Path | None) -> str:
    if path is None:
        return "sql"
    packed = path.suffix.lower() == ".gz" and _ENDINGS.get(Path(path.stem).suffix.lower()) in _PACKED
    kind = _ENDINGS.get((Path(path.stem) if packed else path).suffix.lower())
    if kind is None:
        raise UsageError(
            "what the source is cannot be told from its name",
            where="[data] source",
            got=name,
            expected=f"a name that ends in {', '.join(_ENDINGS)}",
            next_step=f"name it with [data] kind, one of {', '.join(COLLECTORS)}",
        )
    return kind


def content_digest(path: Path) -> str:
    """Digest of a file, or of a folder as ``tree_digest`` takes it."""
    try:
        return sha256_file(path) if path.is_file() else tree_digest(path)
    except OSError as error:
        raise UsageError("the source cannot be read", where=str(path), got=error.strerror) from error


def tree_digest(folder: Path) -> str:
    """Digest of names and contents of all files below a folder; links that lead out of it are refused."""
    root = folder.resolve()
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            if not path.resolve().is_relative_to(root):
                raise UsageError(
                    "a link leads out of the data folder", where=str(path), next_step="copy the file into the folder"
                )
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():  # false for bytes that are no UTF-8, too
                raise UsageError("a name holds characters that cannot be shown", where=ascii(str(path)))
            found[name] = sha256_file(path)
    return sha256_json(found)
