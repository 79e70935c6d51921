"""ExecuTorch (.pte) files: their flatbuffer read as data, without ExecuTorch.

Places of fields are those of ``schema/program.fbs`` of ExecuTorch 1.5. Inputs and outputs have no names in the format;
edgegen's own files say them in two further methods that give a string each (``INPUT_NAMES``, ``OUTPUT_NAMES``).
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import TensorSpec
from edgegen.export.flat_tables import Bounded, DamagedTableError, Table
from edgegen.export.model_bytes import LARGEST_TENSOR_ELEMENTS, read_model_bytes
from edgegen.export.onnx_file import random_operators
from edgegen.export.xnnpack_graph import XnnpackPart, read_part
from edgegen_runtime.executorch_session import (
    DTYPES,
    IDENTIFIER,
    INPUT_NAMES,
    MAIN,
    OUTPUT_NAMES,
    end_names,
)

XNNPACK = "XnnpackBackend"
_EXTENDED = b"eh00"
_BOOL, _TENSOR, _STRING = 3, 5, 6  # kinds of a value
_KERNEL_CALL, _DELEGATE_CALL = 1, 2  # kinds of an instruction
_SEGMENT = 1  # where a part's bytes are: among the segments behind the flatbuffer
_Item = TypeVar("_Item")
_RANDOM = (
    "aten::rand",
    "aten::normal",
    "aten::bernoulli",
    "aten::multinomial",
    "aten::uniform",
    "aten::native_dropout",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor of the program."""

    dtype: str
    shape: tuple[int, ...]
    constant: int  # which of the stored ones it is; 0: computed
    fixed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCall:
    """One operator that ExecuTorch's own kernels compute."""

    name: str  # e.g. "aten::split_with_sizes_copy.out"
    arguments: tuple[Value | bool | None, ...]  # None: neither a tensor nor yes or no. The last one is the result


@dataclass(frozen=True, kw_only=True)
class ExecuTorchProgram:
    """What is in a file."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: tuple[KernelCall, ...]
    parts: tuple[XnnpackPart, ...]  # given to XNNPACK
    other_parts: tuple[str, ...]  # names of other backends
    stored: Mapping[int, int]  # constant outside the parts -> its elements
    size_bytes: int

    @cached_property
    def delegated(self) -> Counter[str]:
        """Operators that XNNPACK computes -> how many."""
        return Counter(name for part in self.parts for name in part.operators)

    @cached_property
    def portable(self) -> Counter[str]:
        """Operators that ExecuTorch's own kernels compute -> how many."""
        return Counter(call.name for call in self.kernels)

    @cached_property
    def portable_macs(self) -> int:
        """Multiply-accumulates per inference in these."""
        return sum(_macs(call) for call in self.kernels)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates per inference in all."""
        return self.portable_macs + sum(part.macs for part in self.parts)

    @cached_property
    def parameters(self) -> int:
        """Elements of all constants, each counted once."""
        shared = {key: elements for part in self.parts for key, elements in part.constants.items()}
        return sum(shared.values()) + sum(self.stored.values())


def read_executorch(path: Path) -> ExecuTorchProgram:
    """The program in the file.

    Raises:
        UsageError: it cannot be read, is no ExecuTorch program, or is damaged.
        BuildError: a shape is not fixed, or an input or output is no tensor.
    """
    data = read_model_bytes(path)
    if data[4:8] != IDENTIFIER:
        raise _not_executorch(path, f"identifier {data[4:8]!r}")
    try:
        return _Reader(data, str(path)).program()
    except (ValueError, struct.error) as error:
        raise _not_executorch(path, error) from error


def refuse_random_operators(program: ExecuTorchProgram, where: str) -> None:
    """Raises BuildError if an operator draws random numbers."""
    found = {name for name in program.portable if name.startswith(_RANDOM)}
    if found:
        raise random_operators(where, found)


class _Reader:
    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where = data, where
        self._root = Bounded(data).root()
        extended = data[8:12] == _EXTENDED
        self._segments_at = struct.unpack_from("<Q", data, 24)[0] if extended else 0

    def program(self) -> ExecuTorchProgram:
        plans = {plan.text(0): plan for plan in self._root.tables(1)}
        if MAIN not in plans:
            raise DamagedTableError(f"it has no method {MAIN!r}")
        plan = plans[MAIN]
        values = [self._value(item) for item in plan.tables(2)]
        kernels, called = self._instructions(plan, values)
        parts, others = [], []
        for number, part in enumerate(plan.tables(7)):
            if number not in called:
                continue
            if part.text(0) == XNNPACK:
                parts.append(read_part(self._part(part), f"part {number}"))
            else:
                others.append(part.text(0))
        return ExecuTorchProgram(
            inputs=self._ends(plan.numbers(3), values, _said(plans.get(INPUT_NAMES)), "input"),
            outputs=self._ends(plan.numbers(4), values, _said(plans.get(OUTPUT_NAMES)), "output"),
            kernels=tuple(kernels),
            parts=tuple(parts),
            other_parts=tuple(others),
            stored={
                value.constant: math.prod(value.shape)
                for value in values
                if isinstance(value, Value) and value.constant
            },
            size_bytes=len(self._data),
        )

    def _value(self, item: Table) -> Value | bool | None:
        kind, inside = item.union(0)
        if kind == _BOOL and inside is not None:
            return bool(inside.number(0, "<B"))
        if kind != _TENSOR or inside is None:
            return None
        shape = tuple(inside.numbers(2))
        if any(axis < 0 for axis in shape) or math.prod(shape) > LARGEST_TENSOR_ELEMENTS:
            raise DamagedTableError(f"a tensor of the impossible shape {list(shape)}")
        constant = inside.number(5) if inside.table(6) is None else 0
        number = inside.number(0, "<b")
        return Value(
            dtype=DTYPES.get(number, f"type {number}"), shape=shape, constant=constant, fixed=not inside.number(8, "<b")
        )

    def _instructions(self, plan: Table, values: list[Value | bool | None]) -> tuple[list[KernelCall], set[int]]:
        names = [".".join(filter(None, (item.text(0), item.text(1)))) for item in plan.tables(6)]
        kernels, called = [], set()
        for chain in plan.tables(5):
            for item in chain.tables(2):
                kind, inside = item.union(0)
                if inside is None or kind not in (_KERNEL_CALL, _DELEGATE_CALL):
                    continue
                number = inside.number(0, "<i")
                if kind == _DELEGATE_CALL:
                    called.add(number)
                    continue
                kernels.append(KernelCall(name=_at(names, number), arguments=tuple(_each(values, inside.numbers(1)))))
        return kernels, called

    def _part(self, part: Table) -> bytes:
        place = part.table(1)
        if place is None:
            raise DamagedTableError("a part without bytes")
        index = place.number(1)
        if place.number(0, "<b") != _SEGMENT:
            return _at(self._root.tables(3), index).data(0)
        segment = _at(self._root.tables(4), index)
        start, size = self._segments_at + segment.number(0, "<Q"), segment.number(1, "<Q")
        if start + size > len(self._data):
            raise DamagedTableError("a part lies out of the file")
        return self._data[start : start + size]

    def _ends(
        self, indices: list[int], values: list[Value | bool | None], said: str, side: str
    ) -> tuple[TensorSpec, ...]:
        specs = []
        for value, name in zip(_each(values, indices), end_names(said, side, len(indices)), strict=True):
            if not isinstance(value, Value) or not value.fixed:
                raise BuildError(
                    f"{name!r} is no tensor of a fixed shape",
                    where=self._where,
                    expected="tensors: a deployed model takes one sample of one size",
                    next_step="convert it with fixed shapes, the sample axis of length 1",
                )
            specs.append(TensorSpec(name=name, dtype=value.dtype, shape=value.shape))
        return tuple(specs)


def _said(plan: Table | None) -> str:
    """The string that a method without instructions gives, or nothing."""
    if plan is None:
        return ""
    values = plan.tables(2)
    given = [_at(values, index).union(0) for index in plan.numbers(4)]
    return "".join(inside.text(0) for kind, inside in given if kind == _STRING and inside is not None)


def _macs(call: KernelCall) -> int:
    operator = call.name.partition(".")[0]
    place, given = _WORK.get(operator, -1), call.arguments
    if not 0 <= place < len(given) - 2:
        return 0
    left, right, made = given[place], given[place + 1], given[-1]
    if not (isinstance(left, Value) and isinstance(right, Value) and isinstance(made, Value) and left.shape):
        return 0
    if operator == "aten::convolution":
        # Of a transposed one every input element meets the whole kernel; its weight is (in, out / groups, *kernel).
        transposed = len(given) > _TRANSPOSED and given[_TRANSPOSED] is True
        return math.prod(left.shape if transposed else made.shape) * math.prod(right.shape[1:])
    return math.prod(made.shape) * left.shape[-1]


_WORK = {"aten::convolution": 0, "aten::mm": 0, "aten::bmm": 0, "aten::linear": 0, "aten::addmm": 1}
"""Operators that multiply and accumulate -> the place of their data input; the weight stands behind it."""

_TRANSPOSED = 6  # place of a convolution's argument


def _each(values: list[Value | bool | None], indices: list[int]) -> Iterator[Value | bool | None]:
    return (_at(values, index) for index in indices)


def _at(items: Sequence[_Item], index: int) -> _Item:
    if not 0 <= index < len(items):
        raise DamagedTableError("an index leads to nothing")
    return items[index]


def _not_executorch(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable ExecuTorch program",
        where=str(path),
        got=reason,
        expected="a whole .pte file",
        next_step="convert the model again",
    )
