"""What tests of places share: a registry of this process with a bundle in it, and a shop of bundles in channels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pushed_bundle import bundle, push_to
from served_bundle import LARGE

from support.fake_registry import FakeRegistry, fake_registry

if TYPE_CHECKING:
    from edgegen.artifacts.verify import Verified
    from unit.artifacts.release_shop import Shop
    from unit.artifacts.soft_token import SoftToken


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    """A registry of this process."""
    with fake_registry() as found:
        yield found


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and no waiting for a disk: a busy one makes hundreds of small bundles slow."""
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def pushed(server: FakeRegistry, tmp_path: Path) -> str:
    """The digest of a bundle that the server has under ``fw/kws:1``."""
    digest = bundle(tmp_path / "b", model=LARGE)
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    return digest


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """A token for all tests of a run: a process loads the library once."""
    from unit.artifacts.soft_token import soft_token

    return soft_token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Verified]]:
    """A folder of bundles, and what they are."""
    from unit.artifacts.release_shop import stocked

    packed = tmp_path_factory.mktemp("packed")
    return packed, stocked(packed)


@pytest.fixture
def shop(tmp_path: Path, stock: tuple[Path, dict[str, Verified]]) -> Shop:
    """Version 1.0.0 is in the channel ``stable``."""
    from unit.artifacts.release_shop import opened

    packed, bundles = stock
    return opened(tmp_path, bundles, packed)
