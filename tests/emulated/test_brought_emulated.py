"""A model that came as a file, proven on an emulated core: counts, quality, and the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE

import edgegen
from edgegen.core.cache import Cache
from edgegen.devices.qemu_user import Tools
from support.onnx_models import convolutional, image_inputs


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
