"""Every kernel compiles without a warning, for the host and for the microcontrollers' cores."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.mcu_host import INCLUDE, WARNINGS
from support.mcu_tools import mcu_tools

# Core -> target whose compiler it is (none: the host's), flags.
CORES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "host": (None, ()),
    "cortex-m4": ("mps2-an386", ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "cortex-m55": ("mps3-an547", ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard")),
    "rv32imac": ("riscv32-virt", ("-march=rv32imac", "-mabi=ilp32", "-misa-spec=2.2")),
}
HEADERS = sorted(path.name for path in INCLUDE.glob("eg_*.h"))


def _compiled(core: str, source: Path, *options: str) -> None:
    target, flags = CORES[core]
    program, env = "gcc", dict(os.environ)
    if target is not None:
        compiler = mcu_tools(target).compiler
        program, env, flags = compiler.program, dict(compiler.env), (*flags, *compiler.flags)
    command = [program, *flags, *WARNINGS, *options, f"-I{INCLUDE}", "-c", str(source), "-o", str(source) + ".o"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("preset", ["speed", "size"])
def test_kernels_compile_without_a_warning(core: str, preset: str, tmp_path: Path) -> None:
    source = tmp_path / "every.c"
    source.write_text("".join(f'#include "{header}"\n' for header in HEADERS), encoding="ascii")
    options = ["-DEG_PRESET_SIZE"] if preset == "size" else []
    # Kept although nothing calls them, so that they are compiled to the end.
    _compiled(core, source, "-O2", "-fkeep-static-functions", *options)


def test_every_header_stands_alone(tmp_path: Path) -> None:
    for header in HEADERS:
        source = tmp_path / f"{header}.c"
        source.write_text(f'#include "{header}"\n', encoding="ascii")
        _compiled("host", source, "-O0")


def test_every_kernel_has_a_header_of_its_name_that_says_what_it_does() -> None:
    for header in HEADERS:
        text = (INCLUDE / header).read_text(encoding="ascii")
        assert "/*" in text[:400], header
        guard = header.upper().replace(".", "_")
        assert f"#ifndef {guard}\n" in text, header
        structs = re.findall(r"struct (eg_\w+)_params \{", text)
        assert all(f"{struct}.h" == header for struct in structs), header
