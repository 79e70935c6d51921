"""Programs of Debian that a test calls: where one is absent a person's run skips the test, CI fails it."""

from __future__ import annotations

import os
import shutil

import pytest


def apt_tool(program: str, package: str) -> str:
    """Where the program lies."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is missing: apt-get install {package}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return found
