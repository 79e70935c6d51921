"""Runs lowered nodes on emulated cores: the program of ``mcu_host`` on bare metal under QEMU, output by semihosting.

Nothing of the product's firmware takes part, so that a kernel's bytes and counts do not hang on it.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.export.c.emit import emit
from edgegen.export.c.graph import Graph
from edgegen.export.c.lowered import Isa
from edgegen.export.c.merge import merged
from edgegen.export.c.reference import run as reference_run
from support.mcu_bare_metal import ARM, LINK, NETWORK, RISCV, SEMIHOSTING
from support.mcu_host import INCLUDE, WARNINGS, Case, Preset, outputs_of, program_text
from support.mcu_tools import mcu_tools

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An emulated board, as far as a test needs it."""

    target: str  # whose tools it is built and run with
    machine: tuple[str, ...]  # as QEMU is told it
    core: tuple[str, ...]
    isa: Isa
    rom: tuple[int, int]  # start, bytes
    ram: tuple[int, int]
    tick_hz: int  # of SysTick; 0: RISC-V, which counts instructions itself


def _mps2(machine: str, isa: Isa, *core: str) -> Machine:
    return Machine(
        target=machine,
        machine=("-M", machine),
        core=(*core, "-mthumb"),
        isa=isa,
        rom=(0, 4 << 20),
        ram=(0x20000000, 4 << 20),
        tick_hz=25_000_000,
    )


MACHINES: dict[str, Machine] = {
    "m3": _mps2("mps2-an385", "c", "-mcpu=cortex-m3"),
    "m4": _mps2("mps2-an386", "dsp", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    "m7": _mps2("mps2-an500", "dsp", "-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    "m33": Machine(
        target="mps2-an505",
        machine=("-M", "mps2-an505"),
        core=("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        isa="dsp",
        rom=(0x10000000, 4 << 20),
        ram=(0x38000000, 4 << 20),
        tick_hz=20_000_000,
    ),
    "m55": Machine(
        target="mps3-an547",
        machine=("-M", "mps3-an547"),
        core=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
        isa="mve",
        rom=(0x10000000, 512 << 10),
        ram=(0x30000000, 512 << 10),
        tick_hz=32_000_000,
    ),
    "rv32": Machine(
        target="riscv32-virt",
        machine=("-M", "virt", "-bios", "none"),
        core=("-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2"),
        isa="c",
        rom=(0x80000000, 4 << 20),
        ram=(0x80400000, 4 << 20),
        tick_hz=0,
    ),
}
"""Short name -> machine. Clocks and addresses: QEMU 7.2."""


def run_cases(
    cases: Sequence[Case], machine: str, folder: Path, *, preset: Preset = "speed", options: Sequence[str] = ()
) -> list[list[Array]]:
    """Outputs of the cases on an emulated core. Skips where a tool is missing; fails then in CI."""
    return outputs_of(cases, run(program_text(cases, MACHINES[machine].isa), machine, folder, preset, options))


def count_cases(
    cases: Sequence[Case],
    machine: str,
    folder: Path,
    *,
    preset: Preset = "speed",
    isa: Isa | None = None,
    options: Sequence[str] = (),
) -> list[int]:
    """Instructions (emulated) of each case, its call and its kernel, exact to two."""
    chosen = MACHINES[machine]
    text = program_text(cases, isa or chosen.isa, blank=True).replace("eg_put(", "eg_drop(")
    runs = "".join(f"before = eg_ticks(); run_{i}(); eg_note(eg_ticks() - before);" for i in range(len(cases)))
    text = text.replace(
        "int main(void) { run_all(); return 0; }", f"int main(void) {{ uint32_t before; {runs} return 0; }}"
    )
    text = text.replace("static void run_all", "static __attribute__((unused)) void run_all")
    text = text.replace("static void run_", "static __attribute__((noinline)) void run_")
    raw = run(text, machine, folder, preset, options)
    ticks = struct.unpack(f"<{len(cases)}I", raw)
    return [_instructions(tick, chosen) for tick in ticks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One inference of a whole network on an emulated core."""

    instructions: int
    per_operator: tuple[int, ...]  # in the order of ``kinds``; their sum is up to 3 % above, for the reading of ticks
    kinds: tuple[str, ...]
    macs: int
    code_bytes: int  # kernels and the calls of them, without weights
    constant_bytes: int
    arena_bytes: int
    arena_lower_bound_bytes: int


def count_network(graph: Graph, machine: str, folder: Path, *, preset: Preset = "speed") -> Counted:
    """Compiles a graph with the product's own generator and counts one inference.

    Raises:
        AssertionError: the outputs are not the reference's; a count of something else would mean nothing.
    """
    chosen = MACHINES[machine]
    graph = merged(graph, chosen.isa)
    made = emit(graph, chosen.isa)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.h").write_text(made.header, encoding="utf-8")
    (folder / "eg_kernels.h").write_text(made.kernels, encoding="utf-8")
    (folder / "model.c").write_text(made.source, encoding="utf-8")
    told = made.interface
    sizes = [sum(-(-tensor.bytes // 4) * 4 for tensor in each) for each in (told.inputs, told.outputs)]
    main = f"#define EG_OPERATORS {len(told.operators)}u\n" + NETWORK.format(
        name=graph.name, arena=told.arena_bytes or 1, read=sizes[0], made=sizes[1]
    )
    model = ["-x", "c", str(folder / "model.c"), f"-I{folder}"]
    raw = run(main, machine, folder, preset, [*model])
    profiled = run(main, machine, folder, preset, [*model, "-DEG_PROFILE=eg_profile"])
    places = len(told.operators)
    numbers = struct.unpack(f"<{places + 1}I", profiled[: 4 * places + 4])
    total = struct.unpack(f"<{places + 1}I", raw[: 4 * places + 4])[places]
    _assert_right(graph, raw[4 * places + 4 :])
    compiled = folder / "model.o"
    _build(chosen, preset, ["-c", str(folder / "model.c"), "-o", str(compiled)])
    return Counted(
        instructions=_instructions(total, chosen),
        per_operator=tuple(_instructions(ticks, chosen) for ticks in numbers[:places]),
        kinds=tuple(each.kind for each in told.operators),
        macs=sum(each.macs for each in told.operators),
        code_bytes=_text_bytes(compiled, chosen),
        constant_bytes=told.constant_bytes,
        arena_bytes=told.arena_bytes,
        arena_lower_bound_bytes=told.arena_lower_bound_bytes,
    )


def _assert_right(graph: Graph, out: bytes) -> None:
    """Compares the outputs of a graph of int8 inputs with the reference's on the same made-up inputs."""
    at, inputs = 0, {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        inputs[name] = (
            ((np.arange(at, at + tensor.elements) * 37 + 11) % 256 - 128).astype(np.int8).reshape(tensor.shape)
        )
        at += -(-tensor.elements // 4) * 4
    wanted = reference_run(graph, inputs)
    at = 0
    for name in graph.outputs:
        raw = wanted[name].tobytes()
        assert out[at : at + len(raw)] == raw, f"output {name} of {graph.name} differs from the reference"
        at += -(-len(raw) // 4) * 4


def run(text: str, machine: str, folder: Path, preset: Preset, options: Sequence[str] = ()) -> bytes:
    """What a program (as ``mcu_host.program_text`` writes it) hands to ``eg_put`` on a core."""
    chosen = MACHINES[machine]
    qemu = mcu_tools(chosen.target).qemu
    folder.mkdir(parents=True, exist_ok=True)
    source, script, program = folder / "cases.c", folder / "link.ld", folder / "cases.elf"
    source.write_text((ARM if chosen.tick_hz else RISCV) + SEMIHOSTING + text, encoding="ascii")
    (rom, rom_bytes), (ram, ram_bytes) = chosen.rom, chosen.ram
    script.write_text(LINK.format(rom=rom, rom_bytes=rom_bytes, ram=ram, ram_bytes=ram_bytes), encoding="ascii")
    _build(chosen, preset, ["-T", str(script), str(source), *options, "-o", str(program), "-lc", "-lgcc"])
    emulated = subprocess.run(
        # A SysTick of 25 MHz sees single instructions when each takes 64 ns; RISC-V's minstret counts by itself.
        [
            *(qemu.program, *chosen.machine, *_QUIET),
            *("-icount", f"shift={6 if chosen.tick_hz else 0},sleep=off", "-kernel", str(program)),
        ],
        env=dict(qemu.env),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert emulated.returncode == 0, f"{emulated.stderr.decode(errors='replace')[:2000]}, exit {emulated.returncode}"
    return emulated.stdout


def _build(chosen: Machine, preset: Preset, arguments: Sequence[str]) -> None:
    preset_options = ["-O2", "-DEG_PRESET_SIZE"] if preset == "size" else ["-O3"]
    compiler = mcu_tools(chosen.target).compiler
    command = [compiler.program, *chosen.core, *compiler.flags, *preset_options, *WARNINGS, f"-I{INCLUDE}"]
    command += ["-nostartfiles"]
    command += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", *arguments]
    built = subprocess.run(command, capture_output=True, timeout=600, check=False, env=dict(compiler.env))
    assert built.returncode == 0, built.stderr.decode(errors="replace")[:6000]


def _instructions(ticks: int, chosen: Machine) -> int:
    return round(ticks * (1e9 / chosen.tick_hz) / 64) if chosen.tick_hz else ticks


def _text_bytes(compiled: Path, chosen: Machine) -> int:
    """Bytes of code in an object file."""
    compiler = mcu_tools(chosen.target).compiler
    command = [compiler.program.removesuffix("gcc") + "size", "-A", str(compiled)]
    told = subprocess.run(command, capture_output=True, timeout=60, check=True, env=dict(compiler.env)).stdout.decode()
    rows = (line.split() for line in told.splitlines())
    return sum(int(row[1]) for row in rows if len(row) == 3 and row[0].startswith(".text"))


_QUIET = (
    *("-nographic", "-monitor", "none", "-serial", "none"),
    *("-semihosting-config", "enable=on,target=native"),
)
