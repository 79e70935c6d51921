"""Which of two versions is the newer: what keeps a device from going back."""

from __future__ import annotations

import re

from edgegen_runtime.strict import RefusedError

Order = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]

_FORM = re.compile(r"(\d{1,18}(?:\.\d{1,18}){0,7})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_LAST = ((2, 0, ""),)  # a release comes after each of its pre-releases


def version_order(version: str) -> Order:
    """A key that sorts versions by the precedence of Semantic Versioning 2.0.0 (its section 11).

    Any number of numbers up to eight is taken, and missing ones count as 0: ``1.2`` is ``1.2.0``. What follows ``+``
    does not count.

    Raises:
        RefusedError: the version is no dotted numbers, so there is no telling whether it is newer.
    """
    match = _FORM.fullmatch(version)
    if match is None:
        raise RefusedError(
            f"the version {version[:64]!r} cannot be put in order: expected numbers with dots, as 1.4.0 or 1.4.0-rc.1"
        )
    numbers = [int(part) for part in match.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if match.group(2) is None:
        return tuple(numbers), _LAST
    parts = match.group(2).split(".")
    # Numbers come before words; of two that are equal so far the longer is the newer.
    return tuple(numbers), tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
