"""Which candidate ships: the cheapest that keeps every required budget, and a sentence for each that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgegen.bench.judge import exit_code, judge
from edgegen.bench.wording import figure, finding, overshoot
from edgegen.core.budgets import Budget
from edgegen.core.errors import ExitCode
from edgegen.core.results import Candidate, Verdict
from edgegen.core.targets import TargetProfile

PARENT = "float32"
_COUNT_TOLERANCE_RATIO = 0.005  # counts of equal work differ by up to this much between environments
_CLOCK_TOLERANCE_RATIO = 0.1  # what a quiet machine's clock may differ by between two runs of one model
_OUT = ("failed", "not built", "rejected")
"""A candidate that comes with one of these never ran: it failed, or its last pass changed nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What choosing gave. ``closest`` is set only where nothing could be chosen."""

    candidates: tuple[Candidate, ...]  # in the given order, each with its status, its alarms and its sentence
    chosen: Candidate | None
    closest: Candidate | None
    verdicts: tuple[Verdict, ...]  # of the chosen candidate, else of the closest; empty if there is neither


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    candidate: Candidate
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> tuple[Verdict, ...]:
        return tuple(item for item in self.verdicts if item.required and item.status == "fail")

    @property
    def undecided(self) -> tuple[Verdict, ...]:
        return tuple(item for item in self.verdicts if item.required and item.status in ("unverified", "inconclusive"))

    @property
    def keeps_all(self) -> bool:
        return not self.failed and not self.undecided and self.candidate.status != "unmeasured"


def choose(candidates: Sequence[Candidate], budgets: Mapping[str, Budget], profile: TargetProfile) -> Choice:
    """Marks every candidate and picks the one that ships.

    The cheapest that keeps all required budgets is chosen: by counted instructions, by the measured median where
    nothing was counted, then by size and name. One with an alarm (it costs more than the float model it came from) is
    chosen only if no candidate without an alarm keeps the budgets. Where none keeps them all, ``closest`` is the one
    with the fewest failed required budgets, then the fewest undecided, then the smallest worst overshoot; one that
    was measured comes before one that was not.
    """
    judged = [
        _Judged(candidate=marked, verdicts=judge(budgets, marked, profile))
        for marked in _with_alarms(candidates, profile)
    ]
    keeping = [item for item in judged if item.candidate.status not in _OUT and item.keeps_all]
    best = min(keeping, key=lambda item: (bool(item.candidate.alarms), cost(item.candidate)), default=None)
    nearest = None
    if best is None:
        running = [item for item in judged if item.candidate.status not in _OUT]
        nearest = min(running, key=_distance, default=None)
    marked = {item.candidate.name: _marked(item, best) for item in judged}
    shown = best or nearest
    return Choice(
        candidates=tuple(marked[item.candidate.name] for item in judged),
        chosen=marked[best.candidate.name] if best else None,
        closest=marked[nearest.candidate.name] if nearest else None,
        verdicts=shown.verdicts if shown else (),
    )


def with_second_file(
    choice: Choice, budgets: Mapping[str, Budget], profile: TargetProfile, name: str, size_bytes: int
) -> Choice:
    """The choice with a size that counts a second model file, which ships beside the first.

    A file that breaks a required budget must have been left away before: choosing is over.
    """
    shown = choice.chosen or choice.closest
    assert shown is not None  # a second file is made for a candidate
    assert shown.size_bytes is not None
    whole = replace(shown, size_bytes=shown.size_bytes + size_bytes)
    again = {verdict.budget: verdict for verdict in judge(budgets, whole, profile)}
    told = f"{shown.size_bytes:,} bytes of the model and {size_bytes:,} of {name}"
    verdicts = (
        replace(again["size"], reason=told) if verdict.budget == "size" else verdict for verdict in choice.verdicts
    )
    return replace(choice, verdicts=tuple(verdicts))


def outcome(choice: Choice) -> ExitCode:
    """The exit code of a build that got as far as choosing: never OK where nothing was chosen."""
    if choice.chosen is None and choice.closest is None:
        return ExitCode.BUILD  # not one candidate could be built and run
    code = exit_code(choice.verdicts)
    return ExitCode.NOT_JUDGED if choice.chosen is None and code is ExitCode.OK else code


def _with_alarms(candidates: Sequence[Candidate], profile: TargetProfile) -> list[Candidate]:
    parents = {(item.runtime, item.format): item for item in candidates if item.recipe == PARENT}
    core = profile.emulator.cpu if profile.emulator else profile.name
    marked = []
    for item in candidates:
        parent = parents.get((item.runtime, item.format))
        alarm = "" if parent is None or item is parent else _alarm(item, parent, core)
        marked.append(replace(item, alarms=(*item.alarms, alarm)) if alarm and alarm not in item.alarms else item)
    return marked


def _alarm(item: Candidate, parent: Candidate, core: str) -> str:
    """Why a candidate is dearer than the float model it came from, or nothing."""
    of = f"of {parent.name} on {core}: no gain in speed here"
    if item.counted and parent.counted:
        ratio = item.counted.instructions / parent.counted.instructions
        return f"costs {ratio:.2f} times the instructions {of}" if ratio > 1 + _COUNT_TOLERANCE_RATIO else ""
    if item.measured and parent.measured:
        ratio = item.measured.p50_ms / parent.measured.p50_ms
        return f"takes {ratio:.2f} times the time {of}" if ratio > 1 + _CLOCK_TOLERANCE_RATIO else ""
    return ""


def cost(candidate: Candidate) -> tuple[int, float, float, str]:
    """What candidates are ordered by, cheapest first: what is known best (counted, then measured, then neither)."""
    size = float("inf") if candidate.size_bytes is None else candidate.size_bytes
    if candidate.counted is not None:
        return 0, candidate.counted.instructions, size, candidate.name
    if candidate.measured is not None:
        return 1, candidate.measured.p50_ms, size, candidate.name
    return 2, 0.0, size, candidate.name


def _distance(item: _Judged) -> tuple[bool, int, int, float, bool, tuple[int, float, float, str]]:
    worst = max((overshoot(verdict) for verdict in item.failed), default=0.0)
    unmeasured = item.candidate.status == "unmeasured"
    candidate = item.candidate
    return unmeasured, len(item.failed), len(item.undecided), worst, bool(candidate.alarms), cost(candidate)


def _marked(item: _Judged, best: _Judged | None) -> Candidate:
    candidate = item.candidate
    if candidate.status in (*_OUT, "unmeasured"):
        return candidate
    if item is best:
        return replace(candidate, status="chosen", why_rejected="")
    if item.failed:
        worst_first = sorted(item.failed, key=overshoot, reverse=True)
        return replace(candidate, status="rejected", why_rejected="; ".join(map(finding, worst_first)))
    if item.undecided:
        return replace(candidate, status="unmeasured", why_rejected="; ".join(map(finding, item.undecided)))
    return replace(candidate, status="eligible", why_rejected=_why_second(candidate, best))


def _why_second(candidate: Candidate, best: _Judged | None) -> str:
    assert best is not None  # a candidate that keeps every budget exists, so one was chosen
    winner = best.candidate
    if candidate.alarms and not winner.alarms:
        return f"keeps every budget, but costs more instructions than {PARENT}@{candidate.format}"
    if candidate.counted and winner.counted and candidate.counted.instructions > winner.counted.instructions:
        more = 100 * (candidate.counted.instructions / winner.counted.instructions - 1)
        return f"keeps every budget, but takes {figure(round(more, 1))} % more instructions than {winner.name}"
    if candidate.measured and winner.measured and candidate.measured.p50_ms > winner.measured.p50_ms:
        return f"keeps every budget, but is slower than {winner.name}"
    return f"keeps every budget, but {winner.name} is no dearer and comes first by size or name"
