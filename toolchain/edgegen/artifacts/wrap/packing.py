"""Archives whose bytes depend on nothing but their contents, and what a Linux device is given of a bundle.

Formats: ustar with GNU's long names, gzip (RFC 1952), the common form of ``ar``. What is compressed has equal bytes for
one version of zlib.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from edgegen.artifacts.sealed import open_plain
from edgegen.artifacts.wrap.held import Held
from edgegen.artifacts.wrap.origin import layout_files
from edgegen.core.errors import IntegrityError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive."""

    path: str  # parts joined by "/", none at the beginning
    content: bytes | Path = b""
    sha256: str = ""  # of a Path: what its bytes must be
    link_to: str = ""  # path of an earlier member that this is another name of (a hard link)
    executable: bool = False


def payload(bundle: Held, prefix: str = "") -> list[Member]:
    """What a Linux device is given: ``bundle/``, the layout of core and signatures, and ``files/``, its files by name.

    Both are the same bytes: the names in ``files/`` are hard links. ``edgegen_runtime`` checks ``bundle/``, an
    application opens ``files/``.
    """
    members = []
    for name, content in layout_files(bundle).items():
        digest = Path(name).name if isinstance(content, Path) else ""
        members.append(Member(path=f"{prefix}bundle/{name}", content=content, sha256=digest))
    for name, layer in sorted(bundle.files.items()):
        blob = f"{prefix}bundle/blobs/sha256/{layer.sha256}"
        members.append(Member(path=f"{prefix}files/{name}", link_to=blob, sha256=layer.sha256))
    return members


def write_tar(sink: IO[bytes], members: Iterable[Member], moment: int, root: str = "", *, folders: bool = True) -> None:
    """An archive of the members in their order, the folders before what is in them; all owned by root.

    Args:
        root: what every name begins with: ``./`` in a Debian package.
        folders: False: no entries for folders.

    Raises:
        IntegrityError: a file's bytes are no longer what they were.
    """
    made: set[str] = set()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if root:
            archive.addfile(_info(root, moment, folder=True))
        for member in members:
            parts = member.path.split("/")[:-1] if folders else []
            for folder in ("/".join(parts[: at + 1]) for at in range(len(parts))):
                if folder not in made:
                    made.add(folder)
                    archive.addfile(_info(root + folder, moment, folder=True))
            _add(archive, member, moment, root)


def tar_bytes(members: Iterable[Member], moment: int, root: str = "", *, folders: bool = True) -> bytes:
    """A small archive in memory, as ``write_tar`` writes it."""
    sink = io.BytesIO()
    write_tar(sink, members, moment, root, folders=folders)
    return sink.getvalue()


def gzipped(data: bytes) -> bytes:
    """One gzip member without name or time."""
    return gzip.compress(data, compresslevel=9, mtime=0)


def write_tar_gz(path: Path, members: Iterable[Member], moment: int, root: str = "") -> None:
    """``write_tar`` into a compressed file, in bounded memory."""
    with (
        path.open("wb") as sink,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=sink, mtime=0) as squeezed,
    ):
        write_tar(cast("IO[bytes]", squeezed), members, moment, root)


def write_ar(path: Path, members: Iterable[tuple[str, bytes | Path]], moment: int) -> None:
    """The common form of ``ar``, names at most 15 letters long."""
    with path.open("wb") as sink:
        sink.write(b"!<arch>\n")
        for name, content in members:
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            sink.write(f"{name:<16}{moment:<12}{0:<6}{0:<6}{0o100644:<8o}{size:<10}`\n".encode("ascii"))
            if isinstance(content, Path):
                with content.open("rb") as stream:
                    while chunk := stream.read(_CHUNK_BYTES):
                        sink.write(chunk)
            else:
                sink.write(content)
            sink.write(b"\n" if size % 2 else b"")


def _info(name: str, moment: int, *, folder: bool = False, executable: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    info.mode = 0o755 if folder or executable else 0o644
    info.uname = info.gname = "root"
    info.mtime = moment
    return info


def _add(archive: tarfile.TarFile, member: Member, moment: int, root: str) -> None:
    info = _info(root + member.path, moment, executable=member.executable)
    if member.link_to:
        info.type, info.linkname = tarfile.LNKTYPE, root + member.link_to
        archive.addfile(info)
    elif isinstance(member.content, Path):
        with open(open_plain(member.content), "rb") as stream:
            info.size = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            hashing = _Hashing(stream)
            archive.addfile(info, hashing)  # type: ignore[arg-type]
        if hashing.hasher.hexdigest() != member.sha256:
            raise IntegrityError("a file of the bundle changed while it was packed", where=member.path)
    else:
        info.size = len(member.content)
        archive.addfile(info, io.BytesIO(member.content))


class _Hashing:
    """A stream that remembers what was read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.hasher = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.hasher.update(data)
        return data
