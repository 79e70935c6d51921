"""What the data look like, as records that a report draws; needs no numpy.

Figures are over all collected samples, whatever part they come into. Quantiles and histograms are over a sample of the
rows where there are very many; every other figure is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How values spread: bin i is from ``edges[i]`` up to, but without, ``edges[i + 1]``; the last one has its end."""

    edges: tuple[float, ...] = setting(doc="one more than bins, rising")
    counts: tuple[int, ...] = setting(doc="values of the sample in each bin, at most 20 bins", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column, or one array: what stands in it."""

    name: str = setting(doc="the column; 'values' of an array; 'line lengths' of a text, in bytes")
    type: str = setting(doc="as declared, or numpy's name of the element type")
    role: str = setting("feature", doc="what the column is for")
    unit: str = setting("", doc="unit of the values")
    count: int = setting(doc="cells that are not missing", minimum=0)
    missing: int = setting(0, doc="cells that are", minimum=0)
    distinct: int | None = setting(None, doc="different values; None: not counted", minimum=0)
    distinct_exact: bool = setting(True, doc="false: there are at least so many")
    constant: bool = setting(False, doc="all values are the same")
    minimum: float | None = setting(None, doc="numbers only, as the next four")
    maximum: float | None = setting(None)
    mean: float | None = setting(None)
    std: float | None = setting(None, doc="standard deviation, the count as divisor")
    quantiles: Mapping[str, float] = setting({}, doc="value by share of values below it: '0.05' to '0.95'")
    histogram: Histogram | None = setting(None, doc="numbers only")
    most_frequent: Mapping[str, int] = setting(
        {}, doc="categories and booleans: at most 20 values, most frequent first"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetProfile:
    """The whole set."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    name: str = setting(doc="the set's name")
    carrier: Literal["rows", "samples", "text"] = setting(doc="which files hold the samples")
    samples: int = setting(doc="rows, samples, or lines of text", minimum=0)
    sampled: int = setting(doc="rows behind quantiles and histograms; for arrays, their samples", minimum=0)
    parts: Mapping[str, int] = setting(doc="samples by part")
    columns: tuple[ColumnProfile, ...] = setting(doc="as declared")
    classes: Mapping[str, Mapping[str, int]] = setting({}, doc="part to class to samples; empty without labels")
    imbalance: float | None = setting(
        None,
        doc="largest class by smallest, in training samples; None without labels or with an empty class",
    )
    warnings: tuple[str, ...] = setting((), doc="what a person should look at, one sentence each")
