"""torch to ExecuTorch: parts for XNNPACK where it has the operators, ExecuTorch's own kernels for the rest.

What is left to the own kernels is counted and told: the file runs either way, and only its time would say so. What the
file computes is held against torch before it is handed on: a kernel that is wrong is wrong in every candidate of the
format, so no comparison among them would show it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.core.models import FORMATS
from edgegen.export.executorch_file import ExecuTorchProgram, read_executorch, refuse_random_operators
from edgegen.export.host_runtime import run_on_host
from edgegen.export.program import load_module, trace
from edgegen.export.quiet import quiet
from edgegen.export.signature import read_signature
from edgegen_runtime.executorch_session import INPUT_NAMES, OUTPUT_NAMES

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

EXTRA = "executorch"
_APART_RATIO = 1e-3  # of an output's range: float32 sums in another order are a hundred times nearer
_TOLD = 6  # operators that a sentence names
_WORDS = 300  # characters of the reason: advice for its own developers follows


def convert(source: Path, folder: Path) -> Mapping[str, Any]:
    """Writes ``model.pte`` of the generator in ``source``; equal weights give equal bytes.

    Returns:
        As ``kernels_told`` says it.

    Raises:
        ToolMissingError: ExecuTorch is not installed.
        BuildError: it has no kernel for an operator or a wrong one, or the graph draws random numbers.
    """
    module, inputs, outputs = load_module(source)
    program = trace(module, inputs, str(source))
    path = folder / FORMATS["pte"]
    names = [[spec.name for spec in side] for side in (inputs, outputs)]
    path.write_bytes(lowered(program, *names, what="the generator", where=str(source)))
    written = read_executorch(path)
    refuse_random_operators(written, str(source))
    told = kernels_told(written)
    return {**told, "figures": {**told["figures"], "apart_from_torch": held_against(module, path)}}


def held_against(module: nn.Module, path: Path) -> float | None:
    """The largest difference of an output of the file from torch's, for one made-up input; None where the module does
    not take such: floats are drawn from a normal distribution, whole numbers (a token, a place, a count) are 1.

    Raises:
        BuildError: they are further apart than float32 allows, or the runtime fails.
        ToolMissingError: the runtime is not installed.
    """
    import numpy as np
    import torch

    takes, gives = read_signature(path, "pte")
    draw = np.random.default_rng(0)
    inputs = {
        spec.name: draw.standard_normal(spec.shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else np.ones(spec.shape, spec.dtype)
        for spec in takes
    }
    try:
        with torch.no_grad():
            made = module(*(torch.from_numpy(inputs[spec.name]) for spec in takes))
    except (RuntimeError, IndexError, ValueError):  # of a module of the user's own, which may take other numbers
        return None
    found, apart = run_on_host(path, "pte", inputs), 0.0
    for spec, tensor in zip(gives, [made] if isinstance(made, torch.Tensor) else made, strict=True):
        wanted, got = (np.asarray(array, np.float64) for array in (tensor.numpy(), found[spec.name]))
        if not wanted.size or not np.isfinite(wanted).all():
            continue
        largest = float(np.max(np.abs(wanted - got)))
        if not largest <= _APART_RATIO * max(float(np.ptp(wanted)), 1.0):
            raise BuildError(
                f"ExecuTorch computes another {spec.name!r} than torch",
                where=str(path),
                got=f"values {largest:.3g} apart, in a range of {float(np.ptp(wanted)):.3g}",
                expected=f"at most {_APART_RATIO:g} of the range",
                next_step="leave the pte format out of [export] formats: one of ExecuTorch's kernels is wrong for it",
            )
        apart = max(apart, largest)
    return apart


def lowered(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], *, what: str, where: str) -> bytes:
    """The program as a .pte file, its ends with these names.

    Args:
        what: what an error calls it, e.g. "the generator".

    Raises:
        ToolMissingError: ExecuTorch is not installed.
        BuildError: it cannot be lowered.
    """
    reason: Exception | None = None
    with quiet() as last_words, _unlogged():
        lower = load("executorch.exir:to_edge_transform_and_lower", extra=EXTRA)
        partitioner = load("executorch.backends.xnnpack.partition.xnnpack_partitioner:XnnpackPartitioner", extra=EXTRA)
        failures = _failures()
        try:
            edge = lower(
                _with_exact_remainders(program),
                partitioner=[partitioner()],
                constant_methods={INPUT_NAMES: "\n".join(inputs), OUTPUT_NAMES: "\n".join(outputs)},
            )
            data = bytes(edge.to_executorch().buffer)
        except failures as error:
            reason, data = error, b""
        noise = last_words()
    if reason is not None:
        raise BuildError(
            f"{what} cannot be lowered to ExecuTorch",
            where=where,
            got=f"{type(reason).__name__}: {' '.join(str(reason or noise).split())[:_WORDS]}",
            next_step="replace the operator that it names, or leave the pte format out of [export] formats",
        ) from reason
    return data


def kernels_told(program: ExecuTorchProgram) -> Mapping[str, Any]:
    """Whose kernels compute what: ``changed`` (sentences) and ``figures``, as a pass reports them."""
    delegated, portable = program.delegated, program.portable
    ours, others = delegated.total(), portable.total()
    changed = [f"XNNPACK computes {ours} of {ours + others} operators, in {len(program.parts)} parts"]
    if others:
        changed.append(f"{others} fell to ExecuTorch's own kernels: {listed(portable)}")
    return {
        "changed": changed,
        "figures": {
            "xnnpack": dict(sorted(delegated.items())),
            "xnnpack_parts": len(program.parts),
            "fallback": dict(sorted(portable.items())),
            "fallback_macs": program.portable_macs,
            "macs": program.macs,
        },
    }


def listed(operators: Mapping[str, int]) -> str:
    """The most frequent operators with their counts, e.g. ``aten::cat.out 3, aten::full.out 1 and 2 more``."""
    ranked = sorted(Counter(operators).items(), key=lambda item: (-item[1], item[0]))
    said = ", ".join(f"{name} {count}" for name, count in ranked[:_TOLD])
    rest = sum(count for _, count in ranked[_TOLD:])
    return f"{said} and {rest} more" if rest else said


def _with_exact_remainders(program: ExportedProgram) -> ExportedProgram:
    """The program with other operators in place of remainders of whole numbers.

    ExecuTorch 1.5.1's kernel gives them the sign of the dividend (-1 % 3 is -1 there), torch that of the divisor (2).
    """
    import torch

    kinds = (torch.ops.aten.remainder.Scalar, torch.ops.aten.remainder.Tensor, torch.ops.aten.remainder.Scalar_Tensor)

    def remainder(left: Any, right: Any) -> Any:
        if any(isinstance(each, torch.Tensor | float) and _has_fractions(each) for each in (left, right)):
            return NotImplemented
        return left - torch.div(left, right, rounding_mode="floor") * right

    if not any(node.target in kinds for node in program.graph.nodes):
        return program
    exact: ExportedProgram = program.run_decompositions(dict.fromkeys(kinds, remainder))
    return exact


def _has_fractions(value: Any) -> bool:
    return isinstance(value, float) or bool(value.is_floating_point())


def _failures() -> tuple[type[Exception], ...]:
    """What lowering raises: errors of its own and of torch's verifier, and whatever its passes let through."""
    own = (
        "executorch.exir.error:ExportError",
        "executorch.exir.error:InternalError",
        "torch._export.verifier:SpecViolationError",
    )
    errors: list[type[Exception]] = [load(name, extra=EXTRA) for name in own]
    return (*errors, RuntimeError, ValueError, TypeError, NotImplementedError, KeyError, AssertionError)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Its passes log every node that the partitioner leaves, on loggers that hold the stderr of their import."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
