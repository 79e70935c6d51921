"""What a target profile says: the device as data. ``core/targets.py`` finds and checks the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from edgegen.core.digests import sha256_json
from edgegen.core.records import setting, write_record

INSTRUCTION_CLASSES = ("fma", "dot", "mmla", "mlal", "simd", "load_store", "branch", "integer")
"""Every counted instruction is in exactly one of these."""

WORK_CLASSES = ("float_mac", "int8_mac", "weight_byte", "element", "operator")
"""What a model is made of where nothing counts its instructions: read off the file itself."""

TOTAL_CLASSES = ("instruction",)
"""Where instructions are counted and not told apart, as on microcontrollers: all of them alike."""

BASES = {"instructions": INSTRUCTION_CLASSES, "total": TOTAL_CLASSES, "work": WORK_CLASSES}
"""What a cost model prices -> its classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The processor core that inference runs on, as its maker describes it."""

    name: str = setting(doc="the core, e.g. cortex-a72")
    features: tuple[str, ...] = setting((), doc="what of the instruction set kernels make use of, e.g. neon, dotprod")
    clock_hz: float | None = setting(None, doc="highest clock in Hz", minimum=1)
    l1_data_bytes: int | None = setting(None, doc="first-level data cache of a core in bytes", minimum=1)
    l2_bytes: int | None = setting(None, doc="second-level cache in bytes, of a core or a cluster", minimum=1)
    l3_bytes: int | None = setting(None, doc="third-level cache in bytes", minimum=1)

    @property
    def last_cache_bytes(self) -> int | None:
        """The largest cache level; None where the profile names none."""
        return max((size for size in (self.l1_data_bytes, self.l2_bytes, self.l3_bytes) if size), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What the emulated board shows of itself under /proc/cpuinfo and /sys/devices/system/cpu."""

    cores: int = setting(doc="number of CPU cores", minimum=1, maximum=1024)
    minimum_khz: int = setting(doc="lowest clock in kHz", minimum=1)
    maximum_khz: int = setting(doc="highest clock in kHz", minimum=1)
    features: tuple[str, ...] = setting((), doc="Arm: the Features line")
    implementer: str = setting("", doc="Arm: CPU implementer as /proc/cpuinfo spells it, e.g. 0x41")
    part: str = setting("", doc="Arm: CPU part, e.g. 0xd08")
    variant: str = setting("", doc="Arm: CPU variant, e.g. 0x0")
    revision: int = setting(0, doc="Arm: CPU revision", minimum=0)
    isa_line: str = setting("", doc="RISC-V: the isa line, e.g. rv64imafdc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """How the exact core is emulated."""

    system: Literal["aarch64", "arm", "riscv64"] = setting(doc="QEMU's name of the guest architecture")
    cpu: str = setting(doc="QEMU -cpu model; the named core, never max")


SYSTEM_OF_ISA = {
    "armv6m": "arm",
    "armv7m": "arm",
    "armv7em": "arm",
    "armv8m": "arm",
    "armv8.1m": "arm",
    "riscv32": "riscv32",
}
"""Instruction set of a microcontroller -> QEMU's name of the guest architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Microcontroller:
    """How firmware for a microcontroller is built, and the machine that runs it in emulation."""

    machine: str = setting(doc="QEMU's -machine that has this core")
    flags: tuple[str, ...] = setting(doc="the compiler's flags for the core, e.g. -mcpu=cortex-m4; -m flags alone")
    kernels: Literal["c", "dsp", "mve"] = setting(
        doc="kernels that the core runs: portable C, Armv7E-M's DSP instructions, Armv8.1-M's vectors"
    )
    flash_address: int = setting(doc="where the machine has memory for code and constants", minimum=0)
    flash_bytes: int = setting(doc="how much of it", minimum=1024)
    ram_address: int = setting(doc="where the machine has RAM", minimum=0)
    ram_bytes: int = setting(doc="how much of it", minimum=1024)
    uart: str = setting(doc="driver of the serial port: runtimes/mcu/port/eg_uart_<this>.c, or one in the own folder")
    uart_address: int = setting(doc="where the serial port's registers are", minimum=0)
    uart_hz: float = setting(doc="clock of the serial port in Hz", minimum=1)
    counter_hz: float = setting(doc="frequency of the counter (SysTick's in emulation) in Hz", minimum=1)
    icount_shift: int = setting(
        6, doc="an emulated instruction takes 2^this virtual nanoseconds", minimum=0, maximum=10
    )
    cpu: str = setting("", doc="QEMU's -cpu, where the machine takes one; empty: the machine's own")
    note: str = setting("", doc="what a person must know of counts of this machine before trusting them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashing:
    """How firmware gets onto the board."""

    tool: Literal["pyocd", "openocd", "esptool", "stm32loader", "uf2"] = setting(
        doc="program that writes it; uf2: a copy to the drive that the board's boot loader shows"
    )
    chip: str = setting(doc="the chip as the tool names it; of openocd its target configuration; of uf2 the family ID")
    interface: str = setting("", doc="openocd's interface configuration, e.g. interface/stlink.cfg")
    address: int = setting(0, doc="where the image begins, for tools that take a plain binary", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Turns counts into predicted milliseconds.

    cycles = sum over classes of count x cycles[class]; milliseconds = 1000 x cycles / frequency_hz, and not less than
    1000 x bytes of weights / stream_bytes_per_s where the weights do not fit the last cache. The band is the factor
    below and above within which a measured time is expected.
    """

    origin: str = setting(doc="'uncalibrated', or what the model was fitted on")
    frequency_hz: float = setting(doc="core clock in Hz", minimum=1)
    low_ratio: float = setting(doc="lower end of the band, as a factor", minimum=0, maximum=1)
    high_ratio: float = setting(doc="upper end of the band, as a factor", minimum=1)
    cycles: Mapping[str, float] = setting(doc="cycles per instruction by class, or per unit of work")
    basis: Literal["instructions", "total", "work"] = setting(
        "instructions",
        doc="what is priced: counted instructions by class, all of them alike (a microcontroller's), or the work that "
        "the file itself tells of",
    )
    stream_bytes_per_s: float | None = setting(
        None, doc="bytes a second at which weights come from memory; None: not known", minimum=1
    )
    stream_origin: str = setting("", doc="what that rate was taken from")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyModel:
    """Turns predicted milliseconds into predicted joules: the power that is drawn while the device computes.

    joules of an inference = its seconds x watts: the low end of one band by the low end of the other, and so the high.
    """

    origin: str = setting(doc="what the watts were taken from, and what the meter's supply fed")
    low_watts: float = setting(doc="lower end of the power while it computes", minimum=1e-9)
    high_watts: float = setting(doc="upper end of it, not below the lower", minimum=1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProfile:
    """A named device: its instruction set, how a build for it is executed, and what its numbers mean."""

    schema_version: Literal[1] = setting(doc="format of this file")
    name: str = setting(doc="the target's name")
    title: str = setting(doc="what a person calls the device")
    isa: Literal[
        "aarch64",
        "armv7l",
        "riscv64",
        "x86_64",
        "null",
        "armv6m",
        "armv7m",
        "armv7em",
        "armv8m",
        "armv8.1m",
        "riscv32",
    ] = setting(doc="instruction set")
    device: str = setting(doc="default device URL, e.g. 'qemu:'")
    runtimes: Mapping[str, str] = setting(doc="model format -> inference runtime, the preferred one first")
    memory_bytes: int = setting(doc="RAM of the smallest variant in bytes", minimum=1)
    flash_bytes: int | None = setting(
        None, doc="built-in storage in bytes; None: a card or disk of any size", minimum=1
    )
    core: Core | None = setting(None, doc="the core; None: whatever the machine has")
    emulator: Emulator | None = setting(None, doc="how the core is emulated")
    board: Board | None = setting(None, doc="how the board looks to software")
    cost_model: CostModel | None = setting(None, doc="counts -> predicted milliseconds")
    emulates: str | None = setting(
        None,
        doc="a microcontroller board: the machine that runs its firmware; whatever [mcu] leaves out is that machine's",
    )
    mcu: Microcontroller | None = setting(None, doc="a microcontroller: how its firmware is built and emulated")
    port: Mapping[str, str] = setting(
        {}, doc="not written in the file: C, assembly and linker files beside the machine's profile, by name"
    )
    silicon: Microcontroller | None = setting(
        None, doc="a microcontroller board's own chip; what it leaves out is [mcu]'s, and its machine is the board"
    )
    silicon_port: Mapping[str, str] = setting({}, doc="not written in the file: the files beside the board's profile")
    flashing: Flashing | None = setting(None, doc="a microcontroller board: how firmware gets onto it")
    budgets: Mapping[str, Any] = setting({}, doc="limits on resources that hold where the project states none")
    energy_model: EnergyModel | None = setting(None, doc="predicted milliseconds -> predicted joules")

    @property
    def digest(self) -> str:
        """Changes with anything in the profile that can change a reading: so not with its default budgets, nor with
        its energy model, which nothing but a prediction passes through.
        """
        plain = write_record(replace(self, budgets={}))
        del plain["energy_model"]
        return sha256_json(plain)
