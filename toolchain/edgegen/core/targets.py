"""Target profiles: a device as data, read from ``targets/<name>/target.toml``.

Those that ship come with edgegen; a project may hold profiles of its own in a folder ``targets`` beside its project
file. Whatever is in those files may come from anywhere, so it is bounded and checked before it is used.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.budgets import read_budgets
from edgegen.core.errors import TargetError
from edgegen.core.lazy import nearest
from edgegen.core.profile import (
    BASES,
    INSTRUCTION_CLASSES,
    SYSTEM_OF_ISA,
    WORK_CLASSES,
    Board,
    Core,
    CostModel,
    Emulator,
    EnergyModel,
    Flashing,
    Microcontroller,
    TargetProfile,
)
from edgegen.core.records import read_record
from edgegen.core.share import share_dir

__all__ = [
    "INSTRUCTION_CLASSES",
    "SYSTEM_OF_ISA",
    "TARGET_NAME",
    "WORK_CLASSES",
    "Board",
    "Core",
    "CostModel",
    "Emulator",
    "EnergyModel",
    "Flashing",
    "Microcontroller",
    "TargetProfile",
    "alias_of",
    "load_target",
    "own_target_names",
    "target_names",
]

PROFILE_FILE = "target.toml"
TARGET_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_CPU = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME = re.compile(r"[a-z0-9_]{1,32}")
# A flag of another kind could make the compiler load a plugin, run a program or read any file.
_CORE_FLAG = re.compile(r"-m[a-z0-9][a-z0-9.=+_-]{0,60}")
_TOOL_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}")
_MAX_FILE_BYTES = 1 << 16
_MAX_OWN = 200
_MAX_ITEMS, _MAX_TEXT = 200, 400
_SYSTEM_ISA = {"aarch64": "aarch64", "arm": "armv7l", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alias:
    schema_version: Literal[1]
    alias: str


def target_names(project: Path | None = None) -> list[str]:
    """Names of all targets, aliases included, sorted.

    Args:
        project: folder of a project, whose own profiles are listed too.
    """
    return sorted({*_shipped(), *own_target_names(project)})


def own_target_names(project: Path | None) -> list[str]:
    """Names of the profiles in the project's own ``targets/``, sorted; not of files that repeat a shipped one.

    Raises:
        TargetError: more than 200, or a folder whose name no target can have.
    """
    folder = _own_folder(project)
    if folder is None:
        return []
    names = sorted(path.parent.name for path in folder.glob(f"*/{PROFILE_FILE}"))
    if len(names) > _MAX_OWN:
        raise TargetError("too many target profiles", where=str(folder), got=len(names), expected=f"at most {_MAX_OWN}")
    for name in names:
        if not TARGET_NAME.fullmatch(name):
            raise TargetError(
                "not a target's name",
                where=str(folder),
                got=repr(name),
                expected="lower-case letters, digits, '.', '_' and '-', at most 64",
                next_step="rename the folder, and `name` in its target.toml",
            )
    return [name for name in names if not _repeats(folder / name / PROFILE_FILE, name)]


def alias_of(name: str, project: Path | None = None) -> str | None:
    """The target that ``name`` is another name for, or None."""
    path, source = _profile_path(name, project)
    table = _parse(path)
    return read_record(_Alias, table, "", source).alias if "alias" in table else None


def load_target(name: str, project: Path | None = None) -> TargetProfile:
    """The profile of ``name``; an alias gives the profile it stands for.

    Args:
        project: folder of a project, whose own profiles are found too.

    Raises:
        TargetError: unknown name (with the nearest), a profile that contradicts itself, or one of the project's own
            that takes the name of a shipped one.
        UsageError: a profile that cannot be read.
    """
    resolved = alias_of(name, project) or name
    path, source = _profile_path(resolved, project)
    profile = read_record(TargetProfile, _with_machine(_parse(path), path.parent, project, source), "", source)
    if profile.name != resolved:
        raise TargetError(
            "the profile has another name than its folder", where=source, got=profile.name, expected=resolved
        )
    _check(profile, source)
    return profile


def _with_machine(table: dict[str, object], folder: Path, project: Path | None, source: str) -> dict[str, object]:
    """The table of a microcontroller with the files beside it, and with what its ``[mcu]`` leaves out filled from the
    machine that it emulates.
    """
    machine, own, chip = table.get("emulates"), table.get("mcu", {}), table.get("silicon")
    if "port" in table or "silicon_port" in table:
        raise TargetError("files of a port are not written in the profile", where=source, expected="files beside it")
    if not isinstance(own, dict) or not (machine is None or isinstance(machine, str)):
        return table
    if machine is None:
        return {**table, "port": _port_files(folder)} if own else table
    path, source_of_theirs = _profile_path(machine, project)
    theirs = _parse(path)
    if not isinstance(theirs.get("mcu"), dict) or "emulates" in theirs:
        raise TargetError(
            "what a board emulates must be a machine",
            where=source,
            got=f"emulates = {machine!r}",
            expected=f"a profile with an [mcu] of its own; {source_of_theirs} has none",
        )
    mcu: dict[str, object] = theirs["mcu"]  # type: ignore[assignment]
    whole = {
        **table,
        "mcu": {**mcu, **own},
        "port": _port_files(path.parent),
        "silicon_port": _port_files(folder),
    }
    # A chip's firmware names the board, so that nobody takes it for one of the emulated machine.
    name = {"machine": table.get("name")}
    return {**whole, "silicon": {**mcu, **own, **name, **chip}} if isinstance(chip, dict) else whole


def _port_files(folder: Path) -> dict[str, str]:
    """Text of a folder's C, assembly and linker files by name."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".c", ".h", ".S", ".in"):
            try:
                found[path.name] = _read(path).decode("utf-8")
            except UnicodeDecodeError as error:
                raise TargetError("a file beside a profile is no text", where=str(path), got=error) from error
    if len(found) > _MAX_ITEMS:
        raise TargetError("too many files beside a profile", got=len(found), expected=f"at most {_MAX_ITEMS}")
    return found


def _shipped() -> list[str]:
    return sorted(path.parent.name for path in share_dir("targets").glob(f"*/{PROFILE_FILE}"))


def _own_folder(project: Path | None) -> Path | None:
    """The project's ``targets`` folder; None where there is none, or where it is the one that ships (a checkout)."""
    folder = None if project is None else project / "targets"
    if folder is None or not folder.is_dir() or folder.samefile(share_dir("targets")):
        return None
    return folder


def _repeats(path: Path, name: str) -> bool:
    """Whether a project's file is a mere copy of the shipped one (as in another checkout of edgegen)."""
    shipped = share_dir("targets") / name / PROFILE_FILE
    return name in _shipped() and _read(path) == _read(shipped)


def _profile_path(name: str, project: Path | None) -> tuple[Path, str]:
    """The file, and what errors call it."""
    own, shipped = own_target_names(project), _shipped()
    if name in own:
        assert project is not None
        path = project / "targets" / name / PROFILE_FILE
        if name in shipped:
            raise TargetError(
                "a profile of the project takes the name of one that ships",
                where=str(path),
                got=name,
                expected="a name of its own: figures for a known name mean the known device",
                next_step="rename the folder, and `name` in the file",
            )
        return path, str(path)
    if name not in shipped:
        known = sorted({*own, *shipped})
        raise TargetError(
            f"unknown target {name!r}",
            expected=f"one of {', '.join(known)}{nearest(name, known)}",
            next_step="edgegen targets lists them with what they are",
        )
    return share_dir("targets") / name / PROFILE_FILE, f"targets/{name}/{PROFILE_FILE}"


def _read(path: Path) -> bytes:
    """The file's bytes: a plain file of bounded size that lies where it seems to lie."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise TargetError("a target profile must be a plain file in a plain folder", where=str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TargetError("the target profile cannot be read", where=str(path), got=error.strerror) from error
    if len(data) > _MAX_FILE_BYTES:
        raise TargetError(
            "the target profile is too large", where=str(path), expected=f"at most {_MAX_FILE_BYTES} bytes"
        )
    return data


def _parse(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(_read(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError("the target profile is not TOML", where=str(path), got=error) from error
    except RecursionError as error:
        raise TargetError("the target profile is nested too deeply", where=str(path)) from error


def _check(profile: TargetProfile, where: str) -> None:
    _check_texts(profile, where)
    emulator = profile.emulator
    if emulator is not None and emulator.cpu == "max":
        raise TargetError(
            "the emulated core 'max' is refused",
            where=where,
            got="cpu = 'max'",
            expected="the board's own core: 'max' has instructions that no such board has, and picks other kernels",
        )
    if emulator is not None and not _CPU.fullmatch(emulator.cpu):
        raise TargetError("not the name of a core", where=where, got=repr(emulator.cpu), expected="as QEMU names it")
    if emulator is not None and _SYSTEM_ISA[emulator.system] != profile.isa:
        raise TargetError(
            "the emulator is of another instruction set than the target",
            where=where,
            got=f"system = {emulator.system!r} and isa = {profile.isa!r}",
            expected=f"isa = {_SYSTEM_ISA[emulator.system]!r}",
        )
    if profile.mcu is not None:
        _check_mcu(profile, profile.mcu, where)
        if profile.silicon is not None:
            _check_mcu(profile, profile.silicon, where)
    elif profile.isa in SYSTEM_OF_ISA or profile.emulates or profile.flashing or profile.silicon:
        raise TargetError("a microcontroller needs [mcu], or a machine that it emulates", where=where)
    elif profile.device.startswith("qemu:") and (emulator is None or profile.board is None):
        raise TargetError("a qemu: target needs [emulator] and [board]", where=where)
    if emulator is not None and profile.board is not None:
        told = (
            profile.board.isa_line if emulator.system == "riscv64" else profile.board.implementer and profile.board.part
        )
        if not told:
            raise TargetError(
                "the board does not say what its core is",
                where=f"{where}, [board]",
                expected="isa_line of a RISC-V board, implementer and part of an Arm one, as /proc/cpuinfo has them",
            )
    if not profile.runtimes:
        raise TargetError("a target needs a runtime", where=where, expected="[runtimes] format = 'runtime'")
    if profile.cost_model is not None:
        _check_cost_model(profile.cost_model, where)
    if profile.energy_model is not None:
        _check_energy_model(profile.energy_model, where)
    read_budgets(profile.budgets, {}, "budgets", where)


def _check_mcu(profile: TargetProfile, mcu: Microcontroller, where: str) -> None:
    words = {
        "machine": (mcu.machine, _CPU),
        "uart": (mcu.uart, _NAME),
        **{f"flags[{index}]": (flag, _CORE_FLAG) for index, flag in enumerate(mcu.flags)},
        **({"cpu": (mcu.cpu, _CPU)} if mcu.cpu else {}),
        **_words_of_flashing(profile.flashing),
    }
    for name, (text, allowed) in words.items():
        if not allowed.fullmatch(text):
            raise TargetError(
                f"not usable as {name}", where=f"{where}, [mcu]", got=repr(text[:60]), expected=allowed.pattern
            )
    if profile.isa not in SYSTEM_OF_ISA or profile.emulator is not None or profile.board is not None:
        raise TargetError(
            "a microcontroller has [mcu] and neither [emulator] nor [board]",
            where=where,
            got=f"isa = {profile.isa!r}",
            expected=f"isa one of {', '.join(SYSTEM_OF_ISA)}",
        )
    if profile.flash_bytes is None or len(mcu.flags) > _MAX_ITEMS:
        raise TargetError("a microcontroller says how much flash it has", where=where, expected="flash_bytes")


def _words_of_flashing(flashing: Flashing | None) -> dict[str, tuple[str, re.Pattern[str]]]:
    if flashing is None:
        return {}
    interface = {"flashing.interface": (flashing.interface, _TOOL_WORD)} if flashing.interface else {}
    return {"flashing.chip": (flashing.chip, _TOOL_WORD), **interface}


def _check_texts(profile: TargetProfile, where: str) -> None:
    board, core = profile.board, profile.core
    features = (*(board.features if board else ()), *(core.features if core else ()))
    texts: Iterable[str] = (
        *(profile.title, profile.device, *profile.runtimes, *profile.runtimes.values(), *features),
        *((board.implementer, board.part, board.variant, board.isa_line) if board else ()),
        *((core.name,) if core else ()),
        *((profile.mcu.note,) if profile.mcu else ()),
        *((profile.cost_model.origin, profile.cost_model.stream_origin) if profile.cost_model else ()),
        *((profile.energy_model.origin,) if profile.energy_model else ()),
    )
    for text in texts:
        if len(text) > _MAX_TEXT or not text.isprintable():
            raise TargetError(
                "a text of the target profile is not usable",
                where=where,
                got=repr(text[:60]),
                expected=f"at most {_MAX_TEXT} printable characters",
            )
    if len(features) > _MAX_ITEMS or len(profile.runtimes) > _MAX_ITEMS:
        raise TargetError("the target profile lists too much", where=where, expected=f"at most {_MAX_ITEMS} entries")


def _check_cost_model(model: CostModel, where: str) -> None:
    classes = BASES[model.basis]
    missing = set(classes) ^ set(model.cycles)
    if missing:
        raise TargetError(
            "the cost model must price every class of its basis and no other",
            where=where,
            got=f"missing or unknown: {', '.join(sorted(missing))[:_MAX_TEXT]}",
            expected=", ".join(classes),
        )
    numbers = (*model.cycles.values(), model.frequency_hz, model.high_ratio, model.stream_bytes_per_s or 0.0)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise TargetError("the cost model holds a number that is no price", where=where, expected="finite, 0 or more")


def _check_energy_model(model: EnergyModel, where: str) -> None:
    if not model.origin.strip():
        raise TargetError(
            "the energy model does not say what its watts were taken from",
            where=f"{where}, [energy_model]",
            got="an empty origin",
            expected="origin = a sentence: the meter, what its supply fed, the models that ran",
        )
    if not model.low_watts <= model.high_watts < math.inf:
        raise TargetError(
            "the energy model's watts are no band",
            where=f"{where}, [energy_model]",
            got=f"low_watts = {model.low_watts:g}, high_watts = {model.high_watts:g}",
            expected="low_watts not above high_watts, both finite",
        )
