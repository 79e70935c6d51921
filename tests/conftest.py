"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(_TESTS))

# Children import this checkout, as the tests do, whether or not it is installed.
_SOURCES = [_TESTS.parent / "toolchain", _TESTS.parent / "runtimes" / "linux"]
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, _SOURCES))

# A test must never find, or fill, the developer's own cache.
os.environ.pop("EDGEGEN_CACHE", None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache-home"))
    monkeypatch.setenv("EDGEGEN_BOARDS", str(tmp_path_factory.getbasetemp() / "no-boards.toml"))  # nor their boards
