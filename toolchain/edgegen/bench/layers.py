"""Two runs of one graph, tensor by tensor: where they begin to differ by more than what went in explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import ExitCode
from edgegen.export.wiring import MOVERS
from edgegen.metrics.paired import PSNR_CAP_DB

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

JUMP_DB = 10.0
"""A tensor whose SQNR lies so far below its worst input's has an error of its own."""

_NEAR_DB = 15.0  # a jump counts as divergence only where the SQNR is no further above the threshold than this
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A tensor that both runs have."""

    name: str
    kind: str  # of the operator that makes it; empty for a model's input
    inputs: tuple[str, ...]  # shared tensors that it is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How far apart a tensor is."""

    name: str
    kind: str
    sqnr_db: float  # over all samples together; 150 where both are equal
    max_abs_error: float
    inputs_db: float | None  # SQNR of its worst input; None for a model's own input
    not_finite: int  # elements left out because one of both is no finite number and the other is another

    @property
    def drop_db(self) -> float:
        """How much of the SQNR got lost in the operator itself."""
        return 0.0 if self.inputs_db is None else self.inputs_db - self.sqnr_db


def compare_tensors(shared: Sequence[Shared], old: Mapping[str, Array], new: Mapping[str, Array]) -> list[Compared]:
    """Every tensor that both runs gave with as many elements, in the order given.

    Args:
        old, new: values by name, samples along the first axis.
    """
    found: dict[str, Compared] = {}
    for tensor in shared:
        if tensor.name not in old or tensor.name not in new or old[tensor.name].size != new[tensor.name].size:
            continue
        read = [found[name].sqnr_db for name in tensor.inputs if name in found]
        # A tensor that is zero throughout, as what a clamp takes off, has no power of its own to compare an error with.
        stand_in = max((_power(old[name]) for name in tensor.inputs if name in old), default=0.0)
        found[tensor.name] = _compared(tensor, old[tensor.name], new[tensor.name], min(read, default=None), stand_in)
    return list(found.values())


def first_diverging(rows: Sequence[Compared], threshold_db: float) -> tuple[Compared, str] | None:
    """The first tensor that is off, and why it is taken to be: None where none is.

    Off is what falls below the threshold, and what loses ``JUMP_DB`` in one operator and comes near the threshold;
    an operator that only moves numbers loses none: the part that it takes has less power than the whole.
    """
    for row in rows:
        if row.not_finite:
            return row, f"{row.not_finite} elements are finite in one of the two alone"
        if row.drop_db >= JUMP_DB and row.kind not in MOVERS and row.sqnr_db < threshold_db + _NEAR_DB:
            return row, f"{row.drop_db:.1f} dB below the worst of what goes in"
        if row.sqnr_db < threshold_db:
            return row, f"below {threshold_db:g} dB; what goes in has {_shown(row.inputs_db)}"
    return None


def layers_document(
    *,
    old: str,
    new: str,
    old_kernels: str,
    new_kernels: str,
    format_name: str,
    samples: int,
    threshold_db: float,
    rows: Sequence[Compared],
    skipped: int,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The comparison, JSON-ready, in execution order.

    Args:
        old, new: what people call the two; ``skipped``: tensors of the first that the second has not.
    """
    found = first_diverging(rows, threshold_db)
    return {
        "schema_version": 1,
        "exit_code": int(ExitCode.OK),
        "old": {"name": old, "kernels": old_kernels},
        "new": {"name": new, "kernels": new_kernels},
        "format": format_name,
        "samples": samples,
        "threshold_db": threshold_db,
        "first_diverging": None if found is None else {"tensor": found[0].name, "why": found[1]},
        "worst_drop": max(rows, key=lambda row: row.drop_db).name if rows else None,
        "tensors": [
            {
                "name": row.name,
                "kind": row.kind,
                "sqnr_db": _rounded(row.sqnr_db),
                "max_abs_error": _rounded(row.max_abs_error),
                "inputs_db": None if row.inputs_db is None else _rounded(row.inputs_db),
                "drop_db": _rounded(row.drop_db),
                "not_finite": row.not_finite,
            }
            for row in rows
        ],
        "tensors_not_shared": skipped,
        "notes": list(notes),
    }


def _compared(tensor: Shared, old: Array, new: Array, inputs_db: float | None, stand_in: float) -> Compared:
    import numpy as np

    left, right = (values.astype(np.float64).ravel() for values in (old, new))
    usable = np.isfinite(left) & np.isfinite(right)
    broken = int(np.sum(~usable & ~(left == right)))  # infinities of one sign, which masks are made of, are equal
    left, right = left[usable], right[usable]
    return Compared(
        name=tensor.name,
        kind=tensor.kind,
        sqnr_db=_ratio_db(_power(left) or stand_in, _power(left - right)),
        max_abs_error=float(np.max(np.abs(left - right), initial=0.0)),
        inputs_db=inputs_db,
        not_finite=broken,
    )


def _power(values: Array) -> float:
    """Mean square of the finite elements."""
    import numpy as np

    finite = values[np.isfinite(values)].astype(np.float64)
    return float(np.mean(np.square(finite))) if finite.size else 0.0


def _ratio_db(signal: float, noise: float) -> float:
    """10 log10(signal / noise), within plus and minus ``PSNR_CAP_DB``."""
    if noise == 0:
        return PSNR_CAP_DB
    if signal == 0:
        return -PSNR_CAP_DB
    return max(-PSNR_CAP_DB, min(PSNR_CAP_DB, 10.0 * math.log10(signal / noise)))


def _shown(value: float | None) -> str:
    return "no error" if value is None or value >= PSNR_CAP_DB else f"{value:.1f} dB"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
