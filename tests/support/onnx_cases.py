"""The cases that the onnx package carries or generates: a model, inputs, and the outputs that are right for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxCase:
    """A model and what it has to answer."""

    name: str
    model: bytes
    inputs: Mapping[str, Any]  # arrays; a list of arrays is a sequence, None an absent optional
    outputs: Sequence[Any]
    rtol: float
    atol: float

    @property
    def plain(self) -> bool:
        """Whether all that goes in and out are arrays of numbers."""
        return all(
            isinstance(item, np.ndarray) and item.dtype.kind in "fiub"
            for item in (*self.inputs.values(), *self.outputs)
        )


@cache
def node_cases() -> tuple[OnnxCase, ...]:
    """What ``onnx.backend.test`` generates of every operator: about 1,900."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow and division by zero are what some cases are about
        found = collect_testcases(None)
    cases = []
    for case in found:
        if case.model is None or not case.data_sets:
            continue
        inputs, outputs = case.data_sets[0]
        cases.append(_case(case.name, case.model, inputs, outputs, case.rtol, case.atol))
    return tuple(sorted(cases, key=lambda case: case.name))


@cache
def simple_cases() -> tuple[OnnxCase, ...]:
    """The package's small models with stored inputs and outputs."""
    return tuple(_stored(folder) for folder in sorted((_data() / "simple").iterdir()) if folder.is_dir())


@cache
def light_models() -> tuple[Path, ...]:
    """Well-known image networks without their weights, a few KB each."""
    return tuple(sorted((_data() / "light").glob("*.onnx")))


def _case(name: str, model: Any, inputs: Sequence[Any], outputs: Sequence[Any], rtol: float, atol: float) -> OnnxCase:
    stored = {item.name for item in model.graph.initializer}
    names = [item.name for item in model.graph.input if item.name not in stored]
    return OnnxCase(
        name=name,
        model=model.SerializeToString(),
        inputs=dict(zip(names, map(_array, inputs), strict=False)),
        outputs=tuple(map(_array, outputs)),
        rtol=rtol,
        atol=atol,
    )


def _array(item: Any) -> Any:
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def _stored(folder: Path) -> OnnxCase:
    model = onnx.load(folder / "model.onnx")
    place = folder / "test_data_set_0"
    stored = {item.name for item in model.graph.initializer}
    asked = [item for item in model.graph.input if item.name not in stored]
    inputs = [_read(place / f"input_{number}.pb", item) for number, item in enumerate(asked)]
    outputs = [_read(place / f"output_{number}.pb", item) for number, item in enumerate(model.graph.output)]
    return _case(folder.name, model, inputs, outputs, 1e-3, 1e-7)


def _read(path: Path, told: Any) -> Any:
    kind = told.type.WhichOneof("value")
    data = path.read_bytes()
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _data() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def drawn(count: int, seed: int) -> Iterator[OnnxCase]:
    """Some of the plain node cases, the same for a seed."""
    plain = [case for case in node_cases() if case.plain]
    for place in sorted(np.random.Generator(np.random.PCG64(seed)).choice(len(plain), count, replace=False)):
        yield plain[place]
