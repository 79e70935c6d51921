"""Small models of both formats, made by hand: several inputs and outputs, integers, and files that lie."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64

End = tuple[str, int, list[int | str]]


def onnx_model(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[End], outputs: Sequence[End], constants: Sequence[Any] = ()
) -> bytes:
    """The bytes of a graph of ``nodes``."""
    sides = [[helper.make_tensor_value_info(*end) for end in side] for side in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), "g", *sides, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def onnx_pairs() -> bytes:
    """image (1, 2, 3) float32, labels (1, 2) int64 -> doubled, next; names that trouble careless .npz writers."""
    nodes = [helper.make_node("Add", ["file", "file"], ["x.npy"]), helper.make_node("Neg", ["labels"], ["/a/next"])]
    return onnx_model(
        nodes,
        [("file", FLOAT, [1, 2, 3]), ("labels", INT64, [1, 2])],
        [("x.npy", FLOAT, [1, 2, 3]), ("/a/next", INT64, [1, 2])],
    )


def pairs(samples: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of ``onnx_pairs``."""
    draw = np.random.default_rng(4)
    return {
        "file": draw.standard_normal((samples, 2, 3), dtype=np.float32),
        "labels": draw.integers(0, 2**40, (samples, 2)),
    }


def onnx_refused() -> bytes:
    """A sound file with an operator that the runtime does not have."""
    return onnx_model(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])]
    )


def litert_sum(*, dtype: str = "INT32", signatures: int = 1, graphs: bool = True, of_graph: int = 0) -> bytes:
    """Two tensors (1, 4), ``a`` and ``b``, and their sum ``c``; by the signature: left0, right and sum."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def filled(kind: str, **values: Any) -> Any:
        made = getattr(schema, f"{kind}T")()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    element = getattr(schema.TensorType, dtype)
    graph = filled(
        "SubGraph",
        name=b"main",
        tensors=[filled("Tensor", shape=[1, 4], type=element, buffer=0, name=name) for name in (b"a", b"b", b"c")],
        operators=[
            filled(
                "Operator",
                inputs=[0, 1],
                outputs=[2],
                builtinOptionsType=schema.BuiltinOptions.AddOptions,
                builtinOptions=schema.AddOptionsT(),
            )
        ],
        inputs=[0, 1],
        outputs=[2],
    )
    model = filled(
        "Model",
        version=3,
        operatorCodes=[filled("OperatorCode", version=1)],  # 0 is ADD
        buffers=[schema.BufferT()],
        subgraphs=[graph] if graphs else None,
        signatureDefs=[
            filled(
                "SignatureDef",
                signatureKey=b"z%d" % (9 - number),  # the first of the file, not of the alphabet
                subgraphIndex=of_graph,
                inputs=[
                    filled("TensorMap", name=b"left%d" % number, tensorIndex=0),
                    filled("TensorMap", name=b"right", tensorIndex=1),
                ],
                outputs=[filled("TensorMap", name=b"sum", tensorIndex=2)],
            )
            for number in range(signatures)
        ],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_runtime(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python -m edgegen_runtime`` to its end."""
    command = [sys.executable, "-m", "edgegen_runtime", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
