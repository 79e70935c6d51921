"""How far a set has drifted from a reference, feature by feature, on a bounded sample of both.

Numbers: the two-sample Kolmogorov-Smirnov test, the Wasserstein distance in the feature's own unit, and the population
stability index over the reference's deciles. Categories and labels: the chi-squared test and the index over values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.records import setting
from edgegen.data.dataset import DataSet
from edgegen.data.drift_features import Columns, read_columns

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

SIGNIFICANCE = 0.01
"""Of the adjusted p-value."""

LEAST_PSI, LEAST_KS = 0.1, 0.1
"""Below both a difference is too small to matter, however many samples prove it."""

_DECILES = 10
_FEW_VALUES = 10  # a number with no more values than that is compared value by value
_SMOOTHING = 0.5  # added to every bin's count, so that an empty one has a logarithm
_MOST_CATEGORIES = 50  # the reference's most frequent ones; the rest counts together
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature of both sets."""

    name: str = setting(doc="the feature; of pictures, sounds and series a figure of each sample")
    kind: Literal["number", "category"] = setting(doc="what is compared")
    ks: float | None = setting(None, doc="numbers: greatest distance between the two cumulative distributions, 0 to 1")
    p: float = setting(doc="of the KS or chi-squared test: how likely samples of one source differ as much")
    p_adjusted: float = setting(doc="p after the correction of Benjamini and Hochberg over all features")
    wasserstein: float | None = setting(
        None, doc="numbers: mean distance that values would move, in the feature's unit"
    )
    psi: float = setting(doc="population stability index: 0 alike, above 0.1 noticeable, above 0.25 large")
    drifted: bool = setting(doc="adjusted p below 0.01, and a PSI or KS of at least 0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A set beside its reference."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    reference: str = setting(doc="name of the reference set")
    present: str = setting(doc="name of the set that is compared with it")
    reference_samples: int = setting(doc="samples of the reference that were compared", minimum=1)
    present_samples: int = setting(doc="samples of the other set that were compared", minimum=1)
    features: tuple[FeatureDrift, ...] = setting(doc="in the sets' own order")
    drifted: bool = setting(doc="whether any feature has drifted")
    notes: tuple[str, ...] = setting((), doc="what the comparison cannot see, one sentence each")


def drift(reference: DataSet, present: DataSet) -> Drift:
    """Compares all parts of two sets, at most 10,000 samples of each.

    What a set was scaled by is undone first: each set is scaled by its own figures, which would hide a shift.

    Raises:
        UsageError: sets of different kinds, or with different features.
    """
    if reference.form.kind != present.form.kind:
        raise UsageError(
            "sets of different kinds cannot be compared",
            got=f"{present.form.kind} ({present.form.name})",
            expected=f"{reference.form.kind} ({reference.form.name})",
        )
    before, after = read_columns(reference, _SEED), read_columns(present, _SEED)
    _check_alike(before, after)
    found = [_number(name, before.numbers[name], after.numbers[name]) for name in before.numbers]
    found += [_category(name, before.categories[name], after.categories[name]) for name in before.categories]
    features = _judged(found)
    return Drift(
        reference=reference.form.name,
        present=present.form.name,
        reference_samples=before.samples,
        present_samples=after.samples,
        features=features,
        drifted=any(feature.drifted for feature in features),
        notes=_notes(reference, present, before, after),
    )


def psi(reference: Array, present: Array) -> float:
    """Population stability index of two tables of counts over the same bins: sum of (q - p) ln(q / p).

    Half a sample is added to each bin. Source: Siddiqi, Credit Risk Scorecards, Wiley, 2006; it is the symmetric
    divergence of Kullback and Leibler (Jeffreys, 1946).
    """
    p, q = ((counts + _SMOOTHING) / (counts + _SMOOTHING).sum() for counts in (reference, present))
    return float(((q - p) * np.log(q / p)).sum())


def adjusted(values: Array) -> Array:
    """p-values after Benjamini and Hochberg, Controlling the false discovery rate, J. R. Stat. Soc. B 57, 1995."""
    order = np.argsort(values)[::-1]
    ranks = np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.minimum.accumulate(np.minimum(values[order] * len(values) / ranks, 1.0))
    return found


def _number(name: str, before: Array, after: Array) -> dict[str, Any]:
    from scipy.stats import ks_2samp, wasserstein_distance

    test = ks_2samp(before, after, method="asymp")
    return {
        "name": name,
        "kind": "number",
        "ks": float(test.statistic),
        "p": float(test.pvalue),
        "wasserstein": float(wasserstein_distance(before, after)),
        "psi": psi(*_binned(before, after)),
    }


def _binned(before: Array, after: Array) -> tuple[Array, Array]:
    """Counts of both over the reference's deciles, or over its values and all others where it has few."""
    values = np.unique(before)
    if len(values) <= _FEW_VALUES:
        # A place for each value and one between each two, so that a value that is new is never taken for a known one.
        edges = np.sort(np.concatenate([values, np.nextafter(values, np.inf)]))
    else:
        edges = np.unique(np.quantile(before, np.arange(1, _DECILES) / _DECILES))
    counts = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) for x in (before, after)]
    used = (counts[0] + counts[1]) > 0
    return counts[0][used], counts[1][used]


def _category(name: str, before: Array, after: Array) -> dict[str, Any]:
    from scipy.stats import chi2_contingency

    values, counts = np.unique(before, return_counts=True)
    kept = np.sort(values[np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]])
    tables = []
    for found in (before, after):
        places = np.minimum(np.searchsorted(kept, found), len(kept) - 1)
        places[kept[places] != found] = len(kept)  # a rare value, or a new one
        tables.append(np.bincount(places, minlength=len(kept) + 1))
    used = (tables[0] + tables[1]) > 0
    table = np.stack(tables)[:, used]
    p = float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0
    return {"name": name, "kind": "category", "p": p, "psi": psi(table[0], table[1])}


def _judged(found: list[dict[str, Any]]) -> tuple[FeatureDrift, ...]:
    corrected = adjusted(np.array([item["p"] for item in found]))
    return tuple(
        FeatureDrift(
            **item,
            p_adjusted=float(p),
            drifted=bool(p < SIGNIFICANCE and (item["psi"] >= LEAST_PSI or item.get("ks", 0.0) >= LEAST_KS)),
        )
        for item, p in zip(found, corrected, strict=True)
    )


def _check_alike(before: Columns, after: Columns) -> None:
    one, other = ({*columns.numbers, *columns.categories} for columns in (before, after))
    if one != other:
        raise UsageError(
            "the sets have different features",
            got=f"only in the reference: {_shown(one - other)}; only in the other: {_shown(other - one)}",
            expected="the same columns in both [data.columns]",
        )


def _shown(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def _notes(reference: DataSet, present: DataSet, before: Columns, after: Columns) -> tuple[str, ...]:
    notes = []
    differing = _differing(before.steps, after.steps)
    if differing:
        notes.append(
            f"the steps {', '.join(differing)} are fitted on each set's own training part: where they differ, so may "
            "equal data"
        )
    if any(columns.samples < len_of for columns, len_of in ((before, before.of), (after, after.of))):
        notes.append(
            f"{before.samples:,} of {before.of:,} samples were compared with {after.samples:,} of {after.of:,}"
        )
    cut = [step for form in (reference.form, present.form) for step in form.preprocessing["steps"]]
    if any(step["do"] == "window" and step["step"] < step["length"] for step in cut):
        notes.append("windows overlap, so p-values are too small; PSI and KS are not affected")
    return tuple(notes)


def _differing(before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    """Names of steps that are not the same in both, each once."""
    names = [step["do"] for one, other in zip_longest(before, after) if one != other for step in (one, other) if step]
    return list(dict.fromkeys(names))
