"""A model that came as a file, proven on an emulated core: counts, quality, and the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE
from onnx import helper

import edgegen
from edgegen.core.cache import Cache
from edgegen.devices.qemu_user import Tools
from support.onnx_models import constant, convolutional, image_inputs, write_model


@pytest.fixture(scope="module")
def built(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A convolutional net as ONNX, with samples to quantize with and what is right of others."""
    folder = convolutional(tmp_path_factory.mktemp("brought") / "net")
    np.savez(folder / "c.npz", **image_inputs(16))
    cache = Path(tmp_path_factory.mktemp("brought-cache"))
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    return edgegen.build(
        model=folder / "model.onnx",
        calibration=folder / "c.npz",
        target="raspberrypi4",
        out=folder / "out",
        overrides=('compress.recipes=["float32", "static-int8"]',),
        cache=Cache(cache),
    )


def test_brought_state_is_rolled_out_on_the_core(tools: Tools, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["state_in", "half"], ["faded"]),
        helper.make_node("Gemm", ["x", "w"], ["fresh"]),
        helper.make_node("Add", ["faded", "fresh"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["state_out"]),
        helper.make_node("Gemm", ["state_out", "w"], ["y"]),
    ]
    weight = np.random.default_rng(1).standard_normal((16, 16)) / 2
    constants = [constant("half", 0.5), constant("w", weight)]
    folder = write_model(tmp_path / "m", nodes, constants, {"x": [1, 16], "state_in": [1, 16]}, ["y", "state_out"])
    (tmp_path / "tools").symlink_to(TOOLS_CACHE / "tools")
    built = edgegen.build(
        model=folder / "model.onnx",
        target="raspberrypi4",
        out=tmp_path / "out",
        overrides=(
            'compress.recipes=["float32", "weight-int8"]',
            'export.formats=["onnx"]',
            "quality.samples=8",
            "model.sequence=4",
        ),
        cache=Cache(tmp_path),
    )
    assert built.exit_code == 0
    assert built.document["model"]["state"] == {"state_in": "state_out"}
    for item in built.document["candidates"]:
        # Four steps on the core's own kernels come to what this host's come to: each lives with its own state.
        assert item["quality"]["cross_isa"]["sqnr_db_mean"] > 60
    golden = np.load(built.folder / "files" / "golden.npz")
    assert np.array_equal(golden["input/state_in"][1:4], golden["output/state_out"][0:3])


def test_brought_model_is_counted_and_shipped(built: Any) -> None:
    assert built.exit_code == 0
    found = {item["name"]: item for item in built.document["candidates"]}
    assert found["float32@litert"]["status"] == "not built"
    for name in ("float32@onnx", "static-int8@onnx"):
        assert found[name]["counted"]["instructions"] > 100_000
        assert found[name]["quality"]["paired"]["sqnr_db_worst5"] > 20
        assert found[name]["quality"]["cross_isa"]["sqnr_db_mean"] > 20
    assert built.document["model"]["judged_on"] == "held back from calibration"
    assert (built.folder / "bundle" / "index.json").is_file()
