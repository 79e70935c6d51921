"""The cross compiler and the emulator of microcontrollers for tests: those on PATH, else fetched as edgegen does."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import SYSTEM_OF_ISA, load_target
from edgegen.devices.qemu_system import Tools, provision

# As tests/emulated/emulated_presence.py has it: kept between runs, and not the developer's own.
_CACHE_HOME = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
_TOOLS_CACHE = Path(os.environ.get("EDGEGEN_TEST_TOOLS") or f"{_CACHE_HOME}/edgegen-tests")


@cache
def mcu_tools(target: str = "mps2-an386") -> Tools:
    """``tools.compiler`` (program, flags that choose its C library, env, version) and ``tools.qemu`` (program, env).

    Skips the test on a person's machine where they cannot be had; fails it in CI.
    """
    profile = load_target(target)
    assert profile.mcu is not None
    try:
        return provision(SYSTEM_OF_ISA[profile.isa], profile.mcu, _TOOLS_CACHE, offline=False)
    except ToolMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have it: {error}")
        pytest.skip(str(error))
