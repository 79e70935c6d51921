"""What emulated tests do where something they need is absent: skip on a person's machine, fail in CI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skips the test on a person's machine; fails it in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def library(name: str) -> Any:
    """A library that a test needs, imported."""
    try:
        return __import__(name, fromlist=["_"])
    except ImportError as error:
        absent(str(error))


# Read when this module is imported: tests/conftest.py gives every test a cache of its own, and setting the tools up
# again for each would take ten seconds and the network.
_CACHE_HOME = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
TOOLS_CACHE = Path(os.environ.get("EDGEGEN_TEST_TOOLS") or f"{_CACHE_HOME}/edgegen-tests")
"""The cache of the tests' own emulator tools, kept between runs; not the developer's."""
