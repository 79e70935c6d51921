"""Golden vectors on a device: whether a bundle's model still gives what was signed with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.core.errors import IntegrityError
from edgegen.core.ports import Tensors
from edgegen.core.records import read_record
from edgegen.export.golden import Golden

_INPUT, _OUTPUT = "input/", "output/"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenOutput:
    """One output beside its golden values."""

    name: str
    apart: float  # largest absolute difference of an element; infinite where one is not finite or shapes differ
    tolerance: float

    @property
    def kept(self) -> bool:
        """Whether it lies within its tolerance."""
        return self.apart <= self.tolerance


def golden_inputs(arrays: Tensors) -> dict[str, Any]:
    """The inputs among golden arrays, by the model's own names."""
    return {name.removeprefix(_INPUT): array for name, array in arrays.items() if name.startswith(_INPUT)}


def check_golden(record: Mapping[str, Any], arrays: Tensors, outputs: Tensors) -> tuple[GoldenOutput, ...]:
    """Every golden output beside what a device gave for the golden inputs.

    Args:
        record: ``golden.json``.

    Raises:
        IntegrityError: the record names no tolerance for an output.
    """
    golden = read_record(Golden, record, "", "golden.json")
    found = []
    for name, array in arrays.items():
        if not name.startswith(_OUTPUT):
            continue
        own = name.removeprefix(_OUTPUT)
        if own not in golden.tolerances:
            raise IntegrityError("the golden vectors name no tolerance", where="golden.json", got=own[:100])
        found.append(
            GoldenOutput(name=own, apart=_apart(array, outputs.get(own)), tolerance=golden.tolerances[own].absolute)
        )
    return tuple(found)


def _apart(golden: Any, given: Any) -> float:
    import numpy as np

    if given is None or given.shape != golden.shape or not np.isfinite(given).all():
        return float("inf")
    return float(np.max(np.abs(given.astype(np.float64) - golden.astype(np.float64)), initial=0.0))
