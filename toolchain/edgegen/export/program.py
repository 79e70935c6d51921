"""A torch generator as a traced program: one sample, fixed shapes, no random operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.models import TensorSpec
from edgegen.export.onnx_file import random_operators
from edgegen.export.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

_DROPOUT_SWITCH = {
    "dropout": 2,
    "native_dropout": 2,
    "feature_dropout": 2,
    "alpha_dropout": 2,
    "feature_alpha_dropout": 2,
}
"""Dropout operators of torch -> position of the argument that says whether they draw."""


def load_module(source: Path) -> tuple[nn.Module, tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The generator in ``source`` in eval mode, its inputs and its outputs."""
    from edgegen.train.deployed import load_deployed, model_signature

    module, family, settings = load_deployed(source)
    inputs, outputs = model_signature(family, settings)
    return module, inputs, outputs


def example(inputs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """Zeros of each input's shape and type."""
    import torch

    return tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in inputs)


def trace(module: nn.Module, inputs: tuple[TensorSpec, ...], where: str) -> ExportedProgram:
    """The module as an ExportedProgram.

    Raises:
        BuildError: torch cannot trace it, or it draws random numbers.
    """
    import torch

    with quiet():
        try:
            program = torch.export.export(module.eval(), example(inputs))
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
            reason: Exception | None = error  # torch.export names no error class of its own for a failed trace
        else:
            reason = None
    if reason is not None:
        raise BuildError(
            "torch cannot trace the generator",
            where=where,
            got=f"{type(reason).__name__}: {reason}",
            next_step="keep data-dependent branches and Python state out of forward",
        ) from reason
    found = {str(node.target) for node in program.graph.nodes if _draws(node)}
    if found:
        raise random_operators(where, found)
    return program


def _draws(node: Any) -> bool:
    import torch

    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    place = _DROPOUT_SWITCH.get(node.target._opname)
    return place is None or len(node.args) <= place or bool(node.args[place])
