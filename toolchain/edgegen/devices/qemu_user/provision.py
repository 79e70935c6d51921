"""Everything that emulation needs, found or set up without root; and a look at what is there that changes nothing."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.digests import sha256_json, sha256_tree
from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.ports import Progress, Silent
from edgegen.core.targets import Board, Emulator, TargetProfile
from edgegen.devices.qemu_user import board, compilers, debian_guest, debs, emulator, python_guest, wheels
from edgegen.devices.qemu_user.guests import Guest, guest_of
from edgegen.devices.qemu_user.toolbox import Tool, Toolbox

_GUEST_PACKAGES = ("libc6-arm64-cross", "libstdc++6-arm64-cross", "libgcc-s1-arm64-cross")
_GUEST_KEY = sha256_json({"layout": 1, "packages": list(_GUEST_PACKAGES)})
_GUEST_LIBRARIES = "usr/aarch64-linux-gnu/lib"
_GUEST_KEEP = re.compile(r"usr/aarch64-linux-gnu/lib/[^/]*\.so[^/]*$")

State = Literal["ready", "fetchable", "missing", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStatus:
    """One line of ``edgegen doctor``."""

    name: str
    state: State  # fetchable: the next build sets it up by itself
    detail: str
    fix: str  # empty where nothing is to be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a measurement under emulation is made with."""

    qemu: emulator.Qemu
    guest: Guest
    cpu: str
    plugin: Path
    runner: Path
    root: Path  # stands before the guest's file system
    libraries: Mapping[str, str]  # runtime -> path as the guest sees it
    versions: Mapping[str, str]  # everything that can change a count
    python: python_guest.PythonGuest | None = None
    python_root: Path | None = None  # as ``root``, for the interpreter
    in_python: frozenset[str] = frozenset()  # runtimes that the interpreter runs

    @property
    def runtimes(self) -> frozenset[str]:
        """All that can be run."""
        return frozenset(self.libraries) | self.in_python


def provision(profile: TargetProfile, cache: Path, *, offline: bool = False, progress: Progress | None = None) -> Tools:
    """Finds or sets up all tools for ``profile`` under ``<cache>/tools``; a second call is quick.

    Raises:
        TargetError: the profile is not one for user emulation, or asks for the core ``max``.
        ToolMissingError: something cannot be had: another kind of machine, offline, no package index, no compiler.
        IntegrityError: a download is not the pinned one.
    """
    emulated, looks = _emulation(profile)
    _check_machine()
    guest = guest_of(emulated)
    toolbox = Toolbox(cache, offline=offline, progress=progress or Silent())
    toolbox.root.mkdir(parents=True, exist_ok=True)
    with debs.Apt(toolbox) as apt:
        plugin = compilers.ensure_plugin(toolbox)
        qemu = emulator.ensure_qemu(toolbox, apt, guest)
        emulator.check_cpu(qemu, emulated)
        libraries = None if guest.debian else _ensure_guest_libraries(toolbox, apt)
        runner = compilers.ensure_runner(toolbox, apt, guest)
    found = _debian_runtimes(toolbox, guest, profile) if libraries is None else _wheels(toolbox, libraries, profile)
    root = board.ensure_root(toolbox, emulated, looks, found.system, found.files)
    python = _python(toolbox, guest, profile)
    if python is not None:
        python_root = board.ensure_root(toolbox, emulated, looks, python.folder / python_guest.LIBRARIES, {})
    return Tools(
        qemu=qemu,
        guest=guest,
        cpu=emulated.cpu,
        plugin=plugin.folder / compilers.PLUGIN,
        runner=runner.folder / compilers.RUNNER,
        root=root.folder,
        libraries={name: f"{board.GUEST_FOLDER}/{path.name}" for name, path in found.runtimes.items()},
        python=python,
        python_root=None if python is None else python_root.folder,
        in_python=frozenset() if python is None else frozenset({_python_runtime(guest)}),
        versions={
            "qemu": qemu.version,
            "plugin": compilers.plugin_key(),
            "runner": runner.facts["sha256"],
            "guest-libraries": found.sha256,
            **found.versions,
            **(python.versions if python else {}),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxFiles:
    """What a machine of the target's kind needs to run models, without an emulator."""

    runner: Path
    system: Path  # folder of the loader, libc and libstdc++
    runtimes: Mapping[str, Path]  # runtime -> its library
    versions: Mapping[str, str]


def linux_files(
    profile: TargetProfile, cache: Path, *, offline: bool = False, progress: Progress | None = None
) -> LinuxFiles:
    """The same runner and libraries that ``provision`` gives the emulated core, for a board that is reached.

    Raises:
        TargetError, ToolMissingError, IntegrityError: as ``provision`` does.
    """
    guest = guest_of(_emulation(profile)[0])
    _check_machine()
    toolbox = Toolbox(cache, offline=offline, progress=progress or Silent())
    toolbox.root.mkdir(parents=True, exist_ok=True)
    with debs.Apt(toolbox) as apt:
        libraries = None if guest.debian else _ensure_guest_libraries(toolbox, apt)
        runner = compilers.ensure_runner(toolbox, apt, guest)
    found = _debian_runtimes(toolbox, guest, profile) if libraries is None else _wheels(toolbox, libraries, profile)
    return LinuxFiles(
        runner=runner.folder / compilers.RUNNER,
        system=found.system,
        runtimes=found.runtimes,
        versions={"runner": runner.facts["sha256"], "guest-libraries": found.sha256, **found.versions},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The guest's libraries and runtimes."""

    system: Path  # folder of the loader, libc and libstdc++
    sha256: str
    runtimes: Mapping[str, Path]  # runtime -> its library
    versions: Mapping[str, str]

    @property
    def files(self) -> Mapping[str, Path]:
        return {path.name: path for path in self.runtimes.values()}


def _wheels(toolbox: Toolbox, libraries: Tool, profile: TargetProfile) -> _Found:
    tools = {name: wheels.ensure_library(toolbox, name) for name in _emulated_runtimes(profile)}
    return _Found(
        system=libraries.folder / _GUEST_LIBRARIES,
        sha256=libraries.facts["sha256"],
        runtimes={name: tool.folder / wheels.pinned(name).library_name for name, tool in tools.items()},
        versions={name: tool.facts["version"] for name, tool in tools.items()},
    )


def _debian_runtimes(toolbox: Toolbox, guest: Guest, profile: TargetProfile) -> _Found:
    tool, wanted = debian_guest.ensure_libraries(toolbox, guest), debian_guest.read_packages(guest)
    folder = tool.folder / debian_guest.libraries_folder(guest)
    names = _emulated_runtimes(profile)
    return _Found(
        system=folder,
        sha256=tool.facts["sha256"],
        runtimes={name: folder / wanted.runtimes[name].library for name in names},
        versions={name: tool.facts[wanted.runtimes[name].package] for name in names},
    )


def _python_runtime(guest: Guest) -> str:
    wanted = debian_guest.read_packages(guest).python if guest.debian else None
    return wanted.runtime if wanted else ""


def _python(toolbox: Toolbox, guest: Guest, profile: TargetProfile) -> python_guest.PythonGuest | None:
    """The interpreter, where a runtime of the profile needs one."""
    if _python_runtime(guest) not in profile.runtimes.values():
        return None
    wanted = debian_guest.read_packages(guest).python
    assert wanted is not None
    return python_guest.ensure_python(toolbox, guest, wanted)


def status(profile: TargetProfile, cache: Path) -> list[ToolStatus]:
    """What is there for ``profile`` and what is not, with the fix. No network, nothing is changed."""
    try:
        _emulation(profile)
        _check_machine()
    except (TargetError, ToolMissingError) as error:
        return [ToolStatus(name="machine", state="refused", detail=error.what, fix=error.next_step or "")]
    toolbox = Toolbox(cache, offline=True, progress=Silent())
    setup, guest = f"edgegen setup {profile.name}", guest_of(_emulation(profile)[0])
    lines = [_qemu_status(toolbox, guest, setup)]
    found = toolbox.find("plugin", compilers.plugin_key())
    if found is None and compilers.host_compiler() is None:
        lines.append(_line("plugin", "missing", "no C compiler", "apt install gcc, or pip install ziglang"))
    else:
        lines.append(_tool_line("plugin", found, setup, fetchable=True))
    can_fetch = debs.available()
    runner = toolbox.find("runner", compilers.runner_key(guest))
    can_compile = can_fetch or compilers.has_cross_compiler(guest) or compilers.has_zig()
    lines.append(_tool_line("runner", runner, setup, fetchable=can_compile))
    if guest.debian:
        found = toolbox.find(f"guest-libs-{guest.system}", debian_guest.key_of(guest))
        lines.append(_tool_line(f"libraries and runtimes ({guest.debian})", found, setup, fetchable=can_fetch))
        wanted = debian_guest.read_packages(guest).python
        if wanted is not None and wanted.runtime in profile.runtimes.values():
            found = toolbox.find(python_guest.tool_name(guest), python_guest.key_of(guest, wanted))
            name = f"{wanted.runtime} {wanted.wheel.version} and its Python ({guest.debian})"
            lines.append(_tool_line(name, found, setup, fetchable=can_fetch))
        return lines
    lines.append(_tool_line("guest libraries", toolbox.find("guest-libs", _GUEST_KEY), setup, fetchable=can_fetch))
    for runtime in _emulated_runtimes(profile):
        wheel = wheels.pinned(runtime)
        found = toolbox.find(f"lib-{runtime}", wheel.key)
        lines.append(_tool_line(f"{runtime} {wheel.version} (aarch64)", found, setup, fetchable=True))
    return lines


def _line(name: str, state: State, detail: str, fix: str) -> ToolStatus:
    return ToolStatus(name=name, state=state, detail=detail, fix=fix)


def _tool_line(name: str, tool: Tool | None, setup: str, *, fetchable: bool) -> ToolStatus:
    if tool is not None:
        return _line(name, "ready", str(tool.folder), "")
    if fetchable:
        return _line(name, "fetchable", "not set up yet", setup)
    return _line(name, "missing", "cannot be fetched here: no apt", "install a cross compiler or pip install ziglang")


def _qemu_status(toolbox: Toolbox, guest: Guest, setup: str) -> ToolStatus:
    qemu, sentence = emulator.on_path(guest)
    if qemu is not None:
        return _line("qemu", "ready", sentence, "")
    try:
        present = emulator.fetched(toolbox, guest)
    except ToolMissingError as error:
        return _line("qemu", "refused", error.what, error.next_step or "")
    if present is not None:
        return _line("qemu", "ready", f"{present.program}, version {present.version}", "")
    if debs.available():
        return _line("qemu", "fetchable", sentence, setup)
    return _line("qemu", "missing", sentence, "install qemu-user (not the static build)")


def _emulation(profile: TargetProfile) -> tuple[Emulator, Board]:
    if profile.emulator is None or profile.board is None:
        raise TargetError(f"the target {profile.name!r} has no user emulation", expected="[emulator] and [board]")
    if profile.emulator.cpu == "max":
        emulator.refuse_max()
    return profile.emulator, profile.board


def _check_machine() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ToolMissingError(
            "emulation is set up on x86-64 Linux only",
            got=f"{platform.system()} on {platform.machine()}",
            next_step="build on an x86-64 Linux machine or container, or measure on the device itself (--device)",
        )


def _emulated_runtimes(profile: TargetProfile) -> list[str]:
    guest = guest_of(_emulation(profile)[0])
    known = debian_guest.read_packages(guest).runtimes if guest.debian else wheels.read_wheels()
    return sorted(set(profile.runtimes.values()) & set(known))


def _ensure_guest_libraries(toolbox: Toolbox, apt: debs.Apt) -> Tool:
    """The guest's loader, libc and libstdc++: Debian's cross packages, which every Debian architecture can fetch."""

    def make(folder: Path) -> Mapping[str, str]:
        versions = apt.unpack(
            _GUEST_PACKAGES,
            folder,
            skip=re.compile("(?!)"),
            keep=lambda path: bool(_GUEST_KEEP.match(path)),
        )
        return dict(versions) | {"sha256": sha256_tree(folder / _GUEST_LIBRARIES)}

    return toolbox.ensure("guest-libs", _GUEST_KEY, make)
