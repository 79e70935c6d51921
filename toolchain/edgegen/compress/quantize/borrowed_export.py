"""What every step needs that is borrowed from a torch library: a quantized torch module becomes an ONNX file.

The stock export undoes them: its optimizer computes what follows from constants beforehand, and so turns int8 weights
into the float ones that they stand for, up to 16 times as large. Here constants are folded only while they are tiny.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxscript.optimizer
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgegen.compress.context import StepContext
from edgegen.compress.fit import fixed_threads
from edgegen.compress.quantize.onnx_checks import check_scales
from edgegen.compress.quantize.onnx_static import check_calibration
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS, TensorSpec
from edgegen.export.onnx import OPSET
from edgegen.export.onnx_file import read_onnx, refuse_random_operators, write_onnx
from edgegen.export.program import example, load_module
from edgegen.export.quiet import quiet
from edgegen.train.deployed import DEPLOYED_FILES

if TYPE_CHECKING:
    from onnx import NodeProto

EXTRA = "compress"

Array = np.ndarray[Any, Any]

FOLDED_NUMBERS = 64
"""Constants of no more elements are computed with beforehand: shapes and indices, no weights."""

_SMALL_INTEGERS = (TensorProto.INT8, TensorProto.UINT8)

# None of these libraries has error classes of its own.
LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError, NotImplementedError,
    NameError, ImportError,
)  # fmt: skip


@contextmanager
def borrowed(library: str, source: Path, context: StepContext) -> Iterator[tuple[nn.Module, list[TensorSpec]]]:
    """The torch module and its inputs; runs the block in silence and with a fixed number of threads.

    Raises:
        BuildError: the model has no torch form, or the library failed.
    """
    if not all((source / name).is_file() for name in DEPLOYED_FILES):
        raise BuildError(
            f"{library} works on a torch model, and there is none",
            where=str(source),
            next_step="leave the step out of [compress] recipes for a model that came as a file",
        )
    module, inputs, _ = load_module(source)
    reason: Exception | None = None
    with fixed_threads(context.threads), quiet():
        try:
            yield module, list(inputs)
        except LIBRARY_ERRORS as error:
            reason = error
    if reason is not None:
        raise BuildError(
            f"{library} failed",
            where=str(source),
            got=f"{type(reason).__name__}: {str(reason).splitlines()[0] if str(reason) else ''}",
            next_step="leave this step out of [compress] recipes; static-int8 and weight-int8 need no such library",
        ) from reason


def calibration_rows(
    inputs: list[TensorSpec], context: StepContext, samples: int, where: Path
) -> Iterator[tuple[Tensor, ...]]:
    """Calibration inputs one by one, in the module's order.

    Raises:
        BuildError: there are none.
    """
    check_calibration(context.inputs, str(where))
    for index in range(min(samples, len(next(iter(context.inputs.values()))))):
        yield tuple(torch.from_numpy(np.array(context.inputs[spec.name][index : index + 1])) for spec in inputs)


def export_quantized(module: nn.Module, source: Path, folder: Path) -> None:
    """Writes ``model.onnx`` of a quantized module; its integer weights stay integers.

    Raises:
        BuildError: the graph draws random numbers, or a scale is not a positive number.
    """
    _, inputs, outputs = load_module(source)
    exported = torch.onnx.export(
        torch.export.export(module, example(inputs)),
        dynamo=True,
        opset_version=OPSET,
        input_names=[spec.name for spec in inputs],
        output_names=[spec.name for spec in outputs],
        external_data=False,
        verbose=False,
        optimize=False,
    )
    assert exported is not None
    model: Any = onnxscript.optimizer.optimize(exported.model_proto, input_size_limit=FOLDED_NUMBERS)
    round_constants(model)
    refuse_random_operators(model, str(source))
    check_scales(model, str(source))
    path = folder / FORMATS["onnx"]
    write_onnx(model, path)
    read_onnx(path)


def round_constants(model: ModelProto) -> int:
    """Computes, in place, every QuantizeLinear of a constant and what lies around it; returns how many nodes.

    The float constants are then unused, and leave the file with it.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept: list[NodeProto] = []
    for node in model.graph.node:
        found = _computed(node, [stored[name] for name in node.input if name in stored])
        if found is None:
            kept.append(type(node).FromString(node.SerializeToString()))
        else:
            stored[node.output[0]] = found
            model.graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
    done = len(model.graph.node) - len(kept)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return done


def _computed(node: NodeProto, given: list[Array]) -> Array | None:
    """What the node gives, all of whose inputs are constants; None of other nodes and kinds."""
    if not given or len(given) != len(node.input):
        return None
    if node.op_type == "QuantizeLinear" and len(given) == 3:
        return _quantized(node, *given)
    if node.op_type == "Clip" and len(given) == 3:
        return np.clip(*given)
    kind = next((item.i for item in node.attribute if item.name == "to"), None)
    if node.op_type == "Cast" and kind in _SMALL_INTEGERS and given[0].dtype.kind in "iu":
        return given[0].astype(helper.tensor_dtype_to_np_dtype(kind))  # zero points come in 64 bits
    return None


def _quantized(node: NodeProto, value: Array, scale: Array, zero: Array) -> Array:
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    shape = [-1 if place == axis % value.ndim else 1 for place in range(value.ndim)] if scale.ndim else []
    limits = np.iinfo(zero.dtype)
    integers = np.rint(value / scale.reshape(shape)) + zero.reshape(shape)
    rounded: Array = np.clip(integers, limits.min, limits.max).astype(zero.dtype)
    return rounded
