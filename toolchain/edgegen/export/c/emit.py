"""The model as C99 that a person can read: constants, one function an operator, and the call of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgegen.core.c_model import CModel, COperator, CTensor
from edgegen.export.c.amalgamation import kernels_header
from edgegen.export.c.arena import Plan, plan
from edgegen.export.c.c_text import TYPES, array_text, constant_text, wrapped
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.model_header import model_header
from edgegen.export.c.operators import operator
from edgegen.export.c.products import ENLARGED, enlarged
from edgegen.export.c.states import prompt_nodes
from edgegen.export.c.storage import tensor_bytes

KERNELS_HEADER, MODEL_HEADER = "eg_kernels.h", "model.h"
_BLOCKS = {"arena": "void *arena", "in": "const void *in", "out": "void *out"}  # in the order of the arguments
COPY = "memcpy"  # what a reshape comes down to where it must move something


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """A model's sources, and what is known of them."""

    source: str  # model.c
    header: str  # model.h
    kernels: str  # eg_kernels.h
    interface: CModel
    plan: Plan


def emit(graph: Graph, isa: Isa, states: Sequence[tuple[int, int]] = ()) -> Emitted:
    """Lowers, plans and writes the graph; equal graphs give equal bytes.

    Args:
        states: (input, output) by place, where an output is the input of the next step.

    Raises:
        BuildError: an operator that there is no kernel for.
    """
    lowered = {node.name: operator(node.kind).lower(node, graph, isa) for node in graph.nodes if node.kind != "reshape"}
    planned = plan(graph, lowered)
    reading = prompt_nodes(graph, tuple(states))
    writer = _Writer(graph, planned, lowered, reading)
    source = writer.source()
    interface = CModel(
        name=graph.name,
        rounding=graph.rounding,
        isa=isa,
        arena_bytes=planned.arena_bytes,
        arena_lower_bound_bytes=planned.lower_bound_bytes,
        constant_bytes=writer.constant_bytes,
        inputs=block(graph, graph.inputs),
        outputs=block(graph, graph.outputs),
        operators=tuple(
            COperator(
                name=node.name,
                kind=node.kind,
                kernel=lowered[node.name].kernel if node.name in lowered else COPY,
                macs=lowered[node.name].macs if node.name in lowered else 0,
            )
            for node in planned.nodes
        ),
        states=tuple(states),
        prompt_operators=sum(node.name in reading for node in planned.nodes),
    )
    used = [call.kernel for one in lowered.values() for call in (one, *one.then)]
    return Emitted(
        source=source,
        header=model_header(interface),
        kernels=kernels_header(sorted(set(used)), [ENLARGED] if any(map(enlarged, graph.nodes)) else []),
        interface=interface,
        plan=planned,
    )


def block(graph: Graph, names: Sequence[str]) -> tuple[CTensor, ...]:
    """Tensors one after the other, each at a multiple of 4 bytes."""
    offset, found = 0, list[CTensor]()
    for name in names:
        tensor = graph.tensors[name]
        scale, zero_point = (None, None) if tensor.scales is None or tensor.dtype == "float32" else tensor.scales.one
        found.append(
            CTensor(
                name=name,
                dtype=tensor.dtype,  # type: ignore[arg-type]
                shape=tensor.shape,
                scale=scale,
                zero_point=zero_point,
                offset=offset,
                bytes=tensor_bytes(graph, name),
            )
        )
        offset += -(-found[-1].bytes // 4) * 4
    return tuple(found)


class _Writer:
    """Writes model.c; equal constants are written once."""

    def __init__(self, graph: Graph, planned: Plan, lowered: Mapping[str, Lowered], reading: frozenset[str]) -> None:
        self._graph = graph
        self._reading = reading
        self._plan = planned
        self._lowered = lowered
        self._constants: dict[tuple[str, bytes], tuple[str, int]] = {}  # (type, bytes) -> (name, alignment)
        self._arrays: dict[str, Constant] = {}
        self._inputs = {tensor.name: tensor for tensor in block(graph, graph.inputs)}
        self._outputs = {tensor.name: tensor for tensor in block(graph, graph.outputs)}
        self._used: set[str] = set()  # blocks that the operator being written is given
        self.constant_bytes = 0

    def source(self) -> str:
        """The text of model.c."""
        name = self._graph.name
        functions, calls, ever = [], list[str](), set[str]()
        reads, read = list[str](), set[str]()
        for place, node in enumerate(self._plan.nodes):
            function = f"eg_{name}_{place}_{node.kind}"
            text, used = self._function(function, place, node)
            functions.append(text)
            ever.update(used)
            call = f"    {function}({', '.join(used)});"
            calls += [call, f"    EG_PROFILE({place});"]
            if node.name in self._reading:
                reads.append(call)
                read.update(used)
        arrays = [
            array_text(key, constant.array, self._constants[str(constant.array.dtype), constant.array.tobytes()][1])
            for key, constant in self._arrays.items()
        ]
        return "\n".join(
            [
                f"/* The model {name}: weights, parameters and one function an operator. Written by edgegen.",
                f" * Rounding rule: {self._graph.rounding}. {KERNELS_HEADER} says what the kernels take and give. */",
                f'#include "{MODEL_HEADER}"',
                f'#include "{KERNELS_HEADER}"',
                "",
                "/* EG_PROFILE(i) comes after operator i: -DEG_PROFILE=name has void name(int) called there. */",
                "#if defined(EG_PROFILE)",
                "void EG_PROFILE(int);",
                "#else",
                "#define EG_PROFILE(i) ((void)0)",
                "#endif",
                "/* An operator is compiled by itself: gcc 12 for Arm drops calls of functions that write into the",
                " * block that they read, once it looks inside (at -O1 to -O3, without -fno-ipa-pure-const). */",
                "#if defined(__GNUC__) && !defined(__clang__)",
                "#define EG_OPERATOR static __attribute__((noipa)) void",
                "#else",
                "#define EG_OPERATOR static __attribute__((noinline)) void",
                "#endif",
                "",
                *arrays,
                *functions,
                *_called(f"eg_{name}_run", calls, ever),
                *(_called(f"eg_{name}_read", reads, read) if reads else ()),
            ]
        )

    def _function(self, function: str, place: int, node: Node) -> tuple[str, list[str]]:
        """An operator's function with its parameters, and the blocks that it is given."""
        read, made = self._graph.of(node)
        self._used = set()
        lines = [f"/* {place} {node.name}: {_shapes(read)} -> {_shapes(made)}"]
        calls = []
        if node.kind == "reshape":
            size = tensor_bytes(self._graph, node.outputs[0])
            calls.append(f"    {COPY}({self._written(node.outputs[0])}, {self._read(node.inputs[0], node)}, {size});")
        else:
            told = self._lowered[node.name]
            lines[0] += f", {told.macs} multiply-accumulates" if told.macs else ""
            there = self._plan.shared.get(node.name, frozenset())
            for number, call in enumerate((told, *told.then)):
                if number in there:  # of a concat, a call an input
                    continue
                parameters = f"{function}_parameters" + (f"_{number + 1}" if number else "")
                lines.append(self._parameters(parameters, call, node))
                calls.append(self._call(parameters, call, node))
        lines[0] += " */"
        used = [block for block in _BLOCKS if block in self._used]
        head = f"EG_OPERATOR {function}({', '.join(_BLOCKS[block] for block in used) or 'void'}) {{"
        return "\n".join([*lines, head, *calls, "}", ""]), used

    def _parameters(self, name: str, call: Lowered, node: Node) -> str:
        fields = [
            f".{key} = {self._constant(value, node) if isinstance(value, Constant) else constant_text(value)}"
            for key, value in call.parameters.items()
        ]
        return f"static const struct {call.kernel}_params {name} = {{\n{wrapped(fields)}\n}};"

    def _call(self, parameters: str, call: Lowered, node: Node) -> str:
        read, _ = self._graph.of(node)
        arguments: Sequence[int | Constant] = (
            [place for place, tensor in enumerate(read) if tensor is not None and tensor.data is None]
            if call.arguments is None
            else call.arguments
        )
        given = [f"&{parameters}"]
        for argument in arguments:
            given.append(
                self._constant(argument, node)
                if isinstance(argument, Constant)
                else self._read(node.inputs[argument], node)
            )
        given += [self._written(name) for name in node.outputs]
        if call.scratch_bytes:
            given.append(self._place("void", "arena", self._plan.scratch[node.name]))
        return f"    {call.kernel}({', '.join(given)});"

    def _read(self, name: str, node: Node) -> str:
        tensor = self._graph.tensors[name]
        if tensor.data is not None:
            return self._constant(Constant(suffix="input", array=tensor.data), node)
        kind = f"const {TYPES[tensor.dtype]}"
        where = self._plan.ends.get(name)
        begin = self._plan.begins.get(name, 0)
        if where in self._inputs:
            return self._place(kind, "in", self._inputs[where].offset + begin)
        if where is not None:
            return self._place(kind, "out", self._outputs[where].offset + begin)
        return self._place(kind, "arena", self._plan.places[name])

    def _written(self, name: str) -> str:
        kind, where = TYPES[self._graph.tensors[name].dtype], self._plan.ends.get(name)
        if where is not None:
            return self._place(kind, "out", self._outputs[where].offset + self._plan.begins.get(name, 0))
        return self._place(kind, "arena", self._plan.places[name])

    def _place(self, kind: str, block: str, offset: int) -> str:
        """A pointer into a block; bytes are counted in char, which may point at anything."""
        self._used.add(block)
        const = "const " if kind.startswith("const ") else ""
        whole = f"(({const}char *){block} + {offset})" if offset else block
        return f"({kind} *)({const}void *){whole}" if kind != "void" else f"(void *){whole}"

    def _constant(self, constant: Constant, node: Node) -> str:
        """The name of an array in flash, which is added where there is none of its bytes yet."""
        key = (str(constant.array.dtype), constant.array.tobytes())
        if key in self._constants:
            name, align = self._constants[key]
            self._constants[key] = (name, max(align, constant.align))
            return name
        name = f"eg_{self._graph.name}_{node.name}_{constant.suffix}"
        while name in self._arrays:
            name += "_2"
        self._constants[key] = (name, constant.align)
        self._arrays[name] = constant
        self.constant_bytes += constant.array.nbytes
        return name


def _called(name: str, calls: Sequence[str], used: set[str]) -> list[str]:
    """One of the model's functions."""
    unused = [f"    (void){block};" for block in _BLOCKS if block not in used]
    return [f"void {name}(void *arena, const void *in, void *out) {{", *unused, *calls, "}", ""]


def _shapes(tensors: Sequence[Tensor | None]) -> str:
    told = [
        f"{tensor.dtype} {'x'.join(str(axis) for axis in tensor.shape)}"
        for tensor in tensors
        if tensor is not None and tensor.data is None
    ]
    return ", ".join(told) or "constants"
