"""Counted operators by the names of the model file, with the multiply-accumulates that the file says they do.

ONNX Runtime names nodes as the file does, but for what its optimizer adds. LiteRT names an operator of its own by its
place in the file, and XNNPACK's by their kind alone. XNNPACK keeps the order of the file, so where it made of a kind
just as many operators as the file has, the first is the first; where it made more or fewer, they keep their number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen.bench.operators_matched import Operator
from edgegen.core.errors import BuildError, UsageError
from edgegen.devices.device import OperatorCost, Reading
from edgegen.export.census import LitertOperator, macs_of_litert, macs_of_nodes

_PLACE = re.compile(r"node (\d{1,9})")
_ACTIVATIONS = "modules.activation."
_KIND = re.compile(r"[^(]+")
# What XNNPACK calls an operator -> what the file may call it.
_XNNPACK = {
    "Fully Connected": ("FULLY_CONNECTED",),
    "Dynamic Fully Connected": ("FULLY_CONNECTED",),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Average Pooling": ("AVERAGE_POOL_2D",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Depth To Space": ("DEPTH_TO_SPACE",),
    "Space To Depth": ("SPACE_TO_DEPTH",),
    "Constant Pad": ("PAD", "PADV2"),
    "Transpose": ("TRANSPOSE",),
    "Softmax": ("SOFTMAX",),
    "Sigmoid": ("LOGISTIC",),
    "TanH": ("TANH",),
    "GELU": ("GELU",),
    "ELU": ("ELU",),
    "LeakyReLU": ("LEAKY_RELU",),
    "HardSwish": ("HARD_SWISH",),
    "Exp": ("EXP",),
    "Abs": ("ABS",),
    "Negate": ("NEG",),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Divide": ("DIV",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str
    macs: int


def name_operators(reading: Reading, model: Path, runtime: str) -> Reading:
    """The reading with its operators named and weighed by the model file; as it is where there are none."""
    counted = reading.counted
    if counted is None or counted.per_operator is None or runtime not in ("onnxruntime", "litert"):
        return reading
    try:
        if runtime == "litert":
            named = _of_litert(counted.per_operator, macs_of_litert(model))
        else:
            named = _of_onnx(counted.per_operator, macs_of_nodes(model))
    except (BuildError, UsageError):  # a file that this machine cannot read is counted all the same
        return reading
    return replace(reading, counted=replace(counted, per_operator=tuple(named)))


def _of_onnx(costs: Iterable[OperatorCost], macs: dict[str, int]) -> list[OperatorCost]:
    found = []
    for cost in costs:
        base = Operator(name=cost.name, operator=cost.operator, instructions=0).base_name
        known = macs.get(cost.name, macs.get(base))
        found.append(cost if known is None else replace(cost, macs=known))
    return found


def _of_litert(costs: Sequence[OperatorCost], operators: Sequence[LitertOperator]) -> list[OperatorCost]:
    names: dict[int, _Named] = {}  # place among the costs -> what the file says
    own = set()  # places in the file of what LiteRT runs by itself
    for place, cost in enumerate(costs):
        found = _PLACE.fullmatch(cost.name)
        if found and int(found[1]) < len(operators):
            operator = operators[int(found[1])]
            own.add(int(found[1]))
            names[place] = _named(operator)
    for kinds in dict.fromkeys(_XNNPACK.values()):
        ran = [place for place, cost in enumerate(costs) if place not in names and _kinds(cost) == kinds]
        given = [item for place, item in enumerate(operators) if place not in own and item.kind in kinds]
        if len(ran) == len(given):
            names |= {place: _named(item) for place, item in zip(ran, given, strict=True)}
    told = Counter[str]()
    found_costs = []
    for place, cost in enumerate(costs):
        known = names.get(place)
        if known is None:
            found_costs.append(cost)
            continue
        told[known.name] += 1
        again = f" ({told[known.name]})" if told[known.name] > 1 else ""
        found_costs.append(replace(cost, name=f"{known.name}{again}", macs=known.macs))
    return found_costs


def _named(operator: LitertOperator) -> _Named:
    return _Named(name=short_name(operator.name, layer=operator.macs > 0), macs=operator.macs)


def short_name(name: str, *, layer: bool) -> str:
    """What a person calls a tensor of a LiteRT file: converters write the way through all modules that are fused in it.

    ``a.Net/torch.nn.modules.activation.ReLU_relu2;;a.Net/torch.nn.modules.conv.Conv2d_conv2;1`` is ``Conv2d_conv2``
    where it is a layer, and ``ReLU_relu2`` where it is not.
    """
    lasts = [part.rsplit("/", 1)[-1] for part in name.split(";") if part] or [name]
    work = [last for last in lasts if _ACTIVATIONS not in last] if layer else lasts
    last = (work or lasts)[0]
    return last.rsplit(".", 1)[-1] if last.startswith("torch.") else last


def _kinds(cost: OperatorCost) -> tuple[str, ...]:
    """What the file may call an operator of XNNPACK's; none for a kind that is not known."""
    found = _KIND.match(cost.operator)
    return _XNNPACK.get(found[0].strip(), ()) if found else ()
