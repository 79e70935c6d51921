"""torch to LiteRT with litert-torch: fixed shapes, the family's own tensor names in the file's signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.core.models import FORMATS
from edgegen.export.litert_file import EXTRA, read_litert, refuse_random_operators
from edgegen.export.program import example, load_module, trace
from edgegen.export.quiet import quiet


class Named(nn.Module):
    """A module whose inputs and outputs go by name, as the converter takes a signature's names from them."""

    def __init__(self, inner: nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.inner = inner
        self._inputs, self._outputs = inputs, outputs

    def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Every output of the inner module by its name."""
        given: Any = self.inner(*(tensors[name] for name in self._inputs))
        return dict(zip(self._outputs, [given] if isinstance(given, Tensor) else given, strict=True))


def convert(source: Path, folder: Path) -> None:
    """Writes ``model.tflite`` of the generator in ``source``; equal weights give equal bytes.

    Raises:
        ToolMissingError: litert-torch is not installed.
        BuildError: the converter has no LiteRT for an operator, or the graph draws random numbers.
    """
    module, inputs, outputs = load_module(source)
    trace(module, inputs, str(source))
    named = Named(module, [spec.name for spec in inputs], [spec.name for spec in outputs]).eval()
    examples = dict(zip((spec.name for spec in inputs), example(inputs), strict=True))
    path = folder / FORMATS["litert"]
    write_litert(named, examples, path, what="the generator", where=str(source))
    refuse_random_operators(read_litert(path), str(source))


def write_litert(named: Named, examples: Mapping[str, Tensor], path: Path, *, what: str, where: str) -> None:
    """Writes the module, traced with these inputs by name, as a LiteRT file.

    Args:
        what: what an error calls it, e.g. "the generator".

    Raises:
        ToolMissingError: litert-torch is not installed.
        BuildError: the converter has no LiteRT for an operator.
    """
    reason: Exception | None = None
    with quiet() as last_words:
        converter = load("litert_torch:convert", extra=EXTRA)
        try:
            with torch.no_grad():
                converter(named, sample_kwargs=dict(examples)).export(str(path))
        except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError, AssertionError) as error:
            reason = error  # the converter passes on whatever its lowering rules raise
        noise = last_words()
    if reason is not None:
        raise BuildError(
            f"{what} cannot be converted to LiteRT",
            where=where,
            got=f"{type(reason).__name__}: {reason or noise}",
            next_step="replace the operator that it names, or leave the litert format out of [export] formats",
        ) from reason
