"""Runs lowered nodes on emulated cores: the program of ``mcu_host`` on bare metal under QEMU, output by semihosting.

Nothing of the product's firmware takes part, so that a kernel's bytes and counts do not hang on it.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.mcu_host import INCLUDE, WARNINGS, Case, Preset, outputs_of, program_text

from edgegen.export.c.emit import emit
from edgegen.export.c.graph import Graph
from edgegen.export.c.lowered import Isa

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An emulated board, as far as a test needs it."""

    qemu: tuple[str, ...]
    compiler: str
    core: tuple[str, ...]
    isa: Isa
    rom: tuple[int, int]  # start, bytes
    ram: tuple[int, int]
    tick_hz: int  # of SysTick; 0: RISC-V, which counts instructions itself


_GCC = "arm-none-eabi-gcc"
_MPS2 = {"rom": (0, 4 << 20), "ram": (0x20000000, 4 << 20), "tick_hz": 25_000_000, "compiler": _GCC}
MACHINES: dict[str, Machine] = {
    "m3": Machine(qemu=("qemu-system-arm", "-M", "mps2-an385"), core=("-mcpu=cortex-m3", "-mthumb"), isa="c", **_MPS2),
    "m4": Machine(
        qemu=("qemu-system-arm", "-M", "mps2-an386"),
        core=("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        isa="dsp",
        **_MPS2,
    ),
    "m7": Machine(
        qemu=("qemu-system-arm", "-M", "mps2-an500"),
        core=("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        isa="dsp",
        **_MPS2,
    ),
    "m55": Machine(
        qemu=("qemu-system-arm", "-M", "mps3-an547"),
        core=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
        compiler=_GCC,
        isa="mve",
        rom=(0x10000000, 512 << 10),
        ram=(0x30000000, 512 << 10),
        tick_hz=32_000_000,
    ),
    "rv32": Machine(
        qemu=("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
        core=("-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2", "--specs=picolibc.specs"),
        compiler="riscv64-unknown-elf-gcc",
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
    """Compiles a graph with the product's own generator and counts one inference on zeros."""
    chosen = MACHINES[machine]
    made = emit(graph, chosen.isa)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.h").write_text(made.header, encoding="utf-8")
    (folder / "eg_kernels.h").write_text(made.kernels, encoding="utf-8")
    (folder / "model.c").write_text(made.source, encoding="utf-8")
    told = made.interface
    sizes = [sum(-(-tensor.bytes // 4) * 4 for tensor in each) for each in (told.inputs, told.outputs)]
    main = f"#define EG_OPERATORS {len(told.operators)}u\n" + _NETWORK.format(
        name=graph.name, arena=told.arena_bytes or 1, read=sizes[0], made=sizes[1]
    )
    model = ["-x", "c", str(folder / "model.c"), f"-I{folder}"]
    raw = run(main, machine, folder, preset, [*model])
    profiled = run(main, machine, folder, preset, [*model, "-DEG_PROFILE=eg_profile"])
    places = len(told.operators)
    numbers = struct.unpack(f"<{places + 1}I", profiled)
    total = struct.unpack(f"<{places + 1}I", raw)[places]
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


def run(text: str, machine: str, folder: Path, preset: Preset, options: Sequence[str] = ()) -> bytes:
    """What a program (as ``mcu_host.program_text`` writes it) hands to ``eg_put`` on a core."""
    chosen = MACHINES[machine]
    for tool in (chosen.compiler, chosen.qemu[0]):
        if shutil.which(tool) is None:
            message = f"{tool} is missing: apt-get install gcc-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
    folder.mkdir(parents=True, exist_ok=True)
    source, script, program = folder / "cases.c", folder / "link.ld", folder / "cases.elf"
    source.write_text((_ARM if chosen.tick_hz else _RISCV) + _SEMIHOSTING + text, encoding="ascii")
    (rom, rom_bytes), (ram, ram_bytes) = chosen.rom, chosen.ram
    script.write_text(_LINK.format(rom=rom, rom_bytes=rom_bytes, ram=ram, ram_bytes=ram_bytes), encoding="ascii")
    _build(chosen, preset, ["-T", str(script), str(source), *options, "-o", str(program), "-lc", "-lgcc"])
    emulated = subprocess.run(
        # A SysTick of 25 MHz sees single instructions when each takes 64 ns; RISC-V's minstret counts by itself.
        [*chosen.qemu, *_QUIET, "-icount", f"shift={6 if chosen.tick_hz else 0},sleep=off", "-kernel", str(program)],
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert emulated.returncode == 0, f"{emulated.stderr.decode(errors='replace')[:2000]}, exit {emulated.returncode}"
    return emulated.stdout


def _build(chosen: Machine, preset: Preset, arguments: Sequence[str]) -> None:
    preset_options = ["-O2", "-DEG_PRESET_SIZE"] if preset == "size" else ["-O3"]
    command = [chosen.compiler, *chosen.core, *preset_options, *WARNINGS, f"-I{INCLUDE}", "-nostartfiles"]
    command += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", *arguments]
    built = subprocess.run(command, capture_output=True, timeout=600, check=False)
    assert built.returncode == 0, built.stderr.decode(errors="replace")[:6000]


def _instructions(ticks: int, chosen: Machine) -> int:
    return round(ticks * (1e9 / chosen.tick_hz) / 64) if chosen.tick_hz else ticks


def _text_bytes(compiled: Path, chosen: Machine) -> int:
    """Bytes of code in an object file."""
    tool = chosen.compiler.replace("-gcc", "-size")
    told = subprocess.run([tool, "-A", str(compiled)], capture_output=True, timeout=60, check=True).stdout.decode()
    rows = (line.split() for line in told.splitlines())
    return sum(int(row[1]) for row in rows if len(row) == 3 and row[0].startswith(".text"))


_QUIET = (
    *("-nographic", "-monitor", "none", "-serial", "none"),
    *("-semihosting-config", "enable=on,target=native"),
)

_SEMIHOSTING = """
static void eg_put(const void *bytes, size_t count) {
    static uintptr_t handle;
    static const char name[] = ":tt";
    if (handle == 0) {
        uintptr_t open[3] = {(uintptr_t)name, 4u, 3u};
        handle = eg_host(0x01u, open);
    }
    uintptr_t block[3] = {handle, (uintptr_t)bytes, count};
    eg_host(0x05u, block);
}
__attribute__((unused)) static void eg_drop(const void *bytes, size_t count) { (void)bytes; (void)count; }
__attribute__((unused)) static void eg_note(uint32_t number) { eg_put(&number, sizeof number); }
int main(void);
__attribute__((used)) void eg_begin(void) {
    eg_prepare();
    const int status = main();
    uintptr_t block[2] = {0x20026u, (uintptr_t)status}; /* ADP_Stopped_ApplicationExit */
    eg_host(0x20u, block);
    for (;;) {
    }
}
"""

_NETWORK = """
#include "model.h"
#include <string.h>
static int8_t arena[{arena}] __attribute__((aligned(16)));
static int8_t in[{read}] __attribute__((aligned(16)));
static int8_t out[{made}] __attribute__((aligned(16)));
static uint32_t eg_at[128], eg_last;
void eg_profile(int place);
void eg_profile(int place) {{
    const uint32_t now = eg_ticks();
    eg_at[place] = now - eg_last;
    eg_last = eg_ticks();
}}
int main(void) {{
    eg_last = eg_ticks();
    const uint32_t before = eg_last;
    eg_{name}_run(arena, in, out);
    const uint32_t total = eg_ticks() - before;
    eg_put(eg_at, 4u * EG_OPERATORS);
    eg_note(total);
    return 0;
}}
"""

_ARM = """#include <stddef.h>
#include <stdint.h>
extern uint32_t eg_stack_end;
static volatile uint32_t eg_wraps;
static uintptr_t eg_host(uintptr_t operation, void *block) {
    register uintptr_t r0 __asm("r0") = operation;
    register void *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void eg_prepare(void) {
    *(volatile uint32_t *)0xE000E014u = 0xFFFFFFu;
    *(volatile uint32_t *)0xE000E018u = 0;
    *(volatile uint32_t *)0xE000E010u = 7;
}
static void eg_on_tick(void) { eg_wraps++; }
static void eg_fault(void) {
    uintptr_t block[2] = {0x20024u, 1u};
    eg_host(0x20u, block);
}
__attribute__((unused, noinline)) static uint32_t eg_ticks(void) {
    uint32_t wraps, value;
    do {
        wraps = eg_wraps;
        value = *(volatile uint32_t *)0xE000E018u;
    } while (wraps != eg_wraps);
    return wraps * 0x1000000u + (0xFFFFFFu - value);
}
__attribute__((naked, used)) static void eg_reset(void) {
    /* The coprocessors before any C: gcc may use vectors anywhere. */
    __asm volatile("ldr r0, =0xE000ED88\\n ldr r1, [r0]\\n orr r1, r1, #0xF00000\\n str r1, [r0]\\n dsb\\n isb\\n"
                   "bl eg_begin");
}
typedef void (*eg_vector)(void);
__attribute__((section(".vectors"), used)) static const eg_vector eg_vectors[16] = {
    (eg_vector)(uintptr_t)&eg_stack_end, eg_reset, eg_fault, eg_fault, eg_fault, eg_fault, eg_fault, 0, 0, 0, 0,
    eg_fault, eg_fault, 0, eg_fault, eg_on_tick};
"""

_RISCV = """#include <stddef.h>
#include <stdint.h>
static uintptr_t eg_host(uintptr_t operation, void *block) {
    register uintptr_t a0 __asm("a0") = operation;
    register void *a1 __asm("a1") = block;
    __asm volatile(".option push\\n .option norvc\\n .balign 16\\n"
                   "slli x0, x0, 0x1f\\n ebreak\\n srai x0, x0, 7\\n .option pop"
                   : "+r"(a0) : "r"(a1) : "memory");
    return a0;
}
static void eg_prepare(void) {}
__attribute__((unused)) static uint32_t eg_ticks(void) {
    uint32_t count;
    __asm volatile("csrr %0, minstret" : "=r"(count));
    return count;
}
__attribute__((naked, used, section(".vectors"))) void eg_reset(void) {
    __asm volatile("la sp, eg_stack_end\\n call eg_begin");
}
"""

_LINK = """
MEMORY {{
  ROM (rx) : ORIGIN = {rom}, LENGTH = {rom_bytes}
  RAM (rwx) : ORIGIN = {ram}, LENGTH = {ram_bytes}
}}
ENTRY(eg_reset)
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.srodata*) . = ALIGN(8); }} > ROM
  .ARM.exidx : {{ *(.ARM.exidx*) . = ALIGN(8); }} > ROM
  /* Loaded where it runs: nothing copies it. */
  .data : {{ *(.data*) *(.sdata*) . = ALIGN(8); }} > RAM
  .bss (NOLOAD) : {{ *(.bss*) *(.sbss*) *(COMMON) . = ALIGN(8); end = .; }} > RAM
  eg_stack_end = ORIGIN(RAM) + LENGTH(RAM);
}}
"""
