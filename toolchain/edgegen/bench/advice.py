"""What probes of several models say together: which keep the budgets, and which of those that can be compared is best.

A probe is a short training. Its cost is the finished model's, for the graph is the same; its quality only tells who
learns faster. Figures are compared where they measure the same thing on the same samples, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgegen.bench.choose import choose, outcome
from edgegen.bench.predict import predict
from edgegen.bench.wording import figure, finding, named
from edgegen.core.budgets import RESOURCES, Budget
from edgegen.core.errors import BudgetError, BuildError, ExitCode, StorageError, ToolMissingError
from edgegen.core.ports import CostProbe, QualityProbe
from edgegen.core.results import Candidate, CandidateStatus, CountedCost, MeasuredLatency, Verdict
from edgegen.core.targets import INSTRUCTION_CLASSES, TargetProfile
from edgegen.metrics.table import METRICS

DECIDING: Mapping[str, tuple[str, ...]] = {
    "image": ("fid", "elbo"),
    "vector": ("log_likelihood_nats",),
    "tokens": ("bits_per_byte", "nats_per_token"),
    "logits": ("accuracy_ratio",),
    "values": ("rmse",),
    "reconstruction": ("auc_ratio", "normal_mse"),
}
"""What a family gives -> figures that its probes are ranked by: the first that is known."""

Keeps: TypeAlias = Literal["yes", "no", "unverified"]
_ORDER: Mapping[str, int] = {"yes": 0, "unverified": 1, "no": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One file that could be deployed, or why there is none."""

    name: str  # e.g. "static-int8@onnx"
    recipe: str
    format: str
    runtime: str
    path: Path | None  # None: see ``status`` and ``reason``
    status: CandidateStatus = "eligible"
    reason: str = ""
    parameters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """The files of one model against the budgets: ``shown`` is the one that would ship, else the closest."""

    keeps: Keeps
    shown: Candidate | None
    verdicts: tuple[Verdict, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One proposal after its short training."""

    name: str
    family: str
    settings: Mapping[str, Any]
    why: str
    parameters: int  # of the deployed part
    deciding: Mapping[str, Any] | None  # the figure it is ranked by, as ``train.figures.Figure`` is written; or None
    weighed: Weighed


def told_by_probes(budgets: Mapping[str, Budget], output: str) -> dict[str, Budget]:
    """The budgets that a short training can tell: resources, and what compression does to the outputs."""
    kinds = ("paired", "task") if output == "logits" else ("paired",)
    return {
        name: budget
        for name, budget in budgets.items()
        if name in RESOURCES or (name in METRICS and METRICS[name].kind in kinds)
    }


def weigh(
    offered: Sequence[Offered],
    cost: CostProbe | None,
    quality: QualityProbe | None,
    budgets: Mapping[str, Budget],
    profile: TargetProfile,
    missing: str = "",
) -> Weighed:
    """Tries every file on the target and picks the one that would ship.

    Args:
        cost: counts by name: ``instructions``, ``instructions_median``, ``bytes_loaded``, ``bytes_stored``, the classes
            of ``INSTRUCTION_CLASSES``, ``peak_ram_bytes``; where there is a clock ``p50_ns``, ``p90_ns``, ``p99_ns``
            and ``runs``; of a firmware ``size_bytes`` (what the model adds to it), ``flash_bytes``, ``arena_bytes`` and
            ``stack_bytes``. None: there is no device, for the reason in ``missing``.
        quality: figures against the float model, by metric and statistic.
        budgets: as ``told_by_probes`` gives them.
    """
    choice = choose([_tried(item, cost, quality, profile, missing) for item in offered], budgets, profile)
    code = outcome(choice)
    keeps: Keeps = "yes" if choice.chosen else "no" if code is not ExitCode.NOT_JUDGED else "unverified"
    return Weighed(
        keeps=keeps, shown=choice.chosen or choice.closest, verdicts=choice.verdicts, candidates=choice.candidates
    )


def deciding_figure(evaluation: Mapping[str, Any], output: str) -> Mapping[str, Any] | None:
    """The figure of an evaluation that probes of such models are ranked by, or None."""
    for wanted in DECIDING[output]:
        for found in evaluation["figures"]:
            if found["name"] == wanted or found["name"].startswith(f"{wanted}_"):
                chosen: Mapping[str, Any] = found
                return chosen
    return None


def ranked(probes: Sequence[Probe]) -> list[tuple[str, list[Probe]]]:
    """Groups of probes that may be compared, by the name of their figure; the best of each first.

    Those that keep the budgets come first, then those of which it is not known; among them the better figure, then the
    fewer instructions, then the smaller file. What has no figure stands in a last group called ``""``, as given.
    """
    names = dict.fromkeys("" if probe.deciding is None else str(probe.deciding["name"]) for probe in probes)
    groups = {
        name: [probe for probe in probes if _group(probe) == name] for name in sorted(names, key=lambda n: n == "")
    }
    return [(name, sorted(members, key=_place)) for name, members in groups.items()]


def reasons(probe: Probe, best: Probe, epochs: int) -> list[str]:
    """Why a probe stands where it stands, as clauses; ``best`` is the first of its group."""
    said = [_budget_clause(probe)]
    found = probe.deciding
    if found is None:
        return [*said, "no figure of its own can be compared with another model's, so it is not ranked"]
    said.append(f"{_spelled(found)} after {epochs} epoch{'' if epochs == 1 else 's'}{_beside(found)}")
    if probe is not best and best.deciding is not None:
        said.append(_against(probe, best))
    return said


def _tried(
    offered: Offered, cost: CostProbe | None, quality: QualityProbe | None, profile: TargetProfile, missing: str
) -> Candidate:
    known: dict[str, Any] = {
        "name": offered.name,
        "recipe": offered.recipe,
        "format": offered.format,
        "runtime": offered.runtime,
        "parameters": offered.parameters,
    }
    if offered.path is None:
        return Candidate(status=offered.status, why_rejected=offered.reason, **known)
    known["size_bytes"] = offered.path.stat().st_size
    if cost is None:
        return Candidate(status="unmeasured", why_rejected=missing, **known)
    try:
        counts = cost(offered.path, offered.runtime)
        figures = {} if quality is None else dict(quality(offered.path, offered.runtime))
    except ToolMissingError as error:
        return Candidate(status="unmeasured", why_rejected=error.paragraph(), **known)
    except StorageError:
        raise
    except BuildError as error:
        return Candidate(status="failed", why_rejected=error.paragraph(), **known)
    except BudgetError as error:  # the device cannot hold its firmware
        return Candidate(status="rejected", why_rejected=error.paragraph(), **known)
    counted = _counted(counts)
    known["size_bytes"] = counts.get("size_bytes", known["size_bytes"])
    return Candidate(
        status="eligible",
        why_rejected="",
        peak_ram_bytes=counts.get("peak_ram_bytes"),
        arena_bytes=counts.get("arena_bytes"),
        flash_bytes=counts.get("flash_bytes"),
        stack_bytes=counts.get("stack_bytes"),
        counted=counted,
        predicted=predict(counted, profile, weight_bytes=known["size_bytes"]),
        measured=_measured(counts, profile),
        quality={"paired": figures},
        **known,
    )


def _counted(counts: Mapping[str, int]) -> CountedCost | None:
    if "instructions" not in counts:
        return None
    return CountedCost(
        instructions=counts["instructions"],
        instructions_median=counts["instructions_median"],
        by_class={name: counts[name] for name in INSTRUCTION_CLASSES if name in counts},
        bytes_loaded=counts.get("bytes_loaded"),
        bytes_stored=counts.get("bytes_stored"),
        macs=None,
        per_operator=None,
        unexplained_ratio=None,
    )


def _measured(counts: Mapping[str, int], profile: TargetProfile) -> MeasuredLatency | None:
    if "p50_ns" not in counts:
        return None
    return MeasuredLatency(
        p50_ms=counts["p50_ns"] / 1e6,
        p90_ms=counts["p90_ns"] / 1e6,
        p99_ms=counts["p99_ns"] / 1e6,
        runs=counts["runs"],
        device=profile.name,
    )


def _group(probe: Probe) -> str:
    return "" if probe.deciding is None else str(probe.deciding["name"])


def _place(probe: Probe) -> tuple[int, float, float, float]:
    keeps = _ORDER[probe.weighed.keeps]
    if probe.deciding is None:
        return keeps, 0.0, 0.0, 0.0
    value = float(probe.deciding["value"])
    shown = probe.weighed.shown
    instructions = shown.counted.instructions if shown is not None and shown.counted else float("inf")
    size = shown.size_bytes if shown is not None and shown.size_bytes is not None else float("inf")
    return keeps, -value if probe.deciding["better"] == "higher" else value, instructions, size


def _budget_clause(probe: Probe) -> str:
    weighed = probe.weighed
    if weighed.shown is None:
        return "none of its files ran: " + "; ".join(f"{item.name}: {item.why_rejected}" for item in weighed.candidates)
    required = [verdict for verdict in weighed.verdicts if verdict.required]
    if weighed.keeps == "yes":
        said = ", ".join(finding(verdict) for verdict in required) or "none is set"
        return f"as {weighed.shown.name} it keeps the budgets: {said}"
    if weighed.keeps == "unverified":
        unknown = [finding(verdict) for verdict in required if verdict.status != "pass"]
        return f"whether it keeps the budgets is unverified: {'; '.join(unknown) or weighed.shown.why_rejected}"
    failed = [finding(verdict) for verdict in required if verdict.status == "fail"]
    return f"breaks the budgets even as {weighed.shown.name}: {'; '.join(failed)}"


def _spelled(found: Mapping[str, Any]) -> str:
    interval = "" if found["low"] is None else f" (95 %: {figure(found['low'])} to {figure(found['high'])})"
    return f"{named(found['name'])} {figure(found['value'], found['unit'])}{interval}"


def _beside(found: Mapping[str, Any]) -> str:
    said = []
    if found["real"] is not None:
        said.append(f"real samples have {figure(found['real'])}")
    if found["baseline"] is not None:
        said.append(f"{found['baseline']['name']} reaches {figure(found['baseline']['value'])}")
    return f"; {', '.join(said)}" if said else ""


def _against(probe: Probe, best: Probe) -> str:
    assert probe.deciding is not None
    assert best.deciding is not None
    own, first = probe.deciding, float(best.deciding["value"])
    spread = max((found["draws"] or 0.0) for found in (own, best.deciding))
    inside = own["low"] is not None and own["low"] <= first <= own["high"]
    level = inside or abs(float(own["value"]) - first) <= spread
    better = (float(own["value"]) > first) == (own["better"] == "higher") and float(own["value"]) != first
    words = "level with" if level else "better than" if better else "worse than"
    mine, theirs = (item.weighed.shown for item in (probe, best))
    if mine is None or theirs is None or not mine.counted or not theirs.counted:
        return f"{words} {best.name}"
    ratio = mine.counted.instructions / theirs.counted.instructions
    return f"{words} {best.name}, at {figure(round(ratio, 2))} times its instructions"
