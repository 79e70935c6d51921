"""Compiled models that their device cannot hold: told before a firmware is built, with what would make them fit."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.errors import BudgetError
from edgegen.core.models import COMPILED
from edgegen.core.results import CandidateStatus
from edgegen.core.targets import TargetProfile
from edgegen.pipeline.prove import Made


def refuse_unfit(
    made: Mapping[str, Made], profile: TargetProfile
) -> tuple[dict[str, Made], dict[str, tuple[CandidateStatus, str]]]:
    """The candidates that may fit, and why the others cannot.

    Constants and working memory alone are looked at: code and stack come on top, and the linker judges those.

    Raises:
        BudgetError: not one of them fits.
    """
    fitting: dict[str, Made] = {}
    lost: dict[str, tuple[CandidateStatus, str]] = {}
    reason: BudgetError | None = None
    for name, item in made.items():
        reason = _misfit(name, item, profile)
        if reason is None:
            fitting[name] = item
        else:
            lost[name] = ("rejected", reason.paragraph())
    if reason is not None and not fitting:
        raise reason
    return fitting, lost


def _misfit(name: str, item: Made, profile: TargetProfile) -> BudgetError | None:
    from edgegen.export.c.fit import needs_of, shortfall

    if item.planned.name.format not in COMPILED or profile.flash_bytes is None:
        return None
    (told,) = (step for step in item.exported.record["passes"] if "needs" in step["figures"])
    needed = needs_of(told["figures"]["needs"])
    missing, remedies = shortfall(needed, profile.flash_bytes, profile.memory_bytes)
    if not missing:
        return None
    return BudgetError(
        f"{name} does not fit the device",
        where=profile.name,
        got=missing,
        expected="both within the device's, with room for code and stack",
        next_step=remedies,
    )
