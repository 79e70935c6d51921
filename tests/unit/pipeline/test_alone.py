"""Stages alone hold the cache while they work."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.cache import Cache
from edgegen.core.errors import ToolMissingError
from edgegen.pipeline.alone import open_project
from support.projects import write_project


def test_a_build_does_not_sweep_away_what_a_stage_alone_has_half_done(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with open_project(write_project(tmp_path / "project"), cache=cache):
        (cache.root / "store" / "tmp").mkdir(parents=True, exist_ok=True)
        half = cache.root / "store" / "tmp" / "half-done"
        half.write_text("a stage's work")
        cache.sweep()
        assert half.exists()
        with pytest.raises(ToolMissingError), cache.alone():
            pass
    cache.sweep()
    assert not half.exists()
