"""A lower bound of what a model takes as C: from its layers' shapes, and of a file as of the module behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.extent import Extent, Product
from edgegen.export.c.least import least_needs
from edgegen.export.check.extent import extent_of_file
from edgegen.export.opened import open_model
from edgegen.train.deployed import load_deployed
from edgegen.train.extent import extent_of


def _product(name: str, **told: object) -> Product:
    known = {"shape": (4, 4, 8), "weights": 0, "dense": False, "reads": 0, "makes": 0}
    return Product(name=name, **{**known, **told})  # type: ignore[arg-type]


EXTENT = Extent(
    products=(
        _product("first", weights=100, makes=500),
        _product("second", weights=301, dense=True, reads=500, makes=300),
        _product("shared", reads=200, makes=100),
    ),
    takes=10,
    gives=5,
)


def test_weights_and_the_largest_pair_are_needed() -> None:
    found = least_needs(EXTENT)
    assert (found.flash_bytes, found.arena_bytes, found.ram_bytes) == (401, 800, 815)
    assert found.busiest == "second (to 4x4x8)"
    assert found.largest == (("second (to 4x4x8)", 301, True), ("first (to 4x4x8)", 100, False))


def test_wider_activations_and_narrower_weights_count_as_they_are() -> None:
    assert least_needs(EXTENT, activation_bytes=2).arena_bytes == 1600
    assert least_needs(EXTENT, dense_bits=4).flash_bytes == 100 + 151


def test_a_model_without_layers_needs_its_ends_alone() -> None:
    found = least_needs(Extent(products=(), takes=3, gives=2))
    assert (found.flash_bytes, found.ram_bytes, found.largest, found.busiest) == (0, 5, (), "")


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_file_has_the_extent_of_its_module(form: str, generator: Path, request: pytest.FixtureRequest) -> None:
    _, family, settings = load_deployed(generator)
    wanted = extent_of(family, settings)
    (path,) = request.getfixturevalue(f"{form}_folder").glob("model.*")
    found = extent_of_file(open_model(path))
    for name in ("weights", "dense", "reads", "makes"):
        assert [getattr(item, name) for item in found.products] == [getattr(item, name) for item in wanted.products]
    assert (found.takes, found.gives) == (wanted.takes, wanted.gives)
    assert all("/" not in item.name and ";" not in item.name for item in found.products)
