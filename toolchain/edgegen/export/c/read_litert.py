"""A statically quantized LiteRT file as the compiler's graph, operator by operator as the file has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import nearest
from edgegen.export.c.arithmetic import RANGES
from edgegen.export.c.builder import Builder, apart, check_wiring, unlike
from edgegen.export.c.graph import Graph, Rounding, Scales
from edgegen.export.c.litert_operators import CONVERTERS
from edgegen.export.litert_file import listed, operator_names, read_litert, signature_of_litert, tensor_dtype, text

if TYPE_CHECKING:
    import numpy as np

_STORED = {"int4": "int8", "int64": "int32"}  # how the graph holds a type of the file's, where it can
_TYPES = frozenset({"int8", "int16", "int32", "uint8", "bool", "float32"})


class LitertOperator:
    """One operator of the file, with what its converter asks of it."""

    def __init__(self, reading: _Reading, operator: Any, name: str, place: int) -> None:
        self.builder = reading.builder
        self.name = name
        self.options = operator.builtinOptions
        self._reading = reading
        self._inputs = [int(index) for index in listed(operator.inputs)]
        self._outputs = [int(index) for index in listed(operator.outputs)]
        self.where = f"{reading.where}, operator {place} ({name})"

    def __len__(self) -> int:
        return len(self._inputs)

    def input(self, number: int) -> str:
        """The tensor's name in the graph; empty where an optional one is left out."""
        index = self._inputs[number] if number < len(self._inputs) else -1
        return "" if index < 0 else self._reading.named(index)

    def output(self, number: int = 0) -> str:
        """The tensor's name in the graph."""
        return self._reading.named(self._outputs[number])

    @property
    def outputs(self) -> int:
        """How many it makes."""
        return len(self._outputs)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor of the graph."""
        return self.builder.tensors[name].shape

    def constant(self, number: int) -> np.ndarray[Any, Any]:
        """The numbers of a constant input.

        Raises:
            BuildError: they are known only at run time.
        """
        data = self.builder.tensors[self.input(number)].data
        if data is None:
            raise self.refused(f"its input {number} is computed at run time", "a constant")
        return data

    def integers(self, number: int) -> list[int]:
        """The same as plain numbers."""
        return [int(item) for item in self.constant(number).reshape(-1)]

    def option(self, name: str, default: Any = None) -> Any:
        """An option by the schema's name; its default where the file has no options."""
        return default if self.options is None else getattr(self.options, name, default)

    def refused(self, got: object, expected: object) -> BuildError:
        """The error to raise where the operator is used in a way that there is no kernel for."""
        return BuildError(
            f"EG213, the C compiler cannot build this {self.name}", where=self.where, got=got, expected=expected
        )


class _Reading:
    """A file while its operators are gone through."""

    def __init__(self, model: Any, subgraph: Any, where: str, name: str, rounding: Rounding) -> None:
        self.where = where
        self.builder = Builder(name, rounding)
        self._model = model
        self._tensors = listed(subgraph.tensors)
        self._names: dict[int, str] = {}

    def named(self, index: int) -> str:
        """The graph's tensor of one of the file's."""
        if index not in self._names:
            self._names[index] = self._added(index)
        return self._names[index]

    def _added(self, index: int) -> str:
        tensor = self._tensors[index]
        dtype = tensor_dtype(tensor)
        shape = [int(axis) for axis in listed(tensor.shape)]
        stored = _STORED.get(dtype, dtype)
        # Names of converters are paths: the last part says what it is.
        wish = text(tensor.name).split(";")[-1].rsplit("/", 1)[-1]
        data = self._model.buffers[tensor.buffer].data if tensor.buffer else None
        if stored not in _TYPES or (dtype == "int64" and data is None):
            raise BuildError(
                f"EG213, the C compiler has no values of the type {dtype}",
                where=f"{self.where}, tensor {text(tensor.name)!r}",
                expected=f"one of {', '.join(sorted(_TYPES))}",
                next_step="quantize the model to int8: the recipe static-int8",
            )
        array = None if data is None else self._array(bytes(data), dtype, shape, text(tensor.name))
        return self.builder.tensor(wish, shape, stored, self._scales(tensor, shape), array)

    def _array(self, data: bytes, dtype: str, shape: list[int], name: str) -> np.ndarray[Any, Any]:
        import numpy as np

        elements = int(np.prod(shape, dtype=np.int64))
        flat: np.ndarray[Any, Any]
        if dtype == "int4":  # two a byte, the lower half first
            halves = np.frombuffer(data, np.uint8)
            flat = np.stack([halves & 15, halves >> 4], axis=1).reshape(-1)[:elements].astype(np.int8)
            flat = np.where(flat > 7, flat - 16, flat).astype(np.int8)
        else:
            kind = np.dtype("bool" if dtype == "bool" else dtype).newbyteorder("<")
            if len(data) % kind.itemsize:
                raise self._too_short(name, shape, len(data))
            flat = np.frombuffer(data, kind)
        if flat.size != elements:
            raise self._too_short(name, shape, len(data))
        if dtype == "int64":
            if flat.size and (flat.max() > 2**31 - 1 or flat.min() < -(2**31)):
                raise BuildError(f"EG213, the constant {name!r} does not fit 32 bits", where=self.where)
            flat = flat.astype(np.int32)
        return np.ascontiguousarray(flat.reshape(shape))

    def _too_short(self, name: str, shape: list[int], size: int) -> UsageError:
        return UsageError(f"the constant {name!r} has not the bytes of its shape {shape}", where=self.where, got=size)

    def _scales(self, tensor: Any, shape: list[int]) -> Scales | None:
        told = tensor.quantization
        if told is None or told.scale is None or not len(told.scale):
            return None
        scale = tuple(float(item) for item in told.scale)
        zero_points = [int(item) for item in listed(told.zeroPoint)] or [0]
        zero_point = tuple(zero_points * len(scale) if len(zero_points) == 1 else zero_points)
        axis = int(told.quantizedDimension)
        low, high = RANGES.get(tensor_dtype(tensor), RANGES["int8"])
        usable = all(low <= item <= high for item in zero_point) and all(0 < item < float("inf") for item in scale)
        fits = len(scale) == 1 or (0 <= axis < len(shape) and shape[axis] == len(scale))
        if not fits or not usable or len(zero_point) != len(scale):
            raise UsageError(
                f"the tensor {text(tensor.name)!r} has no usable quantization",
                where=self.where,
                got=f"{len(scale)} scales and {len(zero_points)} zero points for the shape {shape}",
            )
        return Scales(scale=scale, zero_point=zero_point, axis=axis if len(scale) > 1 else 0)


def graph_of_litert(path: Path, *, name: str = "model", rounding: Rounding = "tflm-double") -> Graph:
    """The file's main graph as it is: quantize and dequantize nodes included, nothing fused.

    Args:
        name: of the model in C; lower case letters, digits and underscores.

    Raises:
        UsageError: not LiteRT, damaged or hostile.
        BuildError: an operator, type or use of one that there is no kernel for; says which and where.
        ToolMissingError: the extra ``litert`` is not installed.
    """
    model, where = read_litert(path), str(path)
    takes, gives = signature_of_litert(model, where)
    subgraph, inputs, outputs = _ends(model)
    reading = _Reading(model, subgraph, where, name, rounding)
    starts = [reading.named(index) for index in inputs]
    for place, (operator, kind) in enumerate(
        (operator, kind) for owner, operator, kind in operator_names(model) if owner is subgraph
    ):
        _convert(LitertOperator(reading, operator, kind, place))
    ends = apart(reading.builder, starts, [reading.named(index) for index in outputs])
    called = dict(zip(starts, (spec.name for spec in takes), strict=True))
    called |= dict(zip(ends, unlike((spec.name for spec in gives), set(called.values())), strict=True))
    graph = reading.builder.finish(starts, ends, called)
    check_wiring(graph, where)
    return graph


def _convert(operator: LitertOperator) -> None:
    if operator.name not in CONVERTERS:
        raise BuildError(
            f"EG213, there is no C kernel for the operator {operator.name}",
            where=operator.where,
            expected=f"one of {', '.join(sorted(CONVERTERS))}{nearest(operator.name, CONVERTERS)}",
            next_step="replace the operator in the model, or build for a target with a runtime for .tflite files",
        )
    try:
        CONVERTERS[operator.name](operator)
    except (IndexError, ValueError, KeyError, TypeError, ZeroDivisionError, AttributeError) as error:
        raise UsageError("an operator's tensors do not fit it", where=operator.where, got=error) from error


def _ends(model: Any) -> tuple[Any, list[int], list[int]]:
    """The main graph, and the tensors at its ends in the signature's order."""
    if model.signatureDefs:
        chosen = model.signatureDefs[0]
        sides = [[int(item.tensorIndex) for item in listed(side)] for side in (chosen.inputs, chosen.outputs)]
        return model.subgraphs[chosen.subgraphIndex], *sides
    main = model.subgraphs[0]
    return main, [int(index) for index in listed(main.inputs)], [int(index) for index in listed(main.outputs)]
