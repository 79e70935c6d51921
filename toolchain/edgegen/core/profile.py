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

BASES = {"instructions": INSTRUCTION_CLASSES, "work": WORK_CLASSES}
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
    basis: Literal["instructions", "work"] = setting(
        "instructions", doc="what is priced: counted instructions by class, or the work that the file itself tells of"
    )
    stream_bytes_per_s: float | None = setting(
        None, doc="bytes a second at which weights come from memory; None: not known", minimum=1
    )
    stream_origin: str = setting("", doc="what that rate was taken from")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProfile:
    """A named device: its instruction set, how a build for it is executed, and what its numbers mean."""

    schema_version: Literal[1] = setting(doc="format of this file")
    name: str = setting(doc="the target's name")
    title: str = setting(doc="what a person calls the device")
    isa: Literal["aarch64", "armv7l", "riscv64", "x86_64", "null"] = setting(doc="instruction set")
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
    budgets: Mapping[str, Any] = setting({}, doc="limits on resources that hold where the project states none")

    @property
    def digest(self) -> str:
        """Changes with anything in the profile that can change a reading: so not with its default budgets."""
        return sha256_json(write_record(replace(self, budgets={})))
