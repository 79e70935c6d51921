"""Guests whose libraries, the inference runtimes among them, are Debian's builds for their architecture."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.digests import sha256_json, sha256_tree
from edgegen.core.errors import ToolMissingError
from edgegen.core.records import read_record, setting, write_record
from edgegen.core.share import share_dir
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.guests import Guest
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox
from edgegen.devices.qemu_user.wheels import Wheel

_NONE = re.compile("(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An inference runtime that Debian builds."""

    package: str = setting(doc="the package that holds it")
    version: str = setting(doc="its version; the package's begins with it")
    library: str = setting(doc="file name of its shared library")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPackages:
    """A Python interpreter and a runtime that is a Python package."""

    suite: str = setting(doc="the release whose Python the wheel is for")
    packages: tuple[str, ...] = setting(doc="packages of the interpreter and numpy")
    runtime: str = setting(doc="what profiles call the runtime")
    module: str = setting(doc="folder of the wheel that is unpacked")
    wheel: Wheel = setting(doc="the runtime's wheel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """What is taken from Debian for a guest architecture."""

    suite: str = setting(doc="the release, as the archive names it")
    runtimes: Mapping[str, Runtime] = setting(doc="runtime -> where it is")
    python: PythonPackages | None = setting(None, doc="a runtime that needs an interpreter")

    @property
    def names(self) -> frozenset[str]:
        """All runtimes."""
        return frozenset(self.runtimes) | ({self.python.runtime} if self.python else set())


def read_packages(guest: Guest) -> Packages:
    """The entry of a guest in ``runtimes/linux/wheels.toml``."""
    path = share_dir("runtimes") / "linux" / "wheels.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))["debian"]
    return read_record(Packages, table[guest.system], f"debian.{guest.system}", str(path))


def key_of(guest: Guest) -> str:
    """Key of the guest's libraries: changes with what is asked for."""
    return sha256_json(
        {
            "layout": 1,
            "guest": guest.system,
            "suite": read_packages(guest).suite,
            "runtimes": {name: write_record(item) for name, item in read_packages(guest).runtimes.items()},
        }
    )


def libraries_folder(guest: Guest) -> str:
    """Where in the tool's folder the libraries lie."""
    return f"usr/lib/{guest.triple}"


def ensure_libraries(toolbox: Toolbox, guest: Guest) -> Tool:
    """Loader, C and C++ libraries and the inference runtimes of a guest.

    Raises:
        ToolMissingError: offline, not a Debian machine, or Debian offers another version than the pinned one.
    """
    wanted = read_packages(guest)
    keep = re.compile(rf"{libraries_folder(guest)}/[^/]*\.so[^/]*$")

    def make(folder: Path) -> Mapping[str, str]:
        with debs.Apt(toolbox, debs.Foreign(architecture=guest.debian, suite=wanted.suite)) as apt:
            names = [runtime.package for runtime in wanted.runtimes.values()]
            versions = apt.unpack(names, folder, skip=_NONE, keep=lambda path: bool(keep.match(path)))
        for runtime in wanted.runtimes.values():
            found = versions.get(runtime.package, "")
            if (
                not found.startswith(runtime.version)
                or not (folder / libraries_folder(guest) / runtime.library).exists()
            ):
                raise ToolMissingError(
                    f"Debian's {runtime.package} for {guest.debian} is not the pinned one",
                    got=found or "no such package",
                    expected=f"{runtime.version}, with {runtime.library}",
                    next_step="a newer edgegen may know it; figures of another version could not be compared",
                )
        return dict(versions) | {"sha256": sha256_tree(folder / libraries_folder(guest))}

    return toolbox.ensure(f"guest-libs-{guest.system}", key_of(guest), make)
