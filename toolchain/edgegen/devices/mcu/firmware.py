"""An exported model and the port of a microcontroller become a firmware: compiled, linked, and its size known."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from edgegen.core.c_model import CModel
from edgegen.core.digests import sha256_file, sha256_json, sha256_tree
from edgegen.core.errors import BudgetError, BuildError, TargetError, ToolMissingError
from edgegen.core.share import share_dir
from edgegen.core.targets import SYSTEM_OF_ISA, Microcontroller, TargetProfile
from edgegen.devices.mcu import guard as guarding
from edgegen.devices.mcu.compiler import Compiler
from edgegen.devices.mcu.elf import Footprint, read_footprint
from edgegen.devices.mcu.glue import glue, nothing
from edgegen.devices.mcu.guard import Guard
from edgegen.devices.mcu.interface import SELF_TEST, SOURCES, read_interface
from edgegen.devices.mcu.wiring import wiring_of, wiring_text

Preset = Literal["speed", "size"]

BAUD = 115_200
_LEAST_STACK_BYTES = 1024
_TIMEOUT_S = 600.0
_PORT = ("board", "crc32", "extension", "fault", "firmware", "protocol", "stack", "text", "timing")
_START_AND_COUNTER = {"arm": ("start_arm.S", "counter_arm.c"), "riscv32": ("start_riscv.S", "counter_riscv.c")}
_COMMON = ("-std=gnu99", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fno-math-errno")
_OPTIMIZE: Mapping[Preset, tuple[str, ...]] = {"speed": ("-O3",), "size": ("-O2", "-DEG_PRESET_SIZE")}
_OVERFLOW = re.compile(r"region `(FLASH|RAM)' overflowed by (\d+) bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A linked firmware."""

    elf: Path
    model: CModel
    digest: str  # of the model's sources, as the firmware tells it
    footprint: Footprint
    harness: Footprint  # of the same firmware round a model that does nothing

    @property
    def flash_bytes(self) -> int:
        """What the model adds to a firmware: its code, its kernels and its constants."""
        return self.footprint.flash_bytes - self.harness.flash_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Memory that a firmware may take."""

    flash_bytes: int
    ram_bytes: int


def limits_of(profile: TargetProfile, mcu: Microcontroller) -> Limits:
    """The board's memory, or the emulated machine's where that has less."""
    return Limits(
        flash_bytes=min(profile.flash_bytes or mcu.flash_bytes, mcu.flash_bytes),
        ram_bytes=min(profile.memory_bytes, mcu.ram_bytes),
    )


def port_digest() -> str:
    """Changes with any source of the firmware round the model."""
    return sha256_tree(share_dir("runtimes") / "mcu" / "port", (".c", ".h", ".S", ".in"))


def model_digest(folder: Path) -> str:
    """Of an exported model's sources."""
    return sha256_json({name: sha256_file(folder / name) for name in SOURCES})[:32]


def build_firmware(
    profile: TargetProfile,
    compiler: Compiler,
    sources: Path,
    work: Path,
    *,
    preset: Preset = "speed",
    profiled: bool = False,
    silicon: bool = False,
    guard: Guard | None = None,
) -> Firmware:
    """Compiles and links a firmware for the machine of ``profile``, or for its board's own chip.

    Args:
        sources: folder with the exported model.
        work: empty folder; the ELF file and the link map stay there.
        profiled: the model tells the end of every operator; costs a few instructions each.
        silicon: for the board's own memory map, clock and serial port instead of the emulated machine's.
        guard: at boot the firmware checks the model's signature and golden vectors, which count as the model's flash.

    Raises:
        BudgetError: it does not fit the flash or the RAM.
        BuildError: the sources do not compile.
        ToolMissingError: the compiler does not run.
        TargetError: the profile does not know its own chip.
    """
    mcu = profile.silicon if silicon else profile.mcu
    if mcu is None:
        raise TargetError(
            "the profile does not say how its own chip is started",
            where=profile.name,
            expected="a table [silicon] with memory map and serial port, and eg_board.c beside it",
            next_step="link the model's c-library into a firmware of yours and flash that",
        )
    model, digest = read_interface(sources), model_digest(sources)
    build = _Build(profile, mcu, compiler, work, silicon=silicon, guarded=guard is not None)
    counting = (f"-DEG_PROFILED_OPERATORS={max(len(model.operators), 1)}",) if profiled else ()
    floats = ("-DEG_FLOAT_OUTPUTS",) if any(tensor.dtype == "float32" for tensor in model.outputs) else ()
    wiring = wiring_of(model)
    speech = () if wiring is None else ("-DEG_GENERATION",)
    port = build.port((*counting, *floats, *speech), "port")
    port += [] if wiring is None else build.speech(wiring_text(wiring))
    harness = build.link("harness", port, [build.compile("nothing", build.write("nothing.c", nothing()), ())])
    checks = [] if guard is None else build.guard(guard, model.name, sources)
    text = glue(model, digest) + ("" if guard is None else guarding.arena_text())
    glued = build.compile("glue", build.write("glue.c", text), ("-I", str(sources), *build.verifier_includes))
    telling = ("-DEG_PROFILE=eg_profile",) if profiled else ()
    compiled = build.compile("model", sources / "model.c", (*_OPTIMIZE[preset], "-I", str(sources), *telling))
    elf = build.link("firmware", port, [glued, compiled, *checks])
    if guard is not None:
        guarding.seal(elf, guard)
    return Firmware(
        elf=elf,
        model=model,
        digest=digest,
        footprint=read_footprint(elf),
        harness=read_footprint(harness),
    )


class _Build:
    """Runs the compiler in a folder of its own."""

    def __init__(
        self,
        profile: TargetProfile,
        mcu: Microcontroller,
        compiler: Compiler,
        work: Path,
        *,
        silicon: bool,
        guarded: bool = False,
    ) -> None:
        self._profile, self._mcu, self._compiler, self._work = profile, mcu, compiler, work
        mcu_dir = share_dir("runtimes") / "mcu"
        self._port, self._verifier = mcu_dir / "port", mcu_dir / "src"
        self.verifier_includes = ("-I", str(mcu_dir / "include"))
        self._guarded = guarded
        self._silicon, files = silicon, profile.silicon_port if silicon else profile.port
        (work / "own").mkdir()
        self._own = {name: self.write(f"own/{name}", text) for name, text in files.items()}
        self._script = self._write_script()

    def write(self, name: str, text: str) -> Path:
        path = self._work / name
        path.write_text(text, encoding="utf-8")
        return path

    def port(self, more: Sequence[str], prefix: str) -> list[Path]:
        """Objects of the port: the machine's own files where it has some of a name, else the shared ones."""
        names = [f"eg_{part}.c" for part in _PORT]
        names += [f"eg_{part}" for part in _START_AND_COUNTER[SYSTEM_OF_ISA[self._profile.isa]]]
        names += [f"eg_uart_{self._mcu.uart}.c"]
        names += [name for name in self._own if name.endswith((".c", ".S")) and name not in names]
        missing = [name for name in names if name not in self._own and not (self._port / name).is_file()]
        if missing:
            raise TargetError(
                "the port has no such file",
                where=self._profile.name,
                got=", ".join(missing),
                expected="one of runtimes/mcu/port, or of the target's own folder",
            )
        # The harness is never what is measured, so it is always as small as it can be.
        flags = ("-Os", *self._constants(), *more)
        return [
            self.compile(f"{prefix}-{name.rsplit('.', 1)[0]}", self._own.get(name, self._port / name), flags)
            for name in names
        ]

    def speech(self, wiring: str) -> list[Path]:
        """Objects that keep the memory of a model of sequences."""
        parts = [self._port / f"eg_{part}.c" for part in ("generation", "speech")]
        flags = ("-Os", "-ffp-contract=off", *self._constants())
        return [self.compile(path.stem, path, flags) for path in (*parts, self.write("wiring.c", wiring))]

    def guard(self, guard: Guard, name: str, sources: Path) -> list[Path]:
        """Objects that check the model ``name`` at boot."""
        shutil.copyfile(guard.golden, self._work / SELF_TEST)
        includes = ("-Os", *self.verifier_includes, "-I", str(sources), "-I", str(self._work))
        written = {"golden": guarding.golden_text(name), "key": guarding.key_text(guard.key)}
        paths = {part: self.write(f"{part}.c", text) for part, text in written.items()}
        paths |= {f"guard-{part}": self._port / f"eg_{part}.c" for part in guarding.PORT}
        paths |= {f"guard-{part}": self._verifier / f"eg_{part}.c" for part in guarding.VERIFIER}
        return [self.compile(name, path, includes) for name, path in paths.items()]

    def compile(self, name: str, source: Path, more: Sequence[str]) -> Path:
        target = self._work / f"{name}.o"
        self._run(
            [*self._mcu.flags, *_COMMON, "-I", str(self._port), *more, "-c", "-o", str(target), str(source)],
            f"{source.name} does not compile",
        )
        return target

    def link(self, name: str, port: Sequence[Path], model: Sequence[Path]) -> Path:
        target = self._work / f"{name}.elf"
        self._run(
            [
                *(*self._mcu.flags, "-nostartfiles", "-T", str(self._script), "-Wl,--gc-sections"),
                *(f"-Wl,-Map={self._work / name}.map", "-Wl,--no-warn-rwx-segments", "-o", str(target)),
                *map(str, (*port, *model)),
                "-lm",
            ],
            "the firmware cannot be linked",
        )
        return target

    def _constants(self) -> tuple[str, ...]:
        mcu = self._mcu
        return (
            f"-DEG_UART_ADDRESS={mcu.uart_address:#x}u",
            f"-DEG_UART_HZ={round(mcu.uart_hz)}u",
            f"-DEG_UART_BAUD={BAUD}u",
            f"-DEG_COUNTER_HZ={round(mcu.counter_hz)}u",
            f'-DEG_MACHINE="{mcu.machine}"',
            *(() if self._silicon else ("-DEG_EMULATED",)),
        )

    def _write_script(self) -> Path:
        template = self._own.get("link.ld.in", self._port / "link.ld.in").read_text(encoding="utf-8")
        limits = limits_of(self._profile, self._mcu)
        return self.write(
            "link.ld",
            Template(template).substitute(
                flash_address=f"{self._mcu.flash_address:#x}",
                flash_bytes=limits.flash_bytes,
                ram_address=f"{self._mcu.ram_address:#x}",
                ram_bytes=limits.ram_bytes // 16 * 16,
                least_stack_bytes=guarding.STACK_BYTES if self._guarded else _LEAST_STACK_BYTES,
                guarded=guarding.linked() if self._guarded else "",
            ),
        )

    def _run(self, arguments: Sequence[str], what: str) -> None:
        command = [self._compiler.program, *self._compiler.flags, *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self._work,
                env=dict(self._compiler.env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolMissingError(f"{what}: no end after {_TIMEOUT_S:.0f} s", where=self._profile.name) from error
        except OSError as error:
            raise ToolMissingError("the cross compiler does not start", where=command[0], got=error) from error
        if done.returncode != 0:
            raise self._failure(what, done.stderr)

    def _failure(self, what: str, said: str) -> BudgetError | BuildError:
        over = {region: int(count) for region, count in _OVERFLOW.findall(said)}
        if not over:
            lines = [line for line in said.splitlines() if "error" in line or "undefined" in line]
            return BuildError(
                what, where=f"{self._profile.name}, gcc {self._compiler.version}", got="; ".join(lines[:4])
            )
        limits = limits_of(self._profile, self._mcu)
        sizes = {"FLASH": limits.flash_bytes, "RAM": limits.ram_bytes}
        told = [f"{over[region]:,} bytes more {region} than its {sizes[region]:,}" for region in over]
        return BudgetError(
            "the firmware does not fit the device",
            where=self._profile.name,
            got=" and ".join(told),
            expected=f"at most {limits.flash_bytes:,} bytes of flash and {limits.ram_bytes:,} of RAM",
            next_step="a smaller model, weights of fewer bits, the preset `size`, or a device with more memory",
        )
