"""ONNX to ORT format: the graph as ONNX Runtime has optimized it, saved, so that a device has not to do it at load.

What is saved must run on the target's instruction set, whatever machine saves it. Two of ONNX Runtime's optimizations
depend on the machine and are pinned here as its own converter does (``convert_onnx_models_to_ort.py``,
``--target_platform``): blocked layouts of convolutions (NCHWc) have kernels of the saving machine's vector width, so
they are never saved; signed 8-bit activations stay signed for Arm, whose kernels multiply them as they are, and turn
unsigned for x86.
"""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.models import FILES_BESIDE, FORMATS
from edgegen.export.ort_file import read_ort
from edgegen.export.quiet import quiet

(REQUIRED_OPERATORS,) = FILES_BESIDE["ort"]
"""Beside the file: what a reduced build of ONNX Runtime must have to run it (``--include_ops_by_config``)."""

NOT_SAVED = ("NchwcTransformer",)
"""Optimizations whose result runs on the saving machine's kind alone."""

NOT_PORTABLE = "com.microsoft.nchwc"
"""The domain of what they would leave in a graph."""


def convert(source: Path, folder: Path, isa: str) -> None:
    """Writes ``model.ort`` and the list of its operators.

    Equal models give equal graphs but not equal bytes: the order of some tables differs from save to save. So a bundle
    with this file is the one kind whose digest another machine does not repeat.

    Args:
        isa: of the target, as its profile names it.

    Raises:
        BuildError: ONNX Runtime refuses the model, or saved what only this machine's kind could run.
    """
    from edgegen_runtime.session import onnx_runtime, onnx_runtime_errors

    runtime, path = onnx_runtime(), folder / FORMATS["ort"]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # it raises what it logs
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.qdqisint8allowed", "1" if is_arm(isa) else "0")
    model = str(source / FORMATS["onnx"])
    try:
        with quiet():
            runtime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(NOT_SAVED)
            )
    except onnx_runtime_errors() as error:
        raise BuildError("ONNX Runtime cannot save the model in ORT format", where=model, got=error) from error
    from edgegen.export.onnx_file import nodes

    if any(node.domain == NOT_PORTABLE for node in nodes(read_ort(path))):
        raise BuildError(
            "the saved model holds operators of this machine's kind alone",
            where=str(path),
            got=NOT_PORTABLE,
            next_step="deploy the ONNX file, which is optimized where it is loaded",
        )
    (folder / REQUIRED_OPERATORS).write_text(required_operators(path), encoding="utf-8")


def required_operators(path: Path) -> str:
    """ONNX Runtime's own list of the operators and element types that a file needs, without the file's name."""
    from edgegen_runtime.session import onnx_runtime

    onnx_runtime()
    from onnxruntime.tools.ort_format_model import create_config_from_models

    written = path.parent / f".{REQUIRED_OPERATORS}"
    with quiet():
        create_config_from_models([path], written, enable_type_reduction=True)
    lines = written.read_text(encoding="utf-8").splitlines(keepends=True)
    written.unlink()
    return "".join(line for line in lines if not line.startswith("#"))


def is_arm(isa: str) -> bool:
    """Whether the instruction set is one of Arm's."""
    return isa.startswith(("arm", "aarch64"))
