"""The emulator and the cross compiler of microcontrollers, found or set up without root."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Progress, Silent
from edgegen.core.targets import SYSTEM_OF_ISA, Microcontroller, TargetProfile
from edgegen.devices.mcu import compiler as compilers
from edgegen.devices.qemu_system import emulator
from edgegen.devices.qemu_user import debs
from edgegen.devices.qemu_user.provision import ToolStatus
from edgegen.devices.qemu_user.toolbox import Toolbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What firmware is built and run with."""

    compiler: compilers.Compiler
    qemu: emulator.Qemu


def provision(
    system: str, mcu: Microcontroller, cache: Path, *, offline: bool, progress: Progress | None = None
) -> Tools:
    """Finds or sets up both under ``<cache>/tools``; a second call is quick.

    Raises:
        ToolMissingError: something cannot be had: offline, another kind of machine, or no such emulated machine.
    """
    toolbox = Toolbox(cache, offline=offline, progress=progress or Silent())
    toolbox.root.mkdir(parents=True, exist_ok=True)
    with debs.Apt(toolbox) as apt:
        try:
            tools = Tools(
                compiler=compilers.ensure_compiler(toolbox, apt, system),
                qemu=emulator.ensure_qemu(toolbox, apt, system),
            )
        except ToolMissingError as error:
            if _fetches_here():
                raise
            raise ToolMissingError(
                error.what,
                where=error.where,
                got=f"{platform.system()} on {platform.machine()}, where edgegen does not fetch them by itself",
                next_step=f"{compilers.next_step(system)} {emulator.PACKAGES[system]}, or what they are called there",
            ) from error
    emulator.check_machine(tools.qemu, mcu.machine)
    return tools


def status(profile: TargetProfile, cache: Path) -> Sequence[ToolStatus]:
    """What is there for ``profile`` and what is not, with the fix. No network, nothing is changed."""
    toolbox, system = Toolbox(cache, offline=True, progress=Silent()), SYSTEM_OF_ISA[profile.isa]
    setup, fetchable = f"edgegen setup {profile.name}", _fetches_here() and debs.available()
    lines = []
    for name, find, package in (
        (compilers.FAMILIES[system].program, compilers.find_compiler, compilers.next_step(system)),
        (f"qemu-system-{system}", emulator.find_qemu, f"apt install {emulator.PACKAGES[system]}"),
    ):
        try:
            found = find(toolbox, system)
        except ToolMissingError as error:
            lines.append(ToolStatus(name=name, state="refused", detail=error.what, fix=error.next_step or package))
            continue
        if found is not None:
            detail = f"{found.program}, version {found.version}"
            lines.append(ToolStatus(name=name, state="ready", detail=detail, fix=""))
        elif fetchable:
            lines.append(ToolStatus(name=name, state="fetchable", detail="not set up yet", fix=setup))
        else:
            lines.append(ToolStatus(name=name, state="missing", detail="not on PATH", fix=package))
    return lines


def _fetches_here() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"
