"""ONNX files in which QuantizeLinear and DequantizeLinear round float operators, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgegen.core.c_model import CTensor
from edgegen.export.c.convert import Read, read_model
from edgegen.export.c.emit import block
from edgegen.export.c.graph import Graph
from edgegen.export.c.reference import run
from edgegen.links.c_blocks import real, stored

Array = np.ndarray[Any, Any]
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


class Qdq:
    """A file while it is written. Every operator is done at once on one random sample, so that scales fit."""

    def __init__(self, seed: int = 0, opset: int = 17, dtype: str = "int8", symmetric: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype, self.opset, self.symmetric = dtype, opset, symmetric
        self.nodes: list[NodeProto] = []
        self.held: dict[str, TensorProto] = {}
        self.seen: dict[str, Array] = {}
        self.inputs: list[Any] = []
        self._count = 0

    def name(self, wish: str) -> str:
        self._count += 1
        return f"{wish}_{self._count}"

    def constant(self, array: Any, wish: str = "c") -> str:
        """An initializer."""
        name = self.name(wish)
        self.held[name] = numpy_helper.from_array(np.asarray(array), name)
        self.seen[name] = np.asarray(array)
        return name

    def input(self, shape: Sequence[int], *, quantized: bool = True, dtype: Any = np.float32, high: int = 0) -> str:
        """An input of real numbers, quantized; or of integers from 0 to ``high``."""
        name = self.name("x")
        drawn = self.random.integers(0, high, shape) if high else self.random.standard_normal(shape) * 2
        self.seen[name] = drawn.astype(dtype)
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        return self.quantized(name) if quantized else name

    def plain(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """An operator as it is."""
        made = [self.name(kind.lower()) for _ in range(outputs)]
        node = helper.make_node(kind, list(inputs), made, name=self.name("n"), **attributes)
        self.nodes.append(node)
        fed = {name: self.seen[name] for name in dict.fromkeys(inputs) if name}
        read = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ]
        graph = helper.make_graph([node], "g", read, [helper.make_empty_tensor_value_info(name) for name in made])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        results = _session(onnx.shape_inference.infer_shapes(model).SerializeToString()).run(None, fed)
        self.seen |= dict(zip(made, results, strict=True))
        return made[0] if outputs == 1 else made

    def op(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """An operator whose outputs are quantized."""
        made = self.plain(kind, inputs, outputs, **attributes)
        return self.quantized(made) if outputs == 1 else [self.quantized(name) for name in made]

    def quantized(self, name: str, scale: float = 0.0, zero_point: int | None = None) -> str:
        """A value behind QuantizeLinear and DequantizeLinear; its scale is that of its range."""
        value = self.seen[name]
        low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
        least, most = LIMITS[self.dtype]
        if self.symmetric:
            high = max(high, -low)
            low = -high
        step = scale or float(np.float32((high - low) / 255)) or 1.0
        zero = int(np.clip(np.rint(least - low / step), least, most)) if zero_point is None else zero_point
        told = [self.constant(np.float32(step), "scale"), self.constant(np.array(zero, self.dtype), "zero")]
        return self.plain("DequantizeLinear", [self.plain("QuantizeLinear", [name, *told]), *told])

    def weights(self, shape: Sequence[int], axis: int | None = 0, spread: float = 0.3) -> str:
        """Constant int8 weights behind a DequantizeLinear: a scale a slice of an axis, or one."""
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        count = 1 if axis is None else shape[axis]
        scale = (self.random.uniform(0.5, 1.5, count) * spread / 127).astype(np.float32)
        zero = np.zeros(count, np.int8)
        if axis is None:
            told = [self.constant(scale[0]), self.constant(zero[0])]
            return self.plain("DequantizeLinear", [self.constant(data, "w"), *told])
        told = [self.constant(scale), self.constant(zero)]
        return self.plain("DequantizeLinear", [self.constant(data, "w"), *told], axis=axis)

    def bias(self, count: int, spread: float = 0.5) -> str:
        """A bias in float."""
        return self.constant((self.random.standard_normal(count) * spread).astype(np.float32), "b")

    def save(self, path: Path, outputs: Sequence[str]) -> Path:
        """Writes the file."""
        ends = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(self.seen[name].dtype), self.seen[name].shape
            )
            for name in outputs
        ]
        graph = helper.make_graph(self.nodes, "g", self.inputs, ends, list(self.held.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        path.write_bytes(model.SerializeToString())
        return path

    def samples(self, count: int) -> list[dict[str, Array]]:
        """Inputs like the one that scales were made of, its ends and beyond among them."""
        made = []
        for number in range(count):
            sample = {}
            for value in self.inputs:
                seen = self.seen[value.name]
                if seen.dtype == np.float32:
                    drawn = self.random.standard_normal(seen.shape) * (2 if number % 2 else 5)
                    sample[value.name] = drawn.astype(np.float32)
                else:
                    sample[value.name] = self.random.integers(0, max(int(seen.max()), 0) + 1, seen.shape).astype(
                        seen.dtype
                    )
            made.append(sample)
        return made


def by_onnxruntime(path: Path, sample: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, every operator as it stands there: nothing is fused."""
    session = _session(path.read_bytes())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(sample)), strict=True))


def ends(graph: Graph) -> tuple[tuple[CTensor, ...], tuple[CTensor, ...]]:
    """What the compiled model takes and gives."""
    return block(graph, graph.inputs), block(graph, graph.outputs)


def given(graph: Graph, sample: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs as they are stored."""
    return {tensor.name: stored(tensor, sample[tensor.name]) for tensor in ends(graph)[0]}


def steps_apart(path: Path, samples: Sequence[Mapping[str, Array]], read: Read | None = None) -> list[int]:
    """How many steps of an output's scale the reference lies from onnxruntime, one number an output's number."""
    read = read or read_model(path)
    apart: list[int] = []
    for sample in samples:
        theirs, ours = by_onnxruntime(path, sample), run(read.graph, given(read.graph, sample))
        for tensor in ends(read.graph)[1]:
            found, wanted = real(tensor, ours[tensor.name]), theirs[tensor.name]
            assert found.shape == wanted.shape, tensor.name
            step = tensor.scale or (1.0 if found.dtype != np.float32 else float(np.abs(wanted).max()) * 1e-5 + 1e-9)
            apart += [int(item) for item in np.rint((found - wanted.astype(found.dtype)) / step).reshape(-1)]
    return apart


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
