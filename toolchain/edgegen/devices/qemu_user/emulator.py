"""Finds or fetches QEMU's user emulation, and refuses one whose plugin interface is unknown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from edgegen.core.digests import sha256_json
from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.targets import Emulator
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.guests import GUESTS, Guest
from edgegen.devices.qemu_user.toolbox import Toolbox, run_tool

_PACKAGES = ("qemu-user",)
# The machine's own libc runs it.
_SKIP = re.compile(r"libc6|libgcc-s1|gcc-\d+-base")
_KEEP = re.compile(rf"usr/bin/qemu-({'|'.join(GUESTS)})$|(usr/)?lib/x86_64-linux-gnu/[^/]*\.so[^/]*$")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_KEY = sha256_json({"layout": 2, "packages": list(_PACKAGES), "guests": sorted(GUESTS)})
_VERSION = re.compile(r"qemu-\w+ version (\d+)\.(\d+)(\.\d+)?")
# Releases whose plugin interface is level 1. Later ones drop what the plugin stands on; the plugin checks again.
_FIRST, _AFTER_LAST = (6, 0), (9, 0)
_PROBE_TIMEOUT_S = 20.0
_NEXT = "apt install qemu-user from Debian 12 or Ubuntu 24.04 (QEMU 7.2 and 8.2 have the interface)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Qemu:
    """A usable emulator."""

    program: str  # name on PATH or path
    env: Mapping[str, str]  # the whole environment it is started with
    version: str  # "7.2.22"


def on_path(guest: Guest) -> tuple[Qemu | None, str]:
    """The emulator on PATH if it is usable, and a sentence about what was found."""
    program = shutil.which(guest.program)
    if program is None:
        static = shutil.which(f"{guest.program}-static")
        if static is not None:
            return None, f"{static} is a static build: it cannot load plugins, so it cannot count"
        return None, f"no {guest.program} on PATH"
    try:
        qemu = _probe(program, {})
    except ToolMissingError as error:
        return None, f"{program}: {error.what}" + (f" ({error.got})" if error.got else "")
    return qemu, f"{program}, version {qemu.version}"


def fetched(toolbox: Toolbox, guest: Guest) -> Qemu | None:
    """The emulator in the cache, if it was fetched before."""
    tool = toolbox.find("qemu", _KEY)
    return None if tool is None else _from_folder(tool.folder, guest)


def ensure_qemu(toolbox: Toolbox, apt: debs.Apt, guest: Guest) -> Qemu:
    """The emulator on PATH, else Debian's, unpacked into the cache.

    Raises:
        ToolMissingError: none to be had, or one with an unknown plugin interface.
    """
    qemu, why_not = on_path(guest)
    if qemu is not None:
        return qemu
    present = fetched(toolbox, guest)
    if present is not None:
        return present
    toolbox.progress.say(f"{why_not}: fetching one")

    def make(folder: Path) -> Mapping[str, str]:
        versions = apt.unpack(_PACKAGES, folder, skip=_SKIP, keep=lambda path: bool(_KEEP.match(path)))
        return {"version": _from_folder(folder, guest).version, "package": versions.get("qemu-user", "")}

    return _from_folder(toolbox.ensure("qemu", _KEY, make).folder, guest)


def refuse_max() -> NoReturn:
    """Raises TargetError: the core ``max`` is no board's."""
    raise TargetError(
        "the emulated core 'max' is refused",
        expected="the board's own core: 'max' has instructions that no such board has, and picks other kernels",
    )


def check_cpu(qemu: Qemu, emulator: Emulator) -> None:
    """Refuses cores that this QEMU does not have.

    Raises:
        ToolMissingError: QEMU does not know the core.
    """
    listing = run_tool(
        [qemu.program, "-cpu", "help"],
        what="QEMU does not list its cores",
        next_step=_NEXT,
        env=qemu.env,
        timeout_s=_PROBE_TIMEOUT_S,
        accepted=(0, 1),  # 7.2 lists and exits 1
    )
    if emulator.cpu not in listing.split():
        raise ToolMissingError(
            f"this QEMU does not emulate {emulator.cpu}",
            where=qemu.program,
            got=f"version {qemu.version}",
            next_step=_NEXT,
        )


def _from_folder(folder: Path, guest: Guest) -> Qemu:
    libraries = ":".join(str(folder / name) for name in _LIBRARIES)
    return _probe(str(folder / "usr" / "bin" / guest.program), {"LD_LIBRARY_PATH": libraries})


def _probe(program: str, env: Mapping[str, str]) -> Qemu:
    """Raises ToolMissingError where the program is not a QEMU that the plugin fits."""
    text = run_tool(
        [program, "--version"], what="QEMU does not start", next_step=_NEXT, env=env, timeout_s=_PROBE_TIMEOUT_S
    )
    found = _VERSION.search(text)
    if found is None:
        raise ToolMissingError("not QEMU's user emulation", where=program, got=text[:200], next_step=_NEXT)
    release = (int(found[1]), int(found[2]))
    version = f"{found[1]}.{found[2]}{found[3] or ''}"
    if not _FIRST <= release < _AFTER_LAST:
        raise ToolMissingError(
            "QEMU has another plugin interface than the one edgegen counts with",
            where=program,
            got=f"version {version}",
            expected=f"{_FIRST[0]}.{_FIRST[1]} or later, before {_AFTER_LAST[0]}.{_AFTER_LAST[1]}",
            next_step=_NEXT,
        )
    usage = run_tool(
        [program, "-help"], what="QEMU shows no help", next_step=_NEXT, env=env, timeout_s=_PROBE_TIMEOUT_S
    )
    if "-plugin" not in usage:
        raise ToolMissingError(
            "QEMU was built without plugins (static builds are)",
            where=program,
            got=f"version {version}",
            next_step=_NEXT,
        )
    return Qemu(program=program, env=env, version=version)
