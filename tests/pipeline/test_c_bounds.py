"""What is told before training is a lower bound: nothing that could be built for a microcontroller is refused early."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from edgegen.core.ports import Silent
from edgegen.core.stages import Stages
from edgegen.core.targets import load_target, target_names
from edgegen.export.c.fit import needs_of
from edgegen.pipeline.fits import least_needs_of, refuse_hopeless
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import ModelMaker
from edgegen.pipeline.order import Order, order
from support.projects import edgegen
from support.searches import PROJECT, write_searched

TEMPLATES = ("vae", "gan", "flow", "autoregressive", "classifier", "keyword", "anomaly", "tabular")
RECIPES = ("static-int8", "static-int16", "pruned+static-int8", "distilled+static-int8", "qat+static-int8")
BRIEFLY = ("train.epochs=1", "compress.distilled.steps=1", "compress.pruned.steps=0", "compress.qat.steps=1")
BOARDS = [name for name in target_names() if set(load_target(name).runtimes) == {"c"}]


def opened(folder: Path, cache: Cache, target: str, overrides: tuple[str, ...]) -> tuple[Order, ModelMaker]:
    asked = order(folder, target=target, overrides=overrides)
    return asked, ModelMaker(asked.project, asked.settings, Stages(cache.store(), Silent()), cache, Silent())


def refuse_wrong_bounds(folder: Path, cache: Cache, recipes: tuple[str, ...]) -> int:
    """How many candidates were compared."""
    overrides = (f"compress.recipes={[*recipes]}", *BRIEFLY)
    asked, model = opened(folder, cache, "nucleo-l4r5zi", overrides)
    compared = 0
    for planned in asked.planned:
        bound = None if planned.not_built else least_needs_of(planned, model, asked.profile)
        if bound is None:
            continue
        try:
            record = Maker(model, Silent()).exported(planned).record
        except BuildError:
            continue  # a training this short may leave nothing that could be exported
        (told,) = (step for step in record["passes"] if "needs" in step["figures"])
        real = needs_of(told["figures"]["needs"])
        assert 0 < bound.flash_bytes <= real.flash_bytes, planned.name
        assert 0 < bound.ram_bytes <= real.ram_bytes, planned.name
        compared += 1
    return compared


def test_the_bound_of_a_small_model_is_below_what_its_c_needs(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    folder = write_searched(tmp_path / "project", PROJECT)
    assert refuse_wrong_bounds(folder, Cache(tmp_path / "cache"), ("static-int8", "distilled+static-int8")) == 2


def test_every_board_has_a_bound() -> None:
    assert len(BOARDS) == 14


@pytest.mark.long
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_bounds_of_a_template_are_below_what_its_c_needs(template: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    cache = Cache(tmp_path / "cache")
    assert edgegen("init", "project", "--template", template, cache=cache.root, cwd=tmp_path).code == 0
    assert refuse_wrong_bounds(tmp_path / "project", cache, RECIPES) >= 1
    for board in BOARDS:
        asked, model = opened(tmp_path / "project", cache, board, BRIEFLY)
        if board != "microbit":  # with 16 KiB of RAM not everything fits there
            hopeful, lost = refuse_hopeless(asked.planned, model, asked.profile)
            assert (len(hopeful), lost) == (len(asked.planned), {})
