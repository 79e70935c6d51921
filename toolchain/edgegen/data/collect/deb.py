"""Data out of a Debian package, without root: downloaded by apt, which checks it, and unpacked by hand, part by part.

Nothing of the package is run, and only what lies below the wanted path is written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from edgegen.core.errors import ToolMissingError, UsageError
from edgegen.core.ports import Progress

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9][A-Za-z0-9.+~:-]*)?")  # as Debian's policy spells them
_WHERE = "[data.collect] deb"
_TOOLS = ("apt-get", "dpkg-deb")
_TIMEOUT_S = 600
_MOST_MEMBERS = 500_000
_MOST_BYTES = 2 * 1024**3
_CHUNK_BYTES = 1 << 16


@contextmanager
def fetched(package: str, wanted: str, scratch: Path, progress: Progress, *, offline: bool = False) -> Iterator[Path]:
    """The file or folder ``wanted`` of a package, unpacked below ``scratch`` for the length of the block.

    Args:
        package: name of a Debian package, or ``name=version``.
        wanted: path inside the package, e.g. ``usr/share/sounds``.
        offline: nothing may be downloaded.

    Raises:
        UsageError: no such path in the package, a name that is none, or a package that is not fit to be unpacked.
        ToolMissingError: no apt, no network, no package of that name, or downloads are forbidden.
    """
    if not _PACKAGE.fullmatch(package):
        raise UsageError("no name of a Debian package", where=_WHERE, got=package, expected="a name, or name=version")
    path = _inner_path(wanted)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="deb-") as name:
        deb = _download(package, Path(name), progress, offline=offline)
        yield unpack(deb, path, Path(name) / "content")


def unpack(deb: Path, wanted: PurePosixPath, folder: Path) -> Path:
    """Writes what lies at ``wanted`` into ``folder`` and returns its path there; modes and owners are not kept.

    Raises:
        UsageError: nothing lies there, a link leads out of it, or the package is damaged or too large.
    """
    unpacker = _Unpacker(deb, wanted, folder)
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                unpacker.take_all(archive)
            while process.stdout.read(_CHUNK_BYTES):  # what pads the archive
                pass
            status = process.wait()
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            raise UsageError("the package cannot be unpacked", where=deb.name, got=error) from error
        finally:
            process.kill()
    if status != 0:
        raise UsageError("the package cannot be unpacked", where=deb.name, got=f"dpkg-deb status {status}")
    return unpacker.finish()


def _inner_path(wanted: str) -> PurePosixPath:
    path = PurePosixPath(wanted.lstrip("/"))
    if not path.parts or ".." in path.parts or "\0" in wanted:
        raise UsageError(
            "no path inside a package", where="[data] source", got=wanted, expected="a path such as usr/share/sounds"
        )
    return path


def _download(package: str, folder: Path, progress: Progress, *, offline: bool) -> Path:
    if offline:
        raise ToolMissingError(
            "the data are in a Debian package, and --offline forbids to download it",
            where=f"{_WHERE} = {package!r}",
            next_step="drop --offline; with [data.collect] sha256 set, one download serves until the cache is cleared",
        )
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolMissingError(
            "this machine cannot fetch Debian packages",
            where=f"{_WHERE} = {package!r}",
            got=f"no {' and no '.join(missing)}",
            next_step="fetch and unpack the package elsewhere, and name the files with [data] source",
        )
    progress.say(f"downloading the package {package}")
    try:
        done = subprocess.run(
            ["apt-get", "-q", "download", "--", package],
            cwd=folder,
            env=dict(os.environ) | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _not_fetched(package, f"no end after {_TIMEOUT_S} s") from error
    found = list(folder.glob("*.deb"))
    if done.returncode != 0 or len(found) != 1:
        complaints = [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith("E:")]
        raise _not_fetched(package, " ".join(complaints) or f"apt-get status {done.returncode}")
    progress.say(f"downloaded {found[0].name}, {found[0].stat().st_size} bytes")
    return found[0]


def _not_fetched(package: str, got: str) -> ToolMissingError:
    return ToolMissingError(
        "the Debian package cannot be downloaded",
        where=f"{_WHERE} = {package!r}",
        got=got,
        next_step="check the name with `apt-cache policy NAME`, and that `apt-get update` works",
    )


class _Unpacker:
    """Takes members as they come. Links are made last, so that nothing is ever written through one."""

    def __init__(self, deb: Path, wanted: PurePosixPath, folder: Path) -> None:
        self._deb = deb.name
        self._wanted = wanted
        self._folder = folder
        self._target = folder / wanted.name
        self._links: list[tuple[Path, str]] = []
        self._names: set[PurePosixPath] = set()
        self._bytes = 0

    def take_all(self, archive: tarfile.TarFile) -> None:
        self._folder.mkdir()
        for member in archive:
            name = PurePosixPath(member.name)
            self._names.add(name)
            if len(self._names) > _MOST_MEMBERS:
                raise self._refusal("the package holds too many files", f"over {_MOST_MEMBERS}")
            if name == self._wanted or self._wanted in name.parents:
                self._take(archive, member, self._place(member.name))

    def finish(self) -> Path:
        try:
            for path, target in self._links:
                path.symlink_to(target)
        except (OSError, ValueError) as error:
            raise self._refusal("a link cannot be made", str(error)) from error
        for path, target in self._links:
            if not self._leads_inside(path):
                raise self._refusal(f"a link leads out of {self._wanted}", f"{self._shown(path)} -> {target}")
        if not self._target.exists():
            raise UsageError(
                "the package holds no such path",
                where=f"{self._deb}, [data] source",
                got=str(self._wanted),
                expected=self._nearby(),
            )
        return self._target

    def _leads_inside(self, link: Path) -> bool:
        """Whether a link ends at a file or folder of ours."""
        try:
            end = link.resolve(strict=True)
        except (OSError, RuntimeError):  # leads nowhere, or in a ring
            return False
        return not self._target.is_symlink() and end.is_relative_to(self._target.resolve())

    def _place(self, name: str) -> Path:
        """Where a member goes; also what a hard link's target is looked up by."""
        path = PurePosixPath(name)
        if (path != self._wanted and self._wanted not in path.parents) or ".." in path.parts:
            raise self._refusal(f"a link leads out of {self._wanted}", name)
        return self._target / path.relative_to(self._wanted)

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            self._links.append((target, member.linkname))
        elif member.islnk():
            target.hardlink_to(self._place(PurePosixPath(member.linkname).as_posix()))
        elif member.isfile():
            self._write(archive, member, target)
        else:
            raise self._refusal("the package holds a device or a pipe", member.name)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        self._bytes += member.size
        content = archive.extractfile(member)
        if self._bytes > _MOST_BYTES or content is None:
            raise self._refusal("the package holds too much", f"over {_MOST_BYTES} bytes below {self._wanted}")
        with target.open("xb") as stream:
            shutil.copyfileobj(content, stream)

    def _nearby(self) -> str:
        """What lies in the nearest folder that is there."""
        parent = next((folder for folder in self._wanted.parents if folder in self._names), PurePosixPath("."))
        names = sorted(str(name) for name in self._names if name.parent == parent and name != parent)
        return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") or "a package that is not empty"

    def _shown(self, path: Path) -> str:
        return str(self._wanted / path.relative_to(self._target).as_posix())

    def _refusal(self, what: str, got: str) -> UsageError:
        return UsageError(what, where=self._deb, got=got, next_step="name another path with [data] source")
