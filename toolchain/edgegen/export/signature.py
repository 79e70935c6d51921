"""What a model file takes and gives, read from the file itself."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import UsageError
from edgegen.core.models import FORMATS, TensorSpec


def read_signature(path: Path, format_name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a model file; also refuses graphs that draw random numbers.

    Raises:
        UsageError: an unknown format, or a file that cannot be parsed.
        BuildError: a shape that is not fixed, or a random operator.
    """
    if format_name in ("onnx", "ort"):
        from edgegen.export import onnx_file, ort_file

        model = onnx_file.read_onnx(path) if format_name == "onnx" else ort_file.read_ort(path)
        onnx_file.refuse_random_operators(model, str(path))
        return onnx_file.signature_of_onnx(model, str(path))
    if format_name == "litert":
        from edgegen.export import litert_file

        read = litert_file.read_litert(path)
        litert_file.refuse_random_operators(read, str(path))
        return litert_file.signature_of_litert(read, str(path))
    if format_name == "c":
        from edgegen.core.c_model import C_INTERFACE, outside_spec, read_c_model

        compiled = read_c_model(path.parent / C_INTERFACE)
        return tuple(map(outside_spec, compiled.inputs)), tuple(map(outside_spec, compiled.outputs))
    if format_name == "pte":
        from edgegen.export import executorch_file

        program = executorch_file.read_executorch(path)
        executorch_file.refuse_random_operators(program, str(path))
        return program.inputs, program.outputs
    raise UsageError("unknown model format", got=format_name, expected=f"one of {', '.join(FORMATS)}")
