"""Waivers: budgets that may fail for a while, each with a reason, an owner and a day on which it ends.

A waiver lifts one check of one target. Once its day has passed it fails the gate by itself, whether or not anything
else does: so it is either renewed by a person or removed.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_toml
from edgegen.core.records import read_record, setting

_MAX_BYTES, _MAX_WAIVERS, _MAX_TEXT = 1 << 18, 500, 1000
ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    budget: str = setting(doc='the check as the gate names it, e.g. "latency" or "instructions regression"')
    target: str = setting(doc='name of a target, or "*"')
    reason: str = setting(doc="why it may fail")
    owner: str = setting(doc="who takes care of it")
    expires: Any = setting(doc="the last day on which it holds, e.g. 2027-01-31")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    schema_version: Literal[1] = setting(doc="format of this file")
    waiver: tuple[_Written, ...] = setting((), doc="the waivers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One waiver."""

    budget: str
    target: str
    reason: str
    owner: str
    expires: datetime.date

    def lifts(self, budget: str, target: str) -> bool:
        """Whether it is about this check."""
        return self.budget == budget and self.target in (ANY, target)

    def expired(self, today: datetime.date) -> bool:
        """Whether its last day has passed."""
        return today > self.expires


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a TOML file, ``[[waiver]]`` by ``[[waiver]]``.

    Raises:
        UsageError: it cannot be read, or a waiver lacks something or repeats another.
    """
    table = read_toml(path, "the file of waivers", limit_bytes=_MAX_BYTES)
    return _checked(read_record(_File, table, "", str(path)).waiver, str(path))


def _checked(written: Sequence[_Written], source: str) -> tuple[Waiver, ...]:
    if len(written) > _MAX_WAIVERS:
        raise UsageError("too many waivers", where=source, got=len(written), expected=f"at most {_MAX_WAIVERS}")
    found: dict[tuple[str, str], Waiver] = {}
    for place, item in enumerate(written, start=1):
        where = f"{source}, waiver {place}"
        for name in ("budget", "target", "reason", "owner"):
            text = getattr(item, name)
            if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
                raise UsageError(f"a waiver's {name} is empty or no plain text", where=where, got=repr(text[:80]))
        # A TOML date-time is a date too, in Python.
        if not isinstance(item.expires, datetime.date) or isinstance(item.expires, datetime.datetime):
            raise UsageError(
                "a waiver's last day is no date",
                where=where,
                got=item.expires,
                expected="expires = 2027-01-31, unquoted",
            )
        if (item.budget, item.target) in found:
            raise UsageError("two waivers are about one check", where=where, got=f"{item.budget} of {item.target}")
        found[item.budget, item.target] = Waiver(
            budget=item.budget, target=item.target, reason=item.reason, owner=item.owner, expires=item.expires
        )
    return tuple(found.values())


def told(waiver: Waiver) -> Mapping[str, str]:
    """A waiver for a JSON document."""
    return {
        "budget": waiver.budget,
        "target": waiver.target,
        "reason": waiver.reason,
        "owner": waiver.owner,
        "expires": waiver.expires.isoformat(),
    }
