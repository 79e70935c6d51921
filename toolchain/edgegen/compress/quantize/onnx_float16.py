"""16-bit weights in ONNX: large constants are stored short and cast back, which the runtime does once, at load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
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
    """Writes the model with its float32 constants of 64 elements or more in float16: 11 bits of precision.

    Raises:
        BuildError: a weight is larger than float16 holds (65504).
    """
    _shorten(source, folder, np.dtype(np.float16), "half", 65504.0)


def apply_bfloat16(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """The same in bfloat16: the range of float32 with 8 bits of precision, for weights that float16 cannot hold.

    Raises:
        BuildError: a weight is infinite or not a number.
    """
    _shorten(source, folder, np.dtype(ml_dtypes.bfloat16), "bfloat16", float(np.finfo(np.float32).max))


def _shorten(source: Path, folder: Path, dtype: np.dtype[Any], suffix: str, largest: float) -> None:
    path = source / FORMATS["onnx"]
    model = read_onnx(path)
    replaced, casts = {}, []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _WORTH_ELEMENTS:
            continue
        values = numpy_helper.to_array(tensor)
        if not np.abs(values).max(initial=0.0) <= largest:  # also if it is not a number
            raise BuildError(
                f"the weight {tensor.name!r} does not fit {dtype.name}",
                where=str(path),
                got=float(np.abs(values).max()),
                expected=f"at most {largest:.6g}",
                next_step=f"leave {dtype.name} out of [compress] recipes",
            )
        short = f"{tensor.name}_{suffix}"
        replaced[tensor.name] = [numpy_helper.from_array(values.astype(dtype), short)]
        casts.append(make_node("Cast", [short], tensor.name, to=TensorProto.FLOAT))
    replace_weights(model, replaced, casts)
    write_onnx(model, folder / FORMATS["onnx"])
