"""How good a trained model is, as records: every figure with its doubt, and with what it has to be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A simple model of no more bytes than the trained one, judged on the same samples."""

    name: str = setting(doc="what it is, e.g. 'PCA, 16 components, 8 bits'")
    value: float = setting(doc="its figure")
    bytes: int = setting(doc="what it would take on a device", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a trained model on held-out samples."""

    name: str = setting(doc="key of the figure, units as suffix")
    value: float = setting(doc="the figure")
    unit: str = setting("", doc="unit, empty for ratios")
    better: Literal["higher", "lower", ""] = setting("", doc="which way is better; empty: neither")
    group: str = setting("Held-out samples", doc="title that it stands under")
    doc: str = setting(doc="what it says, one clause")
    low: float | None = setting(None, doc="95 % confidence interval, lower end")
    high: float | None = setting(None, doc="95 % confidence interval, upper end")
    real: float | None = setting(None, doc="the same figure for real samples in place of drawn ones")
    draws: float | None = setting(None, doc="largest minus smallest value over draws of noise")
    seeds: float | None = setting(None, doc="distance to a second model trained from another seed")
    baseline: Baseline | None = setting(None, doc="what a simple model reaches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often samples of each class (rows) were taken for each class (columns)."""

    classes: tuple[str, ...] = setting(doc="names by label")
    counts: tuple[tuple[int, ...], ...] = setting(doc="a row a true class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was found out of a trained model."""

    samples: int = setting(doc="held-out samples that were judged", minimum=1)
    figures: tuple[Figure, ...] = setting(doc="in the order in which a person should read them")
    confusion: Confusion | None = setting(None, doc="classifiers only")
    shares: Mapping[str, float] = setting({}, doc="part of the drawn samples that is taken for each class")
    notes: tuple[str, ...] = setting((), doc="what the figures do not show")
    sample_text: str = setting("", doc="models of text: what the model wrote, after a held-out beginning and '|'")
