"""torch to ONNX: one file, fixed shapes, the family's own tensor names."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, refuse_random_operators, write_onnx
from edgegen.export.program import load_module, trace
from edgegen.export.quiet import quiet

OPSET = 20


def convert(source: Path, folder: Path) -> None:
    """Writes ``model.onnx`` of the generator in ``source``; equal weights give equal bytes.

    Raises:
        BuildError: the exporter has no ONNX for an operator, or the graph draws random numbers.
    """
    module, inputs, outputs = load_module(source)
    program = trace(module, inputs, str(source))
    path = folder / FORMATS["onnx"]
    reason: Exception | None = None
    model = onnx.ModelProto()
    with quiet() as last_words:
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in inputs],
                output_names=[spec.name for spec in outputs],
                external_data=False,
                verbose=False,
            )
            if exported is not None:
                model = exported.model_proto
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            reason = error
        noise = last_words()
    if reason is not None:
        raise BuildError(
            "the generator cannot be exported to ONNX",
            where=str(source),
            got=f"{type(reason).__name__}: {reason or noise}",
            next_step="replace the operator that it names with ones that ONNX has",
        ) from reason
    refuse_random_operators(model, str(source))
    write_onnx(model, path)
    read_onnx(path)
