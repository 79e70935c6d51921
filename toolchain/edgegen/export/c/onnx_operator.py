"""One operator of an ONNX file, with what its converter asks of it; quantize and dequantize themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import qdq
from edgegen.export.c.builder import Builder
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_layout import Layout
from edgegen.export.c.onnx_values import WHOLE, Held, Known, OfOne, Pending, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

QUANTIZE_IT = (
    "quantize every operator: edgegen's static-int8 with elementwise = \"int8\", or onnxruntime's quantize_static with "
    "this operator's type among op_types_to_quantize"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A file while its operators are gone through."""

    where: str
    opset: int
    shapes: Mapping[str, tuple[int, ...]]
    builder: Builder
    layout: Layout
    values: dict[str, Value] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # what differs from the file's own results
    brought: dict[tuple[str, Scales], str] = field(
        default_factory=dict
    )  # tensor, scales -> the same numbers with these


class OnnxOperator:
    """What a converter sees."""

    def __init__(
        self,
        reading: Reading,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, Any],
        where: str,
    ) -> None:
        self.reading = reading
        self.builder = reading.builder
        self.layout = reading.layout
        self.opset = reading.opset
        self.kind = kind
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.where = where
        self._attributes = attributes

    def given(self, number: int) -> bool:
        """Whether an input is there."""
        return number < len(self.inputs) and bool(self.inputs[number])

    def attribute(self, name: str, default: Any = None) -> Any:
        """As the file says; its default where it says nothing."""
        return self._attributes.get(name, default)

    def value(self, number: int) -> Value:
        """An input."""
        if not self.given(number):
            raise self.refused(f"no input {number}", "the input that the operator is defined with")
        return self.reading.values[self.inputs[number]]

    def shape(self, value: Value) -> tuple[int, ...]:
        """As the file has it."""
        if isinstance(value, Known):
            return tuple(value.array.shape)
        if isinstance(value, Pending):
            return value.shape
        return self.layout.shape(value.held if isinstance(value, OfOne) else value)

    def made_shape(self, number: int = 0) -> tuple[int, ...]:
        """Of an output."""
        if self.outputs[number] not in self.reading.shapes:
            raise self.refused(
                "an output whose shape is not known before it runs",
                "fixed shapes",
                "export the model with fixed shapes",
            )
        return self.reading.shapes[self.outputs[number]]

    def known(self, number: int) -> Array:
        """The numbers of a constant input.

        Raises:
            BuildError: they are known only at run time.
        """
        value = self.value(number)
        if not isinstance(value, Known):
            raise self.refused(f"its input {number} is computed at run time", "a constant")
        return value.array

    def integers(self, number: int) -> list[int]:
        """The same as plain numbers."""
        return [int(item) for item in self.known(number).reshape(-1)]

    def held(self, number: int) -> Held:
        """An input as a quantized int8 tensor.

        Raises:
            BuildError: it has no scale.
        """
        return self.as_held(self.value(number))

    def as_held(self, value: Value, *, stored: bool = False) -> Held:
        """A value as a quantized int8 tensor; a function of one whose every result that tensor could hold as well.

        Args:
            stored: integers will do as well: the operator keeps their order, or moves them.
        """
        if isinstance(value, Held) and not value.real and not stored:
            raise self.refused("integers", "real numbers", "put a DequantizeLinear before it")
        if isinstance(value, OfOne):
            scales = self.scales(value.held)
            if (qdq.dequantized(self.table(value, scales), *scales.one) == value.results).all():
                return self.look_up(value, scales)
        if isinstance(value, Known) and value.stored is not None and value.stored.dtype == "int8":
            name = self.builder.tensor(f"{self.kind}_constant", value.stored.shape, "int8", value.scales, value.stored)
            return Held(name=name, axes=tuple(range(value.stored.ndim)))
        tensor = self.builder.tensors[value.name] if isinstance(value, Held) else None
        if tensor is None or tensor.dtype != "int8" or tensor.scales is None or len(tensor.scales.scale) != 1:
            raise self.refused(
                "real numbers without a scale: no QuantizeLinear and DequantizeLinear stand before it",
                "int8 numbers",
                QUANTIZE_IT,
            )
        assert isinstance(value, Held)
        return value

    def scales(self, held: Held) -> Scales:
        """Of a quantized tensor.

        Raises:
            BuildError: it is none.
        """
        scales = self.builder.tensors[held.name].scales
        if scales is None:
            raise self.refused("real numbers that were left in float", "a quantized tensor", QUANTIZE_IT)
        return scales

    def output(self, shape: Sequence[int], scales: Scales, number: int = 0) -> str:
        """Adds an int8 tensor named like an output."""
        return self.builder.tensor(self.outputs[number], shape, "int8", scales)

    # -- quantize --------------------------------------------------------------------------------------------------

    def stored(self, value: Value, scales: Scales) -> Held:
        """A value as QuantizeLinear stores it."""
        if isinstance(value, Pending):
            return value.stored(scales)
        if isinstance(value, OfOne):
            return self.look_up(value, scales)
        if isinstance(value, Known):
            data = qdq.quantized(value.array, *scales.one, WHOLE).astype("int8")
            name = self.builder.tensor(f"{self.kind}_constant", data.shape, "int8", scales, data)
            return Held(name=name, axes=tuple(range(data.ndim)))
        tensor = self.builder.tensors[value.name]
        if tensor.scales == scales:
            return value
        brought = self.reading.brought
        if (value.name, scales) not in brought:
            made = brought[value.name, scales] = self.output(tensor.shape, scales)
            self.builder.node("quantize" if tensor.dtype == "float32" else "requantize", [value.name], [made])
        return Held(name=brought[value.name, scales], axes=value.axes)

    def look_up(self, value: OfOne, scales: Scales) -> Held:
        """A function of one number as a table."""
        made = self.output(self.builder.tensors[value.held.name].shape, scales)
        results = tuple(int(item) for item in self.table(value, scales))
        self.builder.node("lut", [value.held.name], [made], function=value.function, table=results)
        return Held(name=made, axes=value.held.axes)

    def table(self, value: OfOne, scales: Scales) -> Array:
        """A function's stored results for -128 to 127."""
        return qdq.quantized(value.results, *scales.one, WHOLE)

    # -- moves -----------------------------------------------------------------------------------------------------

    def refused(self, got: object, expected: object, next_step: str | None = None) -> BuildError:
        """The error to raise where the operator is used in a way that there is no kernel for."""
        more = {} if next_step is None else {"next_step": next_step}
        return BuildError(
            f"EG213, the C compiler cannot build this {self.kind}",
            where=self.where,
            got=got,
            expected=expected,
            **more,
        )


def scales_of(scale: Array, zero_point: Array, axis: int) -> Scales | None:
    """Scales of int8 and wider integers; None where they are not usable."""
    flat, zeros = scale.astype("float32").reshape(-1), zero_point.astype("int64").reshape(-1)
    if not flat.size or len(zeros) not in (1, len(flat)) or not all(math.isfinite(s) and s > 0 for s in flat):
        return None
    many = [int(item) for item in zeros] * (len(flat) if len(zeros) == 1 else 1)
    return Scales(scale=tuple(float(item) for item in flat), zero_point=tuple(many), axis=axis if len(flat) > 1 else 0)
