"""The libraries that a program needs, read out of its file."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.devices.ssh.elf import closure, read_needs

FOLDERS = [Path("/lib/x86_64-linux-gnu"), Path("/usr/lib/x86_64-linux-gnu"), Path("/lib64")]
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the folders are x86-64's")


@needs_x86
def test_needs_are_what_the_loader_says() -> None:
    program = Path("/bin/sh").resolve()
    said = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True).stdout
    found = closure([program], FOLDERS)
    for name in found:
        assert name in said
    listed = {line.split()[0] for line in said.splitlines() if "=>" in line}
    assert listed <= set(found)
    assert read_needs(program).loader in said


@needs_x86
def test_library_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="library libc"):
        closure([Path("/bin/sh").resolve()], [tmp_path])


@pytest.mark.parametrize("cut", [0, 3, 16, 40, 63, 64, 100])
def test_file_that_is_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(Path(sys.executable).resolve().read_bytes()[:cut])
    with pytest.raises(ToolMissingError):
        read_needs(path)


def test_file_whose_names_lie_outside_is_refused(tmp_path: Path) -> None:
    data = bytearray(Path("/bin/sh").resolve().read_bytes())
    path = tmp_path / "program"
    path.write_bytes(data[: len(data) // 8])
    with pytest.raises(ToolMissingError):
        read_needs(path)


def test_text_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh\n" * 20)
    with pytest.raises(ToolMissingError):
        read_needs(tmp_path / "text")
