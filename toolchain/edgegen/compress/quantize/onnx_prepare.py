"""What both of onnxruntime's quantizers need: a prepared float model, silence, and their errors made readable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgegen.compress.quantize.onnx_layers import WEIGHTED, in_branches
from edgegen.core.errors import BuildError
from edgegen.export.quiet import quiet
from edgegen_runtime.session import onnx_runtime, onnx_runtime_errors

# The quantizers report what they cannot handle by whatever Python raises on the way.
QUANTIZER_ERRORS: tuple[type[Exception], ...] = (
    *onnx_runtime_errors(), KeyError, TypeError, AttributeError, NotImplementedError, AssertionError, IndexError,
)  # fmt: skip


@contextmanager
def quantizing(what: str, path: Path) -> Iterator[None]:
    """Runs the block in silence.

    Raises:
        BuildError: the quantizer or the runtime below it failed.
    """
    onnx_runtime()
    reason: Exception | None = None
    with quiet():
        try:
            yield
        except QUANTIZER_ERRORS as error:
            reason = error
    if reason is not None:
        raise BuildError(
            f"{what} failed in onnxruntime's quantizer",
            where=str(path),
            got=f"{type(reason).__name__}: {reason}",
            next_step="leave this recipe out of [compress] recipes, or try weight-int8",
        ) from reason


def prepared(path: Path, folder: Path) -> Path:
    """A copy of the model with shapes inferred and simple operators fused, as the quantizers want it."""
    ready = folder / "prepared.onnx"
    with quantizing("preparing the model", path):
        # The symbolic step is for dynamic shapes; deployed models have none.
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
    return ready


def refuse_branches(model: ModelProto, where: str) -> None:
    """Raises BuildError if the bodies of If, Loop and Scan hold as many weighted operators as the graph around them.

    No quantizer here or in onnxruntime reaches into a body: the step would leave most of the model as it is.
    """
    inside = in_branches(model)
    outside = sum(node.op_type in WEIGHTED for node in model.graph.node)
    if inside and len(inside) >= outside:
        raise BuildError(
            "most of the model lies inside If, Loop or Scan, where nothing is quantized",
            where=where,
            got=f"{len(inside)} weighted operators inside, {outside} outside: {', '.join(inside[:5])}",
            next_step="fix the input that chooses the branch when the model is exported, so that the branch folds away",
        )
