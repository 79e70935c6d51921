"""A quantized ONNX file, built for a board: on the emulated core it gives the bytes of the reference."""

from __future__ import annotations

from pathlib import Path

from emulated_presence import TOOLS_CACHE

import edgegen
from edgegen.core.cache import Cache
from support.mcu_tools import mcu_tools
from support.qdq_models import Qdq


def test_quantized_onnx_file_runs_on_the_emulated_core(tmp_path: Path) -> None:
    mcu_tools("mps2-an386")
    net = Qdq(3)
    x = net.input([1, 3, 8, 8])
    y = net.quantized(net.plain("Relu", [net.plain("Conv", [x, net.weights([4, 3, 3, 3]), net.bias(4)], pads=[1] * 4)]))
    z = net.op("Conv", [y, net.weights([4, 1, 3, 3]), net.bias(4)], pads=[1] * 4, group=4)
    z = net.op("Mul", [net.op("Add", [y, z]), net.op("Sigmoid", [z])])
    z = net.op("GlobalAveragePool", [z])
    made = net.plain("Gemm", [net.op("Flatten", [z]), net.weights([4, 5], 1), net.bias(5)])
    model = net.save(tmp_path / "model.onnx", [made])
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    built = edgegen.build(
        model=model,
        target="nucleo-l4r5zi",
        out=tmp_path / "out",
        overrides=('compress.recipes=["float32"]', "quality.samples=8"),
        cache=Cache(cache),
    )
    assert built.exit_code == 0
    found = next(item for item in built.document["candidates"] if item["name"] == "float32@c")
    assert found["status"] == "chosen"
    assert found["counted"]["instructions"] > 10_000
    assert found["quality"]["cross_isa"]["max_abs_difference"] == 0
    assert found["quality"]["paired"]["sqnr_db_worst5"] > 30
    assert (built.folder / "bundle" / "index.json").is_file()
