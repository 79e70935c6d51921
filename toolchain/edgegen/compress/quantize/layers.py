"""The layers of a float file that int8 quantization touches, and which of them are fragile by what they do.

Fragile by kind: the last layers (their error is the output's own), scales that are exponentiated (an error there
multiplies), softmax (its small probabilities lie between two steps of int8) and embeddings (a row is all that is known
of a token).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.wiring import MOVERS, QUANTIZERS, Operator, Wiring, integer_tensors, read_wiring

OUTPUT, LOG_SCALE, SOFTMAX, EMBEDDING = "output", "log-scale", "softmax", "embedding"

_EXPONENTS = frozenset({"Exp", "Softplus", "EXP"})
_LOOKUPS = frozenset({"Gather", "GATHER", "EMBEDDING_LOOKUP"})
_LABEL_CHARACTERS = 40
# What onnxruntime's quantizer appends to a tensor's name where it cuts the tensor in two.
_BEFORE, _AFTER = "_QuantizeLinear_Input", "_DequantizeLinear_Output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator, or several neighbours, that can be quantized or kept in float."""

    name: str  # what a person reads; unique among the layers of a file
    kind: str  # operator type; of several neighbours the first one's
    tensors: tuple[str, ...]  # what its operators make: ``keep_float`` names them so
    weighted: bool
    fragile: str = ""  # why it is fragile by kind, or empty


def find_layers(source: Path, quantized: Path, form: str) -> tuple[Layer, ...]:
    """Every layer that the quantizer touched, in execution order.

    Operators that only move numbers belong to the layer that feeds them: they have no error of their own.

    Args:
        source: folder of the float file.
        quantized: folder of what the quantizer made of the whole of it.

    Raises:
        BuildError: it touched nothing.
    """
    before = read_wiring(source / FORMATS[form], form)
    groups = _grouped(before, list(_touched(before, quantized / FORMATS[form], form)))
    if not groups:
        raise BuildError(
            "int8 quantization touches no operator of this model",
            where=str(source / FORMATS[form]),
            got=f"{len(before.operators)} operators: {', '.join(sorted({item.kind for item in before.operators}))}",
            next_step="leave the step out for this model",
        )
    reasons = fragile_operators(before)
    return tuple(
        Layer(
            name=name,
            kind=group[0].kind,
            tensors=tuple(output for operator in group for output in operator.outputs),
            weighted=group[0].weighted,
            fragile=next((reasons[operator.name] for operator in group if operator.name in reasons), ""),
        )
        for name, group in zip(_labels([group[0] for group in groups]), groups, strict=True)
    )


def in_blocks(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Neighbours together: a block begins with a weighted layer and holds those that follow up to the next one."""
    blocks: list[list[Layer]] = []
    for layer in layers:
        if not blocks or layer.weighted:
            blocks.append([])
        blocks[-1].append(layer)
    return tuple(
        Layer(
            name=block[0].name if len(block) == 1 else f"{block[0].name} +{len(block) - 1}",
            kind=block[0].kind,
            tensors=tuple(tensor for layer in block for tensor in layer.tensors),
            weighted=block[0].weighted,
            fragile=", ".join(dict.fromkeys(layer.fragile for layer in block if layer.fragile)),
        )
        for block in blocks
    )


def fragile_operators(wiring: Wiring) -> dict[str, str]:
    """Operator -> why it is fragile by kind."""
    reasons: dict[str, str] = {}
    for operator in wiring.operators:
        if operator.kind.lower() == "softmax":
            reasons[operator.name] = SOFTMAX
        elif operator.kind in _LOOKUPS and operator.weighted:
            reasons[operator.name] = EMBEDDING
        elif operator.kind in _EXPONENTS:
            reasons |= {found.name: LOG_SCALE for found in (operator, *wiring.behind(operator.inputs))}
    for operator in wiring.behind(wiring.outputs[:1]):
        if operator.kind not in MOVERS:
            reasons.setdefault(operator.name, OUTPUT)
    return reasons


def _touched(before: Wiring, path: Path, form: str) -> Iterator[list[Operator]]:
    """The float operators behind each quantized one: several where the quantizer has merged them."""
    after = read_wiring(path, form)
    if form == "litert":
        integers = integer_tensors(path)
        for operator in after.operators:
            if operator.kind not in QUANTIZERS and integers.intersection(operator.outputs):
                yield [before.maker[name] for name in operator.outputs if name in before.maker][:1]
        return
    # Touched is what has a quantized weight, and what reads quantized values alone and gives some.
    quantized = {name for item in after.operators if item.kind in QUANTIZERS for name in item.outputs}
    rounded = {name for item in after.operators if item.kind == "QuantizeLinear" for name in item.inputs}
    for operator in after.operators:
        if operator.kind in QUANTIZERS or not operator.inputs:
            continue
        passes = quantized.issuperset(operator.inputs) and not rounded.isdisjoint(operator.outputs)
        if passes or any(name.endswith(_AFTER) for name in operator.constants):
            read = {name.removesuffix(_AFTER) for name in operator.inputs}
            yield _between(before, [name.removesuffix(_BEFORE) for name in operator.outputs], read)


def _between(wiring: Wiring, outputs: Sequence[str], inputs: set[str]) -> list[Operator]:
    """The operators on the way from the inputs to the outputs, in execution order; none for a way that is not there."""
    found: dict[str, Operator] = {}
    waiting = list(outputs)
    while waiting:
        operator = wiring.maker.get(waiting.pop())
        if operator is None:
            return []
        found[operator.name] = operator
        waiting.extend(name for name in operator.inputs if name not in inputs and wiring.maker[name].name not in found)
    return [operator for operator in wiring.operators if operator.name in found]


def _grouped(wiring: Wiring, touched: Sequence[list[Operator]]) -> list[list[Operator]]:
    """A group a layer: what only moves numbers goes to the layer that feeds it."""
    groups: dict[str, list[Operator]] = {}  # name of the group's first operator -> group
    home: dict[str, str] = {}  # operator -> its group
    for operators in touched:
        if not operators:
            continue
        first = operators[0]
        feeding = wiring.maker.get(first.inputs[0]) if first.kind in MOVERS and first.inputs else None
        place = home.get(feeding.name, first.name) if feeding else first.name
        groups.setdefault(place, []).extend(operators)
        home |= {operator.name: place for operator in operators}
    return list(groups.values())


def _labels(operators: Sequence[Operator]) -> list[str]:
    """The operators' own names; its type where the name is long; with a number where that is not unique."""
    short = [item.name if len(item.name) <= _LABEL_CHARACTERS else item.kind.lower() for item in operators]
    counted, seen = Counter(short), Counter[str]()
    labels = []
    for name in short:
        seen[name] += 1
        labels.append(name if counted[name] == 1 else f"{name} {seen[name]}")
    return labels
