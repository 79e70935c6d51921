"""Which operators of a LiteRT graph compute with integers, and why the others stay in float.

Measured with XNNPACK of LiteRT 2.3 (instructions of one inference on a Cortex-A72 | A76, int8 everywhere against the
one kind of operator in float):

- BATCH_MATMUL has no int8 kernel of XNNPACK: a character transformer takes 566,015 | 522,490 with it, 363,746 |
  320,220 without; so have SQUARED_DIFFERENCE (516,640 | 473,141 without), DIV (a spline flow: 174,363 | 171,207 with
  it, 130,557 | 127,401 without), SOFTMAX (165,867 | 162,711) and MAXIMUM (167,713 | 164,557).
- Between an operator in float and one in int8 lies a conversion of every element. Of the same transformer, the dense
  layers alone in int8 take 253,385 | 210,049, and everything but the slow kinds 312,022 | 268,594; its error is larger,
  for every conversion rounds.
- A RELU that no layer has taken in costs 43 instructions an element (as part of a layer it costs nothing), and a
  transposed convolution gains with the channels that it reads: two of 64 and 32 take 1,583,197 | 837,417 for 2,072,949
  in float, two of 8 and 16 346,439 | 300,967 for 239,552.
- What only moves or pools numbers is cheaper in int8 next to a convolution: the padding of a classifier of movements
  costs 23,000 of 83,000 in float.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from edgegen.compress.quantize.litert_graph import is_constant, layers, scope
from edgegen.compress.quantize.litert_recipes import Config, allows
from edgegen.core.errors import BuildError
from edgegen.export.litert_file import operator_names, text

SLOW = frozenset({"BATCH_MATMUL", "SQUARED_DIFFERENCE", "DIV", "SOFTMAX", "MAXIMUM", "RELU"})
"""Operators whose int8 form costs more than conversion to float and back."""

LEAST_CHANNELS = 32
"""Input channels from which on a transposed convolution is cheaper in int8."""

FEW_CHANNELS = f"slower in integers below {LEAST_CHANNELS} input channels; its weights are int8, expanded to float"
TABLE = "looked up in int8, comes out in float"
REFUSED = "the runtime refuses it in integers; its weights are int8, expanded to float"

MOVES = frozenset(
    {
        *("RESHAPE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT", "CONCATENATION", "PACK", "UNPACK", "PAD", "PADV2"),
        *("MIRROR_PAD", "BROADCAST_TO", "GATHER", "GATHER_ND", "SPACE_TO_DEPTH", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
        *("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"),
    }
)
"""Operators that keep the range of what they are given."""

LAYERS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator of the main subgraph."""

    place: int
    kind: str
    scope: str  # as the quantizer's recipes name it
    inputs: tuple[int, ...]  # tensors that are computed or given
    outputs: tuple[int, ...]
    names: tuple[str, ...]  # of the outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Islands:
    """What is quantized, and why the rest is not."""

    chosen: tuple[Node, ...]
    reasons: dict[int, str]  # place of an operator in float -> why
    nodes: tuple[Node, ...]

    @property
    def expanded(self) -> tuple[Node, ...]:
        """What computes in float with int8 weights."""
        return tuple(node for node in self.nodes if self.reasons.get(node.place) in (FEW_CHANNELS, REFUSED))

    @property
    def tables(self) -> tuple[Node, ...]:
        """Tables of int8 rows."""
        return tuple(node for node in self.nodes if self.reasons.get(node.place) == TABLE)

    def refused(self, kind: str) -> Islands:
        """The same without the operators of a kind that the runtime refuses in integers."""
        places = {node.place for node in self.chosen if node.kind == kind}
        return Islands(
            chosen=tuple(node for node in self.chosen if node.place not in places),
            reasons={**self.reasons, **dict.fromkeys(places, REFUSED)},
            nodes=self.nodes,
        )

    def figures(self) -> dict[str, Any]:
        """As a step reports it: how many operators of each kind compute with integers, and why others do not."""
        counted: dict[str, int] = {}
        for node in self.chosen:
            counted[node.kind] = counted.get(node.kind, 0) + 1
        told: dict[str, dict[str, int]] = {}
        for node in self.nodes:
            if node.place in self.reasons:
                kinds = told.setdefault(self.reasons[node.place], {})
                kinds[node.kind] = kinds.get(node.kind, 0) + 1
        return {"integer_operators": dict(sorted(counted.items())), "float_operators": told}


def nodes(model: Any) -> tuple[Node, ...]:
    """The operators of the main subgraph, in order."""
    main = model.subgraphs[0]
    found: list[Node] = []
    for subgraph, operator, kind in operator_names(model):
        if subgraph is main:
            outputs = tuple(int(index) for index in operator.outputs)
            inputs = tuple(int(index) for index in operator.inputs if index >= 0)
            found.append(
                Node(
                    place=len(found),
                    kind=kind,
                    scope=scope(subgraph, operator),
                    inputs=tuple(index for index in inputs if not is_constant(model, index)),
                    outputs=outputs,
                    names=tuple(text(main.tensors[index].name) for index in outputs),
                )
            )
    return tuple(found)


def kept(found: Sequence[Node], patterns: Sequence[str], where: str, setting: str = "keep_float") -> set[int]:
    """Places of the operators whose kind, or the name of one of whose outputs, fits a pattern.

    Raises:
        BuildError: there are patterns, and not one of them fits anything. A single one may: formats share a table of
            settings and name their operators differently.
    """
    kinds = ", ".join(sorted({node.kind for node in found}))
    matched = {
        node.place
        for node in found
        if any(fnmatchcase(name, pattern) for pattern in patterns for name in (node.kind, *node.names))
    }
    if patterns and not matched:
        raise BuildError(
            f"{setting} fits no operator of the model",
            where=where,
            got=", ".join(patterns),
            expected=f"kinds of operators ({kinds}), or names of what they give",
            next_step=f"correct {setting} in this step's table",
        )
    return matched


def choose(
    model: Any,
    config: Config,
    *,
    elementwise: str,
    floats: Collection[int],
    broken: Collection[str],
    least_row: int,
) -> Islands:
    """What computes with integers.

    Args:
        config: of the layers; operators that the quantizer has nothing for in it stay in float.
        elementwise: see ``litert_settings``.
        floats: places that a person keeps in float.
        broken: names of tensors that hold values without bounds.
        least_row: weights that a row of a table must have to be int8.
    """
    found = nodes(model)
    rows = {layer.result: int(model.subgraphs[0].tensors[layer.weights].shape[-1]) for layer in layers(model)}
    reasons = _refused(model, found, config, floats, broken, elementwise)
    for node in found:
        long = rows.get(node.outputs[0], 0) >= least_row if node.outputs else False
        if node.kind == "EMBEDDING_LOOKUP" and long and node.place not in floats:
            reasons[node.place] = TABLE
    left = {node.place: node for node in found if node.place not in reasons}
    for node in list(left.values()):
        slow = node.kind in SLOW and elementwise == "auto"
        if node.kind not in LAYERS and (slow or elementwise == "float"):
            reasons[node.place] = "slower in integers" if slow else "no layer, and elementwise = 'float'"
            del left[node.place]
    if elementwise == "auto":
        _drop_bridges(model, found, left, reasons)
    return Islands(chosen=tuple(left.values()), reasons=reasons, nodes=found)


def _refused(
    model: Any,
    found: Sequence[Node],
    config: Config,
    floats: Collection[int],
    broken: Collection[str],
    elementwise: str,
) -> dict[int, str]:
    main = model.subgraphs[0]
    weighted = {layer.result: layer for layer in layers(model)}
    reasons: dict[int, str] = {}
    for node in found:
        touched = {text(main.tensors[index].name) for index in (*node.inputs, *node.outputs)}
        if node.place in floats:
            reasons[node.place] = "kept by keep_float"
        elif not touched.isdisjoint(broken):
            reasons[node.place] = "its values have no bounds"
        elif not allows(node.kind, config) or (node.kind in LAYERS and node.outputs[0] not in weighted):
            reasons[node.place] = "no integer form in ai-edge-quantizer"
        elif node.kind == "SUB" and config.activation_tensor_config.num_bits == 16:
            # sub.cc: "data->input1_shift == 0 || data->input2_shift == 0 was not true"
            reasons[node.place] = "the runtime refuses it in int16 unless a scale is a power of two"
        elif elementwise == "auto" and node.kind == "TRANSPOSE_CONV":
            channels = int(main.tensors[weighted[node.outputs[0]].weights].shape[3])
            if channels < LEAST_CHANNELS:
                reasons[node.place] = FEW_CHANNELS
    return reasons


def _drop_bridges(model: Any, found: Sequence[Node], left: dict[int, Node], reasons: dict[int, str]) -> None:
    """Leaves in float what does not lie between two layers in integers.

    What moves numbers may also begin at an input of the model, where all that it feeds computes with integers: then
    the input is converted once and moved in a quarter of the bytes.
    """
    maker = {index: node.place for node in found for index in node.outputs}
    users: dict[int, list[int]] = {}
    for node in found:
        for index in node.inputs:
            users.setdefault(index, []).append(node.place)

    def stays(node: Node) -> bool:
        from_inputs = [index for index in node.inputs if index not in maker]
        readers = [place for index in node.outputs for place in users.get(index, [])]
        if any(index in maker and maker[index] not in left for index in node.inputs):
            return False
        if from_inputs and not (node.kind in MOVES and all(place in left for place in readers)):
            return False
        return any(place in left for place in readers)

    changing = True
    while changing:
        dropped = [node for node in left.values() if node.kind not in LAYERS and not stays(node)]
        for node in dropped:
            del left[node.place]
            reasons[node.place] = "not between two layers in integers"
        changing = bool(dropped)
