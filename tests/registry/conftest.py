"""Bundles to push, and the registries of Debian to push them to."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.registries import Server, running_registry

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit" / "artifacts"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry without TLS and without a password."""
    with running_registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def locked_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry with TLS of its own authority and a password."""
    with running_registry(tmp_path_factory.mktemp("locked"), tls=True, password=True) as server:
        yield server


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle of 24 MiB, which takes a moment, and its digest."""
    from pushed_bundle import bundle

    out = tmp_path_factory.mktemp("made") / "b"
    return out, bundle(out, model=random.Random(20).randbytes(24 << 20))
