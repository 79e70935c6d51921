"""Runs lowered nodes with the host's C compiler: many nodes in one program, byte for byte, with the sanitizers on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgegen.export.c.c_text import TYPES
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.operators import operator
from edgegen.export.c.products import ENLARGED, enlarged

Array = np.ndarray[Any, Any]
Preset = Literal["speed", "size"]

INCLUDE = Path(__file__).resolve().parents[2] / "runtimes" / "mcu" / "include"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One node with what it reads."""

    graph: Graph
    node: Node
    inputs: Mapping[str, Array]  # by name, for the node's inputs that are no constants


def run_node(
    node: Node, graph: Graph, inputs: Mapping[str, Array], *, preset: Preset = "speed", isa: Isa = "c"
) -> list[Array]:
    """The node's outputs from the host's C. For more than one node use ``run_cases``: a compiler run costs most."""
    return run_cases([Case(graph=graph, node=node, inputs=inputs)], preset=preset, isa=isa)[0]


def run_cases(
    cases: Sequence[Case], folder: Path | None = None, *, preset: Preset = "speed", isa: Isa = "c"
) -> list[list[Array]]:
    """The outputs of every case, in order, from one program.

    Args:
        cases: nodes with inputs.
        folder: where source and program are put; a temporary one when left out.
        preset: how kernels are compiled.
        isa: how weights are packed (the host's path is portable C all the same).

    Raises:
        AssertionError: the compiler, a sanitizer or the program complained; with its words.
    """
    if folder is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="edgegen-kernels-") as made:
            return run_cases(cases, Path(made), preset=preset, isa=isa)
    folder.mkdir(parents=True, exist_ok=True)
    source, program = folder / "cases.c", folder / "cases"
    source.write_text(_HOST_HEAD + program_text(cases, isa), encoding="ascii")
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "no C compiler: apt-get install gcc"
    options = ["-O1", "-g", *WARNINGS, *SANITIZERS, *(["-DEG_PRESET_SIZE"] if preset == "size" else [])]
    _run([compiler, *options, f"-I{INCLUDE}", str(source), "-o", str(program), "-lm"])
    return outputs_of(cases, _run([str(program)]))


def expected(case: Case) -> list[Array]:
    """What numpy's reference gives for a case."""
    values: list[Array | None] = []
    for name in case.node.inputs:
        values.append(None if not name else case.inputs[name] if name in case.inputs else case.graph.tensors[name].data)
    return operator(case.node.kind).reference(case.node, case.graph, values)


def differing(cases: Sequence[Case], results: Sequence[Sequence[Array]]) -> list[str]:
    """One sentence for every case whose bytes are not the reference's; empty when all are equal."""
    complaints = []
    for index, (case, outputs) in enumerate(zip(cases, results, strict=True)):
        for wanted, got in zip(expected(case), outputs, strict=True):
            if wanted.dtype != got.dtype or wanted.shape != got.shape:
                complaints.append(f"case {index}: {wanted.dtype}{wanted.shape} became {got.dtype}{got.shape}")
            elif wanted.tobytes() != got.tobytes():
                places = np.flatnonzero(wanted.ravel() != got.ravel())
                first = int(places[0]) if places.size else 0
                complaints.append(
                    f"case {index} {case.node.kind} {dict(case.node.attributes)}: {places.size} of {wanted.size}"
                    f" differ, first at {first}: {wanted.ravel()[first]} became {got.ravel()[first]}"
                )
    return complaints


def program_text(cases: Sequence[Case], isa: Isa, *, blank: bool = False) -> str:
    """C of a function ``run_all`` that runs the cases and hands every output to ``eg_put(bytes, count)``.

    ``blank``: inputs are zeros in RAM, where only the way counts.
    """
    lowered = [operator(case.node.kind).lower(case.node, case.graph, isa) for case in cases]
    kernels = sorted({call.kernel for one in lowered for call in (one, *one.then)})
    switches = [f"#define {ENLARGED}"] if any(enlarged(case.node) for case in cases) else []
    text = ["#include <stdint.h>", _HIDE, *switches] + [f'#include "{kernel}.h"' for kernel in kernels]
    calls: list[str] = []
    for index, (case, one) in enumerate(zip(cases, lowered, strict=True)):
        _case_text(f"case{index}", case, one, text, calls, blank)
    functions = [f"static void run_{i}(void) {{ {call} }}" for i, call in enumerate(calls)]
    body = " ".join(f"run_{i}();" for i in range(len(calls)))
    return "\n".join([*text, *functions, f"static void run_all(void) {{ {body} }}", _MAIN])


def outputs_of(cases: Sequence[Case], raw: bytes) -> list[list[Array]]:
    """The cases' outputs out of the bytes that ``eg_put`` was given, in order."""
    results, at = [], 0
    for case in cases:
        made = []
        for tensor in case.graph.of(case.node)[1]:
            kind = np.dtype(tensor.dtype)
            count = tensor.elements * kind.itemsize
            made.append(np.frombuffer(raw[at : at + count], kind).reshape(tensor.shape))
            at += count
        results.append(made)
    assert at == len(raw), f"{len(raw)} bytes came, {at} were expected"
    return results


def array_text(name: str, array: Array, align: int = 16) -> str:
    """A constant array as C."""
    kind = TYPES[str(array.dtype)]
    if array.dtype == np.float32:
        numbers = ",".join(f"{float(value).hex()}f" for value in array.ravel())
    else:
        numbers = ",".join("INT32_MIN" if value == -(2**31) else str(int(value)) for value in array.ravel())
    attributes = f"__attribute__((aligned({align}), unused))"
    return f"static const {kind} {name}[{max(array.size, 1)}] {attributes} = {{{numbers or 0}}};"


def _case_text(prefix: str, case: Case, lowered: Lowered, text: list[str], calls: list[str], blank: bool) -> None:
    read, made = case.graph.of(case.node)
    for name, array in case.inputs.items():
        place = list(case.node.inputs).index(name)
        if blank:
            kind = TYPES[str(array.dtype)]
            text.append(f"static {kind} {prefix}_in{place}[{array.size}] __attribute__((aligned(16)));")
        else:
            text.append(array_text(f"{prefix}_in{place}", np.ascontiguousarray(array)))
    for place, tensor in enumerate(made):
        kind = TYPES[tensor.dtype]
        text.append(f"static {kind} {prefix}_out{place}[{tensor.elements}] __attribute__((aligned(16)));")
    call = ""
    for number, one in enumerate((lowered, *lowered.then)):
        name = f"{prefix}_{number}"
        text.append(_parameters_text(name, one, text))
        if one.arguments is None:
            given = [f"{prefix}_in{i}" for i, tensor in enumerate(read) if tensor is not None and tensor.data is None]
        else:
            given = [_argument(prefix, name, one_of, case, text) for one_of in one.arguments]
        given += [f"{prefix}_out{place}" for place in range(len(made))]
        if one.scratch_bytes:
            text.append(f"static int8_t {name}_scratch[{one.scratch_bytes}] __attribute__((aligned(16)));")
            given.append(f"{name}_scratch")
        call += f"{one.kernel}({', '.join([f'&{name}', *(f'EG_HIDE({each})' for each in given)])}); "
    puts = "".join(f"eg_put({prefix}_out{place}, sizeof {prefix}_out{place});" for place in range(len(made)))
    calls.append(call + puts)


def _argument(prefix: str, name: str, argument: int | Constant, case: Case, text: list[str]) -> str:
    if isinstance(argument, Constant):
        text.append(array_text(f"{name}_{argument.suffix}", argument.array, argument.align))
        return f"{name}_{argument.suffix}"
    data = case.graph.tensors[case.node.inputs[argument]].data
    if data is None:
        return f"{prefix}_in{argument}"
    text.append(array_text(f"{name}_constant{argument}", data))
    return f"{name}_constant{argument}"


def _parameters_text(name: str, lowered: Lowered, text: list[str]) -> str:
    fields = []
    for key, value in lowered.parameters.items():
        shown: Any = value
        if isinstance(value, Constant):
            shown = f"{name}_{value.suffix}"
            text.append(array_text(shown, value.array, value.align))
        elif isinstance(value, float):
            shown = f"{value.hex()}f"
        elif value == -(2**31):
            shown = "INT32_MIN"
        fields.append(f".{key} = {shown}")
    return f"static const struct {lowered.kernel}_params {name} = {{{', '.join(fields)}}};"


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stderr or done.stdout).decode(errors="replace")[:6000]
    return done.stdout


_HOST_HEAD = """#include <stdio.h>
#include <stddef.h>
static void eg_put(const void *bytes, size_t count) { (void)!fwrite(bytes, 1, count, stdout); }
"""
# As in a model, a kernel does not see where a tensor ends: else gcc warns of reads that no input leads to.
_HIDE = '#define EG_HIDE(p) ({ __typeof__(&(p)[0]) q_ = (p); __asm("" : "+r"(q_)); q_; })'
_MAIN = "int main(void) { run_all(); return 0; }\n"
