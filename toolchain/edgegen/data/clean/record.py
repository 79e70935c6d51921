"""What cleaning did, for people and for the data sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """Rows are counted from 1, without a header."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    rows: Mapping[str, int] = setting({}, doc="rows by part, before any was dropped")
    missing: str = setting("refuse", doc="what was asked for missing cells")
    gaps: Mapping[str, Mapping[str, int]] = setting(
        {}, doc="missing cells before filling, by column: of the training part ('train') and of the others ('judged')"
    )
    outliers: str = setting("none", doc="how outliers were looked for, in the training part alone")
    action: str = setting("flag", doc="what became of them")
    found: Mapping[str, int] = setting({}, doc="outliers by column, where columns are judged one by one")
    outlier_rows: int = setting(0, doc="training rows with an outlier")
    named_rows: tuple[int, ...] = setting((), doc="the first of them")
    dropped: Mapping[str, int] = setting({}, doc="training rows dropped, by reason: 'missing', 'outliers'")
    scale: str = setting("none", doc="what numbers were brought to")
    constant: tuple[str, ...] = setting((), doc="features that have one value in the whole training part")
    said: tuple[str, ...] = setting((), doc="all of this in sentences")
