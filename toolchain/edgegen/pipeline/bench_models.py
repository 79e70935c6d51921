"""Small generated models of different kinds, for the calibration of a cost model: nothing is trained or downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_OPSET, _IR = 18, 9
_SEED = 11


def calibration_models(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, file and one sample's inputs of every model, written one by one into ``folder``.

    Of each kind of work there are two sizes; the kinds with products also in 8 bits (QDQ, per channel).
    """
    for name, (build, shape) in _FLOAT.items():
        path = folder / f"{name}.onnx"
        _save(build(), shape, path)
        yield name, path, _sample(shape)
        if name in _ALSO_INT8:
            smaller = folder / f"{name}-int8.onnx"
            _quantize(path, smaller, shape)
            yield f"{name}-int8", smaller, _sample(shape)


def identity_model(folder: Path) -> Path:
    """A graph of one Identity on one number: what it costs is the runtime's own."""
    path = folder / "identity.onnx"
    _save(_Graph().add("Identity"), (1, 1), path)
    return path


class _Graph:
    """Nodes and weights of a chain from ``x`` to ``y``."""

    def __init__(self) -> None:
        import numpy as np

        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(_SEED)
        self._last = "x"

    def add(self, operator: str, *shapes: tuple[int, ...], **attributes: Any) -> _Graph:
        """Appends a node whose first input is the last node's output and whose others are weights of these shapes."""
        from onnx import helper, numpy_helper

        place = len(self.nodes)
        names = [f"w{place}_{index}" for index in range(len(shapes))]
        for name, shape in zip(names, shapes, strict=True):
            values = self._random.standard_normal(shape, dtype="float32") * 0.1
            self.weights.append(numpy_helper.from_array(values, name))
        self.nodes.append(helper.make_node(operator, [self._last, *names], [f"v{place}"], **attributes))
        self._last = f"v{place}"
        return self


def _dense(width: int, depth: int) -> _Graph:
    graph = _Graph()
    for _ in range(depth):
        graph.add("Gemm", (width, width), (width,), transB=1).add("Relu")
    return graph


def _convolution(channels: int, kernel: int, depth: int, group: int = 1) -> _Graph:
    graph, pad = _Graph(), kernel // 2
    for _ in range(depth):
        shape = (channels, channels // group, kernel, kernel)
        graph.add("Conv", shape, (channels,), pads=[pad] * 4, group=group).add("Relu")
    return graph


def _elementwise(depth: int) -> _Graph:
    graph = _Graph()
    for _ in range(depth):
        graph.add("Relu").add("Mul", (1,)).add("Sigmoid").add("Add", (1,))
    return graph


_FLOAT: dict[str, tuple[Callable[[], _Graph], tuple[int, ...]]] = {
    "dense-256": (lambda: _dense(256, 3), (1, 256)),
    "dense-1024": (lambda: _dense(1024, 2), (1, 1024)),
    "conv3x3-16": (lambda: _convolution(16, 3, 3), (1, 16, 24, 24)),
    "conv3x3-48": (lambda: _convolution(48, 3, 2), (1, 48, 16, 16)),
    "pointwise-64": (lambda: _convolution(64, 1, 3), (1, 64, 14, 14)),
    "depthwise-64": (lambda: _convolution(64, 3, 4, group=64), (1, 64, 24, 24)),
    "elementwise-4096": (lambda: _elementwise(3), (1, 4096)),
    "elementwise-16384": (lambda: _elementwise(2), (1, 16384)),
    "many-small": (lambda: _dense(32, 16), (1, 32)),
}
_ALSO_INT8 = ("dense-256", "dense-1024", "conv3x3-16", "conv3x3-48", "pointwise-64")


def _sample(shape: tuple[int, ...]) -> dict[str, Any]:
    import numpy as np

    return {"x": np.random.default_rng(_SEED + 1).standard_normal(shape, dtype=np.float32)}


def _save(graph: _Graph, shape: tuple[int, ...], path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph.nodes[-1].output[0] = "y"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in ("x", "y")]
    made = helper.make_graph(graph.nodes, path.stem, ends[:1], ends[1:], graph.weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR), path)


def _quantize(source: Path, target: Path, shape: tuple[int, ...]) -> None:
    from edgegen.export.quiet import quiet
    from edgegen_runtime.session import onnx_runtime

    onnx_runtime()  # before its first import: telemetry off
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter([_sample(shape)])

        def get_next(self) -> Any:
            return next(self._rows, None)

    with quiet():
        quantize_static(
            source,
            target,
            Once(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
