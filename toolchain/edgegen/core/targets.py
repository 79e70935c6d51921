"""Target profiles: a device as data, read from ``targets/<name>/target.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.digests import sha256_json
from edgegen.core.errors import TargetError
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, setting, write_record
from edgegen.core.share import share_dir

INSTRUCTION_CLASSES = ("fma", "dot", "mmla", "mlal", "simd", "load_store", "branch", "integer")
"""Every counted instruction is in exactly one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What the emulated board shows of itself under /proc/cpuinfo and /sys/devices/system/cpu."""

    cores: int = setting(doc="number of CPU cores", minimum=1, maximum=1024)
    implementer: str = setting(doc="CPU implementer as /proc/cpuinfo spells it, e.g. 0x41")
    part: str = setting(doc="CPU part, e.g. 0xd08")
    variant: str = setting(doc="CPU variant, e.g. 0x0")
    revision: int = setting(doc="CPU revision", minimum=0)
    features: tuple[str, ...] = setting(doc="the Features line")
    minimum_khz: int = setting(doc="lowest clock in kHz", minimum=1)
    maximum_khz: int = setting(doc="highest clock in kHz", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """How the exact core is emulated."""

    system: Literal["aarch64"] = setting(doc="QEMU's name of the guest architecture")
    cpu: str = setting(doc="QEMU -cpu model; the named core, never max")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Turns counted instructions into predicted milliseconds.

    cycles = sum over classes of count x cycles[class]; milliseconds = 1000 x cycles / frequency_hz. The band is the
    factor below and above within which a measured time is expected.
    """

    origin: str = setting(doc="'uncalibrated', or what the model was fitted on")
    frequency_hz: float = setting(doc="core clock in Hz", minimum=1)
    low_ratio: float = setting(doc="lower end of the band, as a factor", minimum=0, maximum=1)
    high_ratio: float = setting(doc="upper end of the band, as a factor", minimum=1)
    cycles: Mapping[str, float] = setting(doc="cycles per instruction by class")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProfile:
    """A named device: its instruction set, how a build for it is executed, and what its numbers mean."""

    schema_version: Literal[1] = setting(doc="format of this file")
    name: str = setting(doc="the target's name")
    title: str = setting(doc="what a person calls the device")
    isa: Literal["aarch64", "x86_64", "null"] = setting(doc="instruction set")
    device: str = setting(doc="default device URL, e.g. 'qemu:'")
    runtimes: Mapping[str, str] = setting(doc="model format -> inference runtime on this device")
    memory_bytes: int = setting(doc="RAM of the smallest variant in bytes", minimum=1)
    emulator: Emulator | None = setting(None, doc="how the core is emulated")
    board: Board | None = setting(None, doc="how the board looks to software")
    cost_model: CostModel | None = setting(None, doc="counted -> predicted milliseconds")

    @property
    def digest(self) -> str:
        """Changes whenever anything in the profile changes."""
        return sha256_json(write_record(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alias:
    schema_version: Literal[1]
    alias: str


def target_names() -> list[str]:
    """Names of all targets, aliases included, sorted."""
    return sorted(path.parent.name for path in share_dir("targets").glob("*/target.toml"))


def alias_of(name: str) -> str | None:
    """The target that ``name`` is another name for, or None."""
    table = _parse(_profile_path(name))
    return read_record(_Alias, table, "", f"targets/{name}/target.toml").alias if "alias" in table else None


def load_target(name: str) -> TargetProfile:
    """The profile of ``name``; an alias gives the profile it stands for.

    Raises:
        TargetError: unknown name (with the nearest), or a profile that contradicts itself.
        UsageError: a profile that cannot be read.
    """
    resolved = alias_of(name) or name
    profile = read_record(TargetProfile, _parse(_profile_path(resolved)), "", f"targets/{resolved}/target.toml")
    _check(profile)
    return profile


def _profile_path(name: str) -> Path:
    known = target_names()
    if name not in known:
        raise TargetError(
            f"unknown target {name!r}",
            expected=f"one of {', '.join(known)}{nearest(name, known)}",
            next_step="edgegen targets lists them with what they are",
        )
    return share_dir("targets") / name / "target.toml"


def _parse(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError("the target profile is not TOML", where=str(path), got=error) from error


def _check(profile: TargetProfile) -> None:
    where = f"targets/{profile.name}/target.toml"
    if profile.emulator is not None and profile.emulator.cpu == "max":
        raise TargetError(
            "the emulated core 'max' is refused",
            where=where,
            got="cpu = 'max'",
            expected="the board's own core: 'max' has instructions that no such board has, and picks other kernels",
        )
    if profile.device.startswith("qemu:") and (profile.emulator is None or profile.board is None):
        raise TargetError("a qemu: target needs [emulator] and [board]", where=where)
    if profile.cost_model is not None:
        missing = set(INSTRUCTION_CLASSES) ^ set(profile.cost_model.cycles)
        if missing:
            raise TargetError(
                "the cost model must price every instruction class and no other",
                where=where,
                got=f"missing or unknown: {', '.join(sorted(missing))}",
                expected=", ".join(INSTRUCTION_CLASSES),
            )
