"""float16 weights in ONNX: large constants are stored in half and cast back, which the runtime does once, at load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_weights import make_node, replace_weights
from edgegen.compress.settings import Nothing
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx

_WORTH_ELEMENTS = 64  # a Cast node costs about as many bytes as this many weights save


def apply(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Writes the model with its float32 constants of 64 elements or more in float16.

    Raises:
        BuildError: a weight is larger than float16 holds (65504).
    """
    path = source / FORMATS["onnx"]
    model = read_onnx(path)
    replaced, casts = {}, []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _WORTH_ELEMENTS:
            continue
        values = numpy_helper.to_array(tensor)
        if not np.abs(values).max(initial=0.0) <= np.finfo(np.float16).max:  # also if it is not a number
            raise BuildError(
                f"the weight {tensor.name!r} does not fit float16",
                where=str(path),
                got=float(np.abs(values).max()),
                expected="at most 65504",
                next_step="leave float16 out of [compress] recipes",
            )
        half = f"{tensor.name}_half"
        replaced[tensor.name] = [numpy_helper.from_array(values.astype(np.float16), half)]
        casts.append(make_node("Cast", [half], tensor.name, to=TensorProto.FLOAT))
    replace_weights(model, replaced, casts)
    write_onnx(model, folder / FORMATS["onnx"])
