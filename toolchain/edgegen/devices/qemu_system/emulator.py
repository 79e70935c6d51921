"""Finds or fetches QEMU's system emulation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.core.errors import ToolMissingError
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.toolbox import Toolbox, run_tool

PACKAGES = {"arm": "qemu-system-arm", "riscv32": "qemu-system-misc"}
"""Guest architecture -> Debian's package of the emulator."""

_SKIP = re.compile(r"libc6|libgcc-s1|gcc-\d+-base")
_KEEP = re.compile(r"usr/bin/qemu-system-(arm|riscv32)$|(usr/)?lib/x86_64-linux-gnu/[^/]*\.so[^/]*$")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
_VERSION = re.compile(r"QEMU emulator version (\d+\.\d+(\.\d+)?)")
_PROBE_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Qemu:
    """A usable emulator."""

    program: str
    env: Mapping[str, str]
    version: str


def find_qemu(toolbox: Toolbox, system: str) -> Qemu | None:
    """The emulator on PATH, else the one that was fetched before; touches nothing.

    Raises:
        ToolMissingError: there is one, and it does not run.
    """
    program = shutil.which(f"qemu-system-{system}")
    if program is not None:
        return _probe(program, {})
    tool = toolbox.find(f"qemu-system-{system}", _key(system))
    return None if tool is None else _from_folder(tool.folder, system)


def ensure_qemu(toolbox: Toolbox, apt: debs.Apt, system: str) -> Qemu:
    """The emulator of ``find_qemu``, else Debian's, unpacked into the cache.

    Raises:
        ToolMissingError: none to be had.
    """
    found = find_qemu(toolbox, system)
    if found is not None:
        return found
    toolbox.progress.say(f"no qemu-system-{system} on PATH: fetching one")

    def make(folder: Path) -> Mapping[str, str]:
        apt.unpack((PACKAGES[system],), folder, skip=_SKIP, keep=lambda path: bool(_KEEP.match(path)))
        return {"version": _from_folder(folder, system).version}

    return _from_folder(toolbox.ensure(f"qemu-system-{system}", _key(system), make).folder, system)


def check_machine(qemu: Qemu, machine: str) -> None:
    """Refuses machines that this QEMU does not have.

    Raises:
        ToolMissingError: QEMU does not know the machine.
    """
    listing = run_tool(
        [qemu.program, "-machine", "help"],
        what="QEMU does not list its machines",
        next_step=_next_step("arm"),
        env=qemu.env,
        timeout_s=_PROBE_TIMEOUT_S,
    )
    if machine not in {line.split(" ", 1)[0] for line in listing.splitlines()}:
        raise ToolMissingError(
            f"this QEMU has no machine {machine!r}",
            where=qemu.program,
            got=f"version {qemu.version}",
            next_step="a newer QEMU; Debian 12's 7.2 has all machines of the profiles that ship",
        )


def _next_step(system: str) -> str:
    return f"apt install {PACKAGES[system]}"


def _key(system: str) -> str:
    return sha256_json({"layout": 1, "package": PACKAGES[system]})


def _from_folder(folder: Path, system: str) -> Qemu:
    libraries = ":".join(str(folder / name) for name in _LIBRARIES)
    return _probe(str(folder / "usr" / "bin" / f"qemu-system-{system}"), {"LD_LIBRARY_PATH": libraries})


def _probe(program: str, env: Mapping[str, str]) -> Qemu:
    text = run_tool(
        [program, "--version"],
        what="QEMU does not start",
        next_step=_next_step("riscv32" if program.endswith("riscv32") else "arm"),
        env=env,
        timeout_s=_PROBE_TIMEOUT_S,
    )
    found = _VERSION.search(text)
    if found is None:
        raise ToolMissingError("not QEMU's system emulation", where=program, got=text[:200])
    return Qemu(program=program, env=env, version=found[1])
