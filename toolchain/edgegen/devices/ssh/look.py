"""What a board is: its processor, its name, and whether it is a real machine at all."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import TargetProfile
from edgegen.devices.host import core_name, int8_notes

LOOK_SCRIPT = """\
uname -m
uname -r
tr '\\0' '\\n' < /proc/device-tree/model 2> /dev/null | head -n 1 | head -c 200; echo
tr '\\0' ' ' < /proc/device-tree/compatible 2> /dev/null | head -c 400; echo
cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name 2> /dev/null | tr '\\n' ' ' | head -c 200; echo
head -c 65536 /proc/cpuinfo
"""
"""Prints what ``parse_look`` reads: five lines, and /proc/cpuinfo."""

_MACHINES = {
    "aarch64": ("aarch64",),
    "armv7l": ("armv7l", "armv8l"),
    "riscv64": ("riscv64",),
    "x86_64": ("x86_64",),
}
# QEMU's machine "virt" is called so in its device tree (hw/arm/virt.c and hw/riscv/virt.c there). A virtual machine on
# a real Arm core is called the same: it is not the board that the target names, either.
_VIRTUAL_TREE = re.compile(r"dummy-virt|qemu|riscv-virtio", re.IGNORECASE)
_VIRTUAL_CORE = re.compile(r"QEMU (TCG|Virtual) CPU", re.IGNORECASE)  # QEMU's own names for cores that it emulates
_CODES = ("CPU implementer", "CPU part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a board says of itself."""

    machine: str  # as ``uname -m``
    kernel: str
    model: str  # of the board; empty where it has no name
    emulated: str  # the sign that it is no real machine; empty: there is none
    cpuinfo: str

    def codes(self) -> tuple[str, ...]:
        """Implementer and part of its first Arm core, in lower case; empty on others."""
        return tuple(value for name in _CODES if (value := self._line(name).lower()))

    def _line(self, name: str) -> str:
        found = re.search(rf"^{name}\s*:\s*(\S+)", self.cpuinfo, re.MULTILINE)
        return found[1][:40] if found else ""


def parse_look(text: str) -> Look:
    """What ``LOOK_SCRIPT`` printed.

    Raises:
        ToolMissingError: something else.
    """
    machine, kernel, model, tree, maker, *rest = (*text.split("\n", 5), *[""] * 6)[:6]
    if not re.fullmatch(r"[A-Za-z0-9_]{1,40}", machine):
        raise ToolMissingError("the board does not say what it is", got=repr(text[:80]), expected="`uname -m`")
    cpuinfo = rest[0] if rest else ""
    signs = (_VIRTUAL_TREE.search(tree), _VIRTUAL_CORE.search(cpuinfo))
    # On x86 a hypervisor runs the real core; its maker's name alone is no sign there.
    named = _VIRTUAL_TREE.search(maker) if machine != "x86_64" else None
    sign = next((found[0] for found in (*signs, named) if found), "")
    return Look(machine=machine, kernel=_shown(kernel), model=_shown(model), emulated=sign, cpuinfo=_printable(cpuinfo))


def check_look(look: Look, profile: TargetProfile, url: str) -> None:
    """Refuses a board that is not the target: its figures would stand for another device.

    Raises:
        ToolMissingError: another instruction set or core.
    """
    accepted = _MACHINES.get(profile.isa, (profile.isa,))
    if look.machine not in accepted:
        raise ToolMissingError(
            "the board is not the target",
            where=f"{url} for {profile.name}",
            got=look.machine,
            expected=" or ".join(accepted),
            next_step="name the board's own --target",
        )
    board = profile.board
    # A profile that knows no clock stands for all boards of its instruction set.
    if board is None or profile.core is None or profile.core.clock_hz is None or not board.part:
        return
    codes = look.codes()
    wanted = tuple(code.lower() for code in (board.implementer, board.part))
    if codes and codes != wanted:
        raise ToolMissingError(
            "the board has another core than the target",
            where=f"{url} for {profile.name}",
            got=f"CPU implementer {codes[0]}, part {codes[-1]}" + (f" ({look.model})" if look.model else ""),
            expected=f"{' '.join(wanted)} ({profile.core.name})",
            next_step="name the board's own --target; `edgegen targets` lists them",
        )


def name_of(look: Look, profile: TargetProfile) -> str:
    """What figures of this board are labelled with."""
    core = profile.core.name if profile.core is not None else _x86(look, "core")
    codes = look.codes()
    if profile.core is not None and profile.core.clock_hz is None and codes:
        core = f"Arm core {' '.join(codes)}"
    return f"{look.model}, {core}" if look.model else core


def notes_of(look: Look) -> tuple[str, ...]:
    """What must be known before figures of this board are trusted."""
    said = []
    if look.emulated:
        said.append(
            f"This board is not a real machine ({look.emulated}): its outputs are the core's own, its clock is not, so "
            "no time is measured"
        )
    return (*said, *((_x86(look, "notes"),) if _x86(look, "notes") else ()))


def _x86(look: Look, what: str) -> str:
    """What ``devices.host`` says of such a /proc/cpuinfo."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="edgegen-") as copy:
        copy.write(look.cpuinfo)
        copy.flush()
        path = Path(copy.name)
        return core_name(path) if what == "core" else " ".join(int8_notes(path))


def _shown(text: str) -> str:
    return " ".join(_printable(text).split())[:120]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
