"""What the metrics ask of their arrays, and the errors when they do not get it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from edgegen.core.errors import UsageError

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


def same_samples(reference: Array, candidate: Array, axes: int = 1) -> tuple[Array, Array]:
    """Both arrays as float64 rows (samples, values).

    Raises:
        UsageError: other shapes, no sample, fewer than ``axes`` axes, or values that are not finite.
    """
    if reference.shape != candidate.shape:
        raise UsageError(
            "the outputs to compare have different shapes",
            got=f"candidate {list(candidate.shape)}",
            expected=f"as the reference {list(reference.shape)}",
        )
    return finite_rows(reference, "the reference", axes), finite_rows(candidate, "the candidate", axes)


def finite_rows(values: Array, whose: str, axes: int = 1) -> Array:
    """The array as float64 rows (samples, values), checked as ``same_samples`` does."""
    if values.ndim < axes or values.size == 0:
        raise UsageError(
            f"{whose} has an unusable shape",
            got=list(values.shape),
            expected=f"samples first, at least {axes} axes, none of length 0",
        )
    rows = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UsageError(f"{whose} holds values that are not finite", got=f"in {_first_bad(rows)}", expected="numbers")
    return rows


def same_features(real: Array, generated: Array, least: int) -> tuple[Array, Array]:
    """Two sets of feature vectors as float64 (samples, features); the numbers of samples may differ.

    Raises:
        UsageError: other lengths of vectors, fewer than ``least`` samples, or values that are not finite.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise UsageError(
            "the features to compare do not fit each other",
            got=f"{list(real.shape)} and {list(generated.shape)}",
            expected="(samples, features) twice, with equal features",
        )
    if min(len(real), len(generated)) < least:
        raise UsageError("too few samples", got=min(len(real), len(generated)), expected=f"at least {least} a side")
    return finite_rows(real, "the real features"), finite_rows(generated, "the generated features")


def _first_bad(rows: Array) -> str:
    return f"sample {int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])}"
