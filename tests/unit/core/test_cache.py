"""The cache folder: where it lies, how large it may grow, and who may touch it when."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.cache import Cache, max_bytes
from edgegen.core.errors import StorageError, ToolMissingError, UsageError


def test_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "own"))
    assert Cache().root == tmp_path / "own"
    monkeypatch.setenv("EDGEGEN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().root == tmp_path / "xdg" / "edgegen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache().root == tmp_path / ".cache" / "edgegen"


def test_cache_that_cannot_be_written_is_told_in_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="EDGEGEN_CACHE=FOLDER"):
        Cache(tmp_path / "file" / "cache").in_use()


def test_cache_refuses_a_path_that_the_emulator_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="colon"):
        Cache(tmp_path / "a:b")


@pytest.mark.parametrize("text", ["", "0", "-1", "1e9", "10 GiB"])
def test_cache_cap_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_MAX_BYTES", text)
    with pytest.raises(UsageError, match="EDGEGEN_CACHE_MAX_BYTES"):
        max_bytes()


def test_cache_cap_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEGEN_CACHE_MAX_BYTES", raising=False)
    assert max_bytes() == 10 << 30
    monkeypatch.setenv("EDGEGEN_CACHE_MAX_BYTES", "1000")
    assert max_bytes() == 1000


def test_cache_is_shared_by_builds_and_closed_to_prune_meanwhile(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.in_use(), cache.in_use(), pytest.raises(ToolMissingError), cache.alone():
        pass
    with cache.alone():
        pass


def test_cache_sweep_removes_leftovers_unless_somebody_builds(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    left = cache.store().scratch / "stage-killed"
    left.mkdir()
    (left / "half").write_text("half")
    with cache.in_use():
        cache.sweep()
    assert left.exists()
    cache.sweep()
    assert not left.exists()
