"""Debian packages without root: downloaded through a private apt state, unpacked into a folder.

Apt itself checks the packages against the signed Release files of the machine's own sources. Nothing of the machine's
package state is read or written, and no maintainer script runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgegen.core.errors import ToolMissingError
from edgegen.devices.qemu_user.toolbox import Toolbox, run_tool

_NEXT = (
    "on Debian or Ubuntu check that `apt-get update` works; elsewhere install qemu-user and an aarch64 cross compiler "
    "with your package manager"
)
# Entries of third parties are left out: they can fail, and could offer packages of the same names.
_ARCHIVE_KEYS = re.compile(r"(debian|ubuntu)-archive-")
_APT_FOLDER = Path("/etc/apt")
_DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MAIN_ARCHIVE = re.compile(r"https?://[\w.:-]+(/[\w.-]+)*/debian/?(?=\s|$)", re.MULTILINE)
Keep = Callable[[str], bool]
"""Says for a path inside a package ("usr/bin/x") whether it is unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Another architecture and release of the machine's distribution than the machine's own."""

    architecture: str  # as Debian names it
    suite: str


def available() -> bool:
    """Whether this machine can fetch Debian packages at all."""
    return all(shutil.which(name) for name in ("apt-get", "apt-config", "dpkg-deb"))


class Apt:
    """A private apt state for one set-up; use as a context manager, it is removed afterwards.

    Args:
        foreign: fetch packages of this architecture and release; None: of the machine's own.
    """

    def __init__(self, toolbox: Toolbox, foreign: Foreign | None = None) -> None:
        self._toolbox = toolbox
        self._foreign = foreign
        self._state: Path | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> Apt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def unpack(self, packages: Sequence[str], folder: Path, *, skip: re.Pattern[str], keep: Keep) -> Mapping[str, str]:
        """Unpacks ``packages`` and what they depend on, less the packages that ``skip`` matches.

        Returns package name -> version of what was unpacked.

        Raises:
            ToolMissingError: offline, not a Debian machine, or apt fails.
        """
        state = self._open(packages)
        archives = state / "cache" / "archives"
        for stale in archives.glob("*.deb"):
            stale.unlink()
        self._toolbox.progress.say(f"downloading packages: {', '.join(packages)}")
        run_tool(
            ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "install", *packages],
            what=f"cannot download {' '.join(packages)}",
            next_step=_NEXT,
            env=self._environment(state),
        )
        versions = {}
        for deb in sorted(archives.glob("*.deb")):
            name, version = deb.name.split("_")[:2]
            if not skip.fullmatch(name):
                _unpack_one(deb, folder, keep)
                versions[name] = version.replace("%3a", ":")
        return versions

    def _open(self, packages: Sequence[str]) -> Path:
        """The private state, with fresh package lists."""
        if self._state is not None:
            return self._state
        self._toolbox.need_network(" ".join(packages))
        if not available():
            raise ToolMissingError(
                f"{' '.join(packages)}: not installed, and this machine has no apt to fetch them", next_step=_NEXT
            )
        state = self._cleanup.enter_context(self._toolbox.scratch("apt"))
        for name in ("state/lists/partial", "cache/archives/partial", "sources"):
            (state / name).mkdir(parents=True)
        (state / "state" / "status").touch()
        _copy_sources(state / "sources", self._foreign)
        architecture = self._foreign.architecture if self._foreign else "amd64"
        (state / "apt.conf").write_text(_configuration(state, architecture), encoding="utf-8")
        self._toolbox.progress.say("reading the package lists")
        run_tool(
            ["apt-get", "-qq", "update"],
            what="cannot read the package lists",
            next_step=_NEXT,
            env=self._environment(state),
        )
        self._state = state
        return state

    @staticmethod
    def _environment(state: Path) -> dict[str, str]:
        return dict(os.environ) | {
            "APT_CONFIG": str(state / "apt.conf"),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
        }


def _configuration(state: Path, architecture: str) -> str:
    """The machine's own ways to reach its sources (proxies, certificates), and nothing else of its configuration."""
    dump = run_tool(["apt-config", "dump"], what="cannot read apt's configuration", next_step=_NEXT)
    own = [line for line in dump.splitlines() if line.startswith("Acquire::")]
    return "\n".join(
        [
            *own,
            f'Dir::State "{state}/state";',
            f'Dir::State::status "{state}/state/status";',
            f'Dir::Cache "{state}/cache";',
            'Dir::Etc::sourcelist "/dev/null";',
            f'Dir::Etc::sourceparts "{state}/sources";',
            'Dir::Etc::main "/dev/null";',
            'Dir::Etc::parts "/dev/null";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{"{architecture}";}};',
            'APT::Sandbox::User "";',
            'Acquire::Languages "none";',
            'Debug::NoLocking "1";',
            "",
        ]
    )


def _copy_sources(folder: Path, foreign: Foreign | None) -> None:
    """The machine's sources of its own distribution; all of them where none says whose it is."""
    files = [_APT_FOLDER / "sources.list", *sorted((_APT_FOLDER / "sources.list.d").glob("*"))]
    texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files if path.is_file()}
    own = {name: text for name, text in texts.items() if _ARCHIVE_KEYS.search(text)}
    if foreign is not None:
        (folder / "foreign.list").write_text(_foreign_source("\n".join(texts.values()), foreign), encoding="utf-8")
        return
    for name, text in (own or texts).items():
        if name.endswith((".list", ".sources")):
            (folder / name).write_text(text, encoding="utf-8")


def _foreign_source(texts: str, foreign: Foreign) -> str:
    """Debian's main archive where this machine has it from, for another architecture and release, under its keys.

    Updates of that release are left out: a count must not move with them.
    """
    archive = _MAIN_ARCHIVE.search(texts)
    if archive is None or not _DEBIAN_KEYS.is_file():
        raise ToolMissingError(
            f"packages for {foreign.architecture} come from Debian's archive, and this machine has no source of it",
            where=str(_APT_FOLDER),
            next_step="build on a Debian machine or container (Debian 12 or later)",
        )
    return f"deb [arch={foreign.architecture} signed-by={_DEBIAN_KEYS}] {archive[0]} {foreign.suite} main\n"


def _unpack_one(deb: Path, folder: Path, keep: Keep) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise ToolMissingError("cannot read a package", where=deb.name)
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                member.name = member.name.removeprefix("./")
                if not member.isdir() and keep(member.name):
                    _place(archive, member, folder)
        status = process.wait()
    if status != 0:
        raise ToolMissingError("a package cannot be unpacked", where=deb.name, got=f"dpkg-deb status {status}")


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Writes one member under ``folder``. By hand: Python 3.11.0 to 3.11.3 extract without a filter."""
    target = _inside(folder, member.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        # One that leads out of the folder would point into the machine; no library or compiler part needs it.
        if not member.linkname.startswith("/") and _leads_inside(member):
            target.symlink_to(member.linkname)
    elif member.islnk():
        target.hardlink_to(_inside(folder, member.linkname.removeprefix("./")))
    elif member.isfile():
        content = archive.extractfile(member)
        if content is None:
            raise ToolMissingError("a package cannot be unpacked", got=member.name)
        with target.open("wb") as stream:
            shutil.copyfileobj(content, stream)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _inside(folder: Path, name: str) -> Path:
    if name.startswith("/") or ".." in Path(name).parts:
        raise ToolMissingError("a package holds a path that leads out of it", got=name)
    return folder / name


def _leads_inside(member: tarfile.TarInfo) -> bool:
    joined = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    return not joined.startswith("..")
