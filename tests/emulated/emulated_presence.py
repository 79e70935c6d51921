"""What emulated tests do where something they need is absent: skip on a person's machine, fail in CI."""

from __future__ import annotations

import os
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
