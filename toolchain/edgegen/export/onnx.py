"""torch to ONNX: one file, fixed shapes, the family's own tensor names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch

from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, refuse_random_operators, write_onnx
from edgegen.export.program import load_module, trace
from edgegen.export.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

OPSET = 20


def convert(source: Path, folder: Path) -> None:
    """Writes ``model.onnx`` of the generator in ``source``; equal weights give equal bytes.

    Raises:
        BuildError: the exporter has no ONNX for an operator, or the graph draws random numbers.
    """
    module, inputs, outputs = load_module(source)
    program = trace(module, inputs, str(source))
    names = [[spec.name for spec in side] for side in (inputs, outputs)]
    model = exported_onnx(program, *names, what="the generator", where=str(source))
    path = folder / FORMATS["onnx"]
    refuse_random_operators(model, str(source))
    write_onnx(model, path)
    read_onnx(path)


def exported_onnx(
    program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], *, what: str, where: str
) -> onnx.ModelProto:
    """The program as ONNX, its ends with these names.

    Args:
        what: what an error calls it, e.g. "the generator".

    Raises:
        BuildError: the exporter has no ONNX for an operator.
    """
    reason: Exception | None = None
    with quiet() as last_words:
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
            )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            reason, exported = error, None
        noise = last_words()
    if exported is None:
        raise BuildError(
            f"{what} cannot be exported to ONNX",
            where=where,
            got=f"{type(reason).__name__}: {reason or noise}",
            next_step="replace the operator that it names with ones that ONNX has",
        ) from reason
    model: onnx.ModelProto = exported.model_proto
    return model
