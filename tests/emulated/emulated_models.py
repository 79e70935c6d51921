"""Small models for the emulated tests, and what the host says they give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]
SAMPLES = 3


def images(seed: int = 0, samples: int = SAMPLES) -> Arrays:
    """Inputs of the convolution models."""
    return {"x": np.random.default_rng(seed).standard_normal((samples, 8, 12, 12), dtype=np.float32)}


def conv_float(path: Path) -> Path:
    """conv 8 -> 32, 3x3, on 12x12, relu, mean over the image, 32 -> 10: 0.33 M multiply-accumulates."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["m"], name="mean"),
            helper.make_node("Flatten", ["m"], ["f"], name="flatten"),
            helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], name="fc", transB=1),
        ],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [weight("w1", 32, 8, 3, 3), weight("b1", 32), weight("w2", 10, 32), weight("b2", 10)],
    )
    save(onnx, graph, path)
    return path


def conv_int8(path: Path, source: Path) -> Path:
    """The same, activations and weights in 8 bits (QDQ)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            x = images(5, 8)["x"]
            self._rows = iter([{"x": x[i : i + 1]} for i in range(len(x))])

        def get_next(self) -> Any:
            return next(self._rows, None)

    quantize_static(
        source,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def mixed_inputs() -> Arrays:
    """One array a dtype that the tensor file knows."""
    rng = np.random.default_rng(2)
    return {
        "index": rng.integers(0, 5, (SAMPLES, 4)).astype(np.int64),
        "choose": rng.integers(0, 2, (SAMPLES, 4)).astype(np.bool_),
        "half": rng.standard_normal((SAMPLES, 4)).astype(np.float16),
        "byte": rng.integers(0, 255, (SAMPLES, 4)).astype(np.uint8),
        "signed": rng.integers(-128, 127, (SAMPLES, 4)).astype(np.int8),
        "wide": rng.integers(-(2**31), 2**31 - 1, (SAMPLES, 4)).astype(np.int32),
        "real": rng.standard_normal((SAMPLES, 4)).astype(np.float32),
    }


def mixed(path: Path) -> Path:
    """A graph whose inputs and outputs have every supported dtype."""
    import onnx
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    kinds = {
        "index": T.INT64,
        "choose": T.BOOL,
        "half": T.FLOAT16,
        "byte": T.UINT8,
        "signed": T.INT8,
        "wide": T.INT32,
        "real": T.FLOAT,
    }
    outputs = {"looked_up": T.FLOAT, "not": T.BOOL, "half2": T.FLOAT16, "byte2": T.UINT8, "signed2": T.INT8}
    outputs |= {"wide2": T.INT32, "index2": T.INT64}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "index"], ["g"]),
            helper.make_node("Where", ["choose", "g", "real"], ["looked_up"]),
            helper.make_node("Not", ["choose"], ["not"]),
            helper.make_node("Identity", ["half"], ["half2"]),
            helper.make_node("Identity", ["byte"], ["byte2"]),
            helper.make_node("Identity", ["signed"], ["signed2"]),
            helper.make_node("Identity", ["wide"], ["wide2"]),
            helper.make_node("Neg", ["index"], ["index2"]),
        ],
        "mixed",
        [helper.make_tensor_value_info(name, kind, [1, 4]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(name, kind, [1, 4]) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.arange(5, dtype=np.float32) * 1.5, "table")],
    )
    save(onnx, graph, path)
    return path


def save(onnx: Any, graph: Any, path: Path) -> None:
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def on_host(model: Path, inputs: Arrays) -> Arrays:
    """What ONNX Runtime gives on this machine, sample by sample."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    samples = len(next(iter(inputs.values())))
    rows = [session.run(names, {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(samples)]
    return {name: np.concatenate([row[at] for row in rows]) for at, name in enumerate(names)}


def two_inputs_litert(path: Path) -> Path:
    """A LiteRT model of a float and an integer input with two outputs."""
    import litert_torch
    import torch

    class TwoInputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(64, 48)
            self.table = torch.nn.Embedding(10, 48)

        def forward(self, values: Any, label: Any) -> Any:
            hidden = torch.relu(self.linear(values)) + self.table(label)
            return {"hidden": hidden, "total": hidden.sum(dim=1, keepdim=True)}

    kwargs = {"values": torch.zeros(1, 64), "label": torch.zeros(1, dtype=torch.int32)}
    litert_torch.convert(TwoInputs().eval(), sample_kwargs=kwargs).export(str(path))
    return path


def litert_inputs() -> Arrays:
    """Inputs of ``two_inputs_litert``; the integer one first, to see that arrays go by name."""
    rng = np.random.default_rng(3)
    return {
        "label": rng.integers(0, 10, (SAMPLES,)).astype(np.int32),
        "values": rng.standard_normal((SAMPLES, 64)).astype(np.float32),
    }


def litert_on_host(model: Path, inputs: Arrays) -> Arrays:
    """What the Python interpreter of LiteRT gives on this machine."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=model.read_bytes(), num_threads=1).get_signature_runner()
    samples = len(next(iter(inputs.values())))
    rows = [runner(**{k: v[i : i + 1] for k, v in inputs.items()}) for i in range(samples)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
