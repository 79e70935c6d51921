"""One small project and one cache for the whole folder: what one test has made, the next finds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """A copy of the project, its build included, for a test to change."""
    return Path(shutil.copytree(built, tmp_path / "project"))
