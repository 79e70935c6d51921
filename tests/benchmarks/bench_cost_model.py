"""The cost models of the Raspberry Pi profiles against published figures: what can be fitted to them, and what cannot.

    python tests/benchmarks/bench_cost_model.py [--count]

Memory: tokens a second of language models that are read whole for every token, times the size of their file, are the
bytes a second that memory gives. With --count, instructions: the four networks of MLPerf Tiny are built (random
weights take the same time), counted on the emulated Cortex-A72 and set beside what one submission measured on a Pi 4.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

GB = 1e9

# Board -> (what, tokens a second, bytes of the file, source). Sizes are parameters x bits of the named quantization,
# not read off the files: q8_0 takes 8.5 bits a weight, Q4_K_M 4.85 and Q4_0 4.55 with the layers that it leaves larger.
DECODED: Mapping[str, Sequence[tuple[str, float, float, str]]] = {
    "raspberrypi4": (
        ("TinyLlama-1.1B q8_0, llamafile", 3.0, 1.10e9 * 8.5 / 8, "jart's blog on llamafile 0.7"),
        ("Llama-3.2-3B Q4_K_M, Ollama, Pi 400", 1.60, 3.21e9 * 4.85 / 8, "geerlingguy/ai-benchmarks"),
    ),
    "raspberrypi5": (
        ("TinyLlama-1.1B q8_0, llamafile", 9.0, 1.10e9 * 8.5 / 8, "jart's blog on llamafile 0.7"),
        ("Llama-3.2-3B Q4_K_M, Ollama, 8 GB", 4.61, 3.21e9 * 4.85 / 8, "geerlingguy/ai-benchmarks"),
        ("Llama-3.2-3B Q4_K_M, Ollama, 16 GB", 4.88, 3.21e9 * 4.85 / 8, "geerlingguy/ai-benchmarks"),
        ("Llama-3-8B Q4_0, llama.cpp (2.05 to 2.5)", 2.26, 8.03e9 * 4.55 / 8, "ggml-org/llama.cpp#9774"),
    ),
}

# Milliseconds on a Raspberry Pi 4 at 1.5 GHz: MLPerf Tiny v0.5, Latent AI LEIP 1.9.3, float32, from the result logs.
# Another runtime than ours, and how many threads it used is not said.
MLPERF_MS = {"ic": 1.31, "kws": 0.39, "vww": 3.74, "ad": 0.169}
MLPERF_HZ = 1.5e9


def memory() -> None:
    """Prints the rate of every published figure, the geometric mean, and what leaving one out gives."""
    for board, rows in DECODED.items():
        rates = [tokens * size for _, tokens, size, _ in rows]
        print(f"{board}: bytes a second that decoding moved (all four cores)")
        for (what, tokens, size, source), rate in zip(rows, rates, strict=True):
            print(f"  {rate / GB:6.2f} GB/s  {tokens:.2f} tokens/s x {size / GB:.2f} GB  {what}  ({source})")
        left_out = [
            rate / statistics.geometric_mean([other for place, other in enumerate(rates) if place != at])
            for at, rate in enumerate(rates)
        ]
        print(
            f"  geometric mean {statistics.geometric_mean(rates) / GB:.2f} GB/s, "
            f"leave-one-out {min(left_out):.2f} to {max(left_out):.2f}"
        )


class Net:
    """A chain of layers with random weights and what else MLPerf Tiny's networks need, as an ONNX graph."""

    def __init__(self, *shape: int) -> None:
        import numpy as np

        self.shape, self.nodes, self.weights = shape, [], []
        self.last, self.channels = "x", shape[1]
        self._random = np.random.default_rng(0)

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        values = self._random.standard_normal(shape, dtype="float32") / math.sqrt(max(1, math.prod(shape[1:])))
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self,
        out: int,
        kernel: tuple[int, int] = (3, 3),
        stride: int = 1,
        group: int = 1,
        relu: bool = True,
        source: str | None = None,
    ) -> str:
        """A convolution with `same` padding, and a ReLU behind it."""
        inputs = self.channels if source is None else self._source_channels
        weights = [self.weight(out, inputs // group, *kernel), self.weight(out)]
        made = self.node(
            "Conv", [source or self.last, *weights], strides=[stride, stride], group=group, auto_pad="SAME_UPPER"
        )
        made = self.node("Relu", [made]) if relu else made
        if source is None:
            self.last, self.channels = made, out
        return made

    def residual(self, out: int, stride: int) -> None:
        """Two convolutions beside a shortcut, as ResNet has them."""
        before, self._source_channels = self.last, self.channels
        self.conv(out, stride=stride)
        main = self.conv(out, relu=False)
        if stride > 1:
            before = self.conv(out, (1, 1), stride, relu=False, source=before)
        self.last = self.node("Relu", [self.node("Add", [main, before])])

    def dense(self, inputs: int, out: int, relu: bool = True) -> None:
        self.last = self.node("Gemm", [self.last, self.weight(out, inputs), self.weight(out)], transB=1)
        self.last = self.node("Relu", [self.last]) if relu else self.last

    def pooled(self) -> None:
        self.last = self.node("Flatten", [self.node("GlobalAveragePool", [self.last])])

    def save(self, path: Path, out: int) -> Path:
        import onnx
        from onnx import TensorProto, helper

        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(self.shape))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, out])],
            self.weights,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
        return path


def networks(folder: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """The four reference networks of MLPerf Tiny: file and shape of the input."""
    ad = Net(1, 640)
    widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
    for one, other in pairwise(widths):
        ad.dense(one, other)
    ad.dense(128, 640, relu=False)
    kws = Net(1, 1, 49, 10)
    kws.conv(64, (10, 4), 2)
    for _ in range(4):
        kws.conv(64, group=64)
        kws.conv(64, (1, 1))
    kws.pooled()
    kws.dense(64, 12, relu=False)
    ic = Net(1, 3, 32, 32)
    ic.conv(16)
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        ic.residual(out, stride)
    ic.pooled()
    ic.dense(64, 10, relu=False)
    vww = Net(1, 3, 96, 96)
    vww.conv(8, stride=2)
    steps = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1))
    for out, stride in steps:
        vww.conv(vww.channels, stride=stride, group=vww.channels)
        vww.conv(out, (1, 1))
    vww.pooled()
    vww.dense(256, 2, relu=False)
    made = {"ad": (ad, 640), "kws": (kws, 12), "ic": (ic, 10), "vww": (vww, 2)}
    return {name: (net.save(folder / f"{name}.onnx", out), net.shape) for name, (net, out) in made.items()}


def instructions() -> None:
    """Prints what the profile predicts of each network at the measured board's clock, and the ratio to the figure."""
    import numpy as np

    from edgegen.core.cache import Cache
    from edgegen.core.ports import Silent
    from edgegen.core.targets import load_target
    from edgegen.devices.device import DeviceSettings, open_device
    from edgegen.export.census import census

    profile = load_target("raspberrypi4")
    assert profile.cost_model is not None
    prices = profile.cost_model.cycles
    device = open_device("qemu:", profile, DeviceSettings(cache=Cache().root, offline=False, progress=Silent()))
    ratios = {}
    print("raspberrypi4, float32, onnxruntime, one thread, at 1.5 GHz")
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, shape) in networks(Path(folder)).items():
            sample = {"x": np.random.default_rng(1).standard_normal(shape, dtype=np.float32)}
            counted = device.measure(path, "onnxruntime", sample).counted
            assert counted is not None
            cycles = sum(count * prices[kind] for kind, count in counted.by_class.items())
            predicted = 1000 * cycles / MLPERF_HZ
            ratios[name] = MLPERF_MS[name] / predicted
            print(
                f"  {name:<4} {census(path, 'onnx').macs:>11,} MACs {counted.instructions:>11,} instructions  "
                f"predicted {predicted:.3f} ms  published {MLPERF_MS[name]:.3f} ms  ratio {ratios[name]:.2f}"
            )
    device.close()
    values = list(ratios.values())
    left_out = [
        value / statistics.geometric_mean([other for place, other in enumerate(values) if place != at])
        for at, value in enumerate(values)
    ]
    print(
        f"  published / predicted: geometric mean {statistics.geometric_mean(values):.2f}; after scaling by it, "
        f"leave-one-out {min(left_out):.2f} to {max(left_out):.2f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count the networks of MLPerf Tiny under emulation too")
    memory()
    if parser.parse_args().count:
        instructions()
