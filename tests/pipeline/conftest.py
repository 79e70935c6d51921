"""One small project and one cache for the whole folder: what one test has made, the next finds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.devices.device import DEVICES
from support.projects import edgegen, write_project


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline") / "cache"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The project's folder after a first build for the null target."""
    folder = write_project(tmp_path_factory.mktemp("pipeline") / "project")
    done = edgegen("build", "--target", "null", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def host_c() -> Iterator[None]:
    """The device ``host-c:``, which a project may name."""
    pytest.importorskip("litert_torch")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(DEVICES, "host-c", "support.c_device:open_device")
        yield


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """A copy of the project, its build included, for a test to change."""
    return Path(shutil.copytree(built, tmp_path / "project"))
