"""What a build says of itself: candidates, readings, verdicts. ``result.json`` (schema 1) is made of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pass", "fail", "unverified", "inconclusive"]
CandidateStatus = Literal["chosen", "eligible", "rejected", "failed", "unmeasured", "not built"]
NumberKind = Literal["counted", "measured", "predicted", "quality", "exact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One budget, judged."""

    budget: str  # as the project file names it, e.g. "instructions"
    metric: str  # what was compared, e.g. "instructions_min" or "psnr_db_worst5"
    kind: NumberKind
    direction: Literal["max", "min"]
    limit: float
    value: float | None  # None: nothing of the accepted kind is known
    unit: str
    status: Status
    required: bool
    reason: str  # why it is not a plain pass or fail; empty otherwise
    origin: Literal["project", "profile"] = "project"  # whose budget it is: a profile has some of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPrediction:
    """Joules of an inference through the profile's energy model; never a measurement."""

    joules: float  # in the middle of the band: of the predicted milliseconds and the mean power
    low_j: float
    high_j: float
    model: str  # what the figure is computed from
    origin: str  # what the power was taken from


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Milliseconds through the profile's cost model; never a measurement."""

    latency_ms: float
    low_ms: float
    high_ms: float
    model: str  # what the figure is computed from
    origin: str  # "uncalibrated", or what the model was fitted on
    energy: EnergyPrediction | None = None  # of the same inference, where the profile has an energy model


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLatency:
    """Wall clock on a named device: percentiles within a process, median over the processes."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    runs: int  # processes, not inferences
    device: str
    processes_p50_ms: tuple[float, ...] = ()  # the p50 of every process by itself: what two builds are compared by
    first_ms: float | None = None  # the first inference of a process: the median over the processes
    cold_start_ms: float | None = None  # from the start of a process to its first result
    stream_per_s: float | None = None  # inferences one after the other, with all that stands between them
    joules: float | None = None  # of an inference, by a meter
    joules_interval: tuple[float, float] | None = None  # that holds it with 95 % confidence
    board: Mapping[str, Any] | None = None  # ``devices.board_state.BoardWatch``: its state meanwhile, and its drift


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCost:
    """Counted per inference; None inside a candidate where nothing was run."""

    instructions: int
    instructions_median: int
    by_class: Mapping[str, int]  # empty where instructions are not told apart, as on microcontrollers
    bytes_loaded: int | None
    bytes_stored: int | None
    macs: int | None
    per_operator: tuple[Mapping[str, Any], ...] | None
    unexplained_ratio: float | None


def moved(loaded: int | None, stored: int | None) -> int | None:
    """Bytes loaded and stored together; None where they are not counted."""
    return None if loaded is None or stored is None else loaded + stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to ship the model, with everything that is known of it."""

    name: str
    recipe: str
    format: str
    runtime: str
    status: CandidateStatus
    why_rejected: str  # also why not built, failed or unmeasured; empty for chosen and eligible
    point: str = ""  # name of the point whose settings it has; empty: those of the project file
    settings: Mapping[str, Any] = field(default_factory=dict)  # step -> its settings, plain values
    alarms: tuple[str, ...] = ()  # e.g. costs more than float on this core
    size_bytes: int | None = None
    parameters: int | None = None
    peak_ram_bytes: int | None = None
    arena_bytes: int | None = None  # of a microcontroller: the model's working memory
    flash_bytes: int | None = None  # of a microcontroller: the whole firmware, as linked
    stack_bytes: int | None = None  # of a microcontroller: the deepest that the stack was
    counted: CountedCost | None = None
    predicted: Prediction | None = None
    measured: MeasuredLatency | None = None
    quality: Mapping[str, Mapping[str, float]] | None = None  # {"paired": {...}, "task": {...}, "cross_isa": {...}}
    passes: tuple[Mapping[str, Any], ...] = ()  # what each step did: ``compress.steps.Applied.told``
    sha256: str | None = None
