"""All that checking finds, as one record; needs no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting
from edgegen.data.check.profile import SetProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Samples, or groups, that stand in two parts."""

    kind: Literal["exact", "near", "group"] = setting(doc="equal samples, nearly equal ones, or one group")
    earlier: str = setting(doc="the part that is learnt from")
    later: str = setting(doc="the part that judges or stops the learning")
    count: int = setting(doc="samples of the later part (or groups) that the earlier one has too", minimum=1)
    of: int = setting(doc="samples of the later part (or groups of the set) that were looked at", minimum=1)
    first: tuple[str, ...] = setting(doc="the first of them, 'later = earlier'")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateCells:
    """Cells of one column that look like something personal. The values themselves are never kept."""

    column: str = setting(doc="the column, or 'text'")
    kind: str = setting(doc="e.g. 'e-mail'")
    cells: int = setting(doc="how many cells, or lines", minimum=1)
    first: int = setting(doc="the first such row or line, from 1", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymity:
    """k-anonymity (Samarati and Sweeney, 1998) over the quasi-identifiers of all used rows."""

    columns: tuple[str, ...] = setting(doc="the quasi-identifiers")
    asked: int = setting(doc="least rows that must share their quasi-identifiers", minimum=1)
    smallest: int = setting(doc="k: least rows that do", minimum=0)
    combinations: int = setting(doc="different combinations", minimum=0)
    combinations_below: int = setting(doc="combinations of fewer rows than asked", minimum=0)
    rows_below: int = setting(doc="rows of such combinations", minimum=0)
    first_row_below: int | None = setting(None, doc="the first of them, from 1", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeShares:
    """How a sensitive column's values are represented. Missing cells are the value '(missing)'."""

    column: str = setting(doc="the sensitive column")
    shares: Mapping[str, Mapping[str, float]] = setting(doc="part to value to share of the part's rows")
    least: str = setting(doc="the value with the least share of the training part")
    least_share: float = setting(doc="that share", minimum=0, maximum=1)
    evenness: float = setting(
        doc="Shannon entropy of the training part's shares by its greatest value, ln of the number of values; "
        "0: one value alone, 1: all alike (Pielou, 1966)",
        minimum=0,
        maximum=1,
    )
    evenness_by_class: Mapping[str, float] = setting({}, doc="the same within each class of the training part")
    only_judged: tuple[str, ...] = setting((), doc="values of the test part that the training part has not")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is to be said of a set before anything is learnt from it."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    leaks: tuple[Leak, ...] = setting((), doc="between parts; empty: none was found")
    private: tuple[PrivateCells, ...] = setting((), doc="cells that look personal")
    telling_names: tuple[str, ...] = setting((), doc="columns whose names suggest personal data")
    anonymity: Anonymity | None = setting(None, doc="None: no column is a quasi-identifier")
    representation: tuple[AttributeShares, ...] = setting((), doc="a sensitive column each")
    class_evenness: float | None = setting(
        None, doc="as 'evenness', of the training part's classes; None without labels", minimum=0, maximum=1
    )
    profile: SetProfile = setting(doc="what the data look like")
    notes: tuple[str, ...] = setting((), doc="what was not looked at, or only in part, one sentence each")
