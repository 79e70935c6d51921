"""What two builds are compared by: their figures, and everything known of how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgegen.bench.operators_matched import Operator, operators_of
from edgegen.bench.runs import Run, run_of_result

MADE_FROM = ("model.", "train.")
"""What settings of the family and of the training begin with."""

_DATA_STEPS = ("collect", "label", "split", "check", "clean", "prepare", "take in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One build, or one run of its bundle."""

    source: str
    name: str
    version: str
    target: str
    candidate: str
    runtime: str
    core: str
    model_sha256: str | None
    figures: Mapping[str, float]
    operators: Sequence[Operator] = ()  # none: not counted one by one
    tools: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)  # dotted name -> value as text
    build_told: bool = False  # whether passes, settings of steps and seeds are: a line of a history has none
    made_from_told: bool = False  # whether those of the family and of the training are among the settings
    data: Mapping[str, str] = field(default_factory=dict)  # step -> digest
    passes: Sequence[Mapping[str, Any]] = ()
    others: Mapping[str, float] = field(default_factory=dict)  # candidate -> instructions, those that ran


def side_of_run(run: Run, source: str) -> Side:
    """A line of a history: its figures, operators and tools; how its model came about it does not tell."""
    return Side(
        source=source,
        name=run.name,
        version=run.version,
        target=run.target,
        candidate=run.candidate,
        runtime=run.runtime,
        core=run.core,
        model_sha256=run.model_sha256,
        figures={item.metric: item.value for item in run.figures},
        operators=operators_of(run.per_operator or ()),
        tools=run.tools,
    )


def side_of_result(document: Mapping[str, Any], source: str, candidate: str | None = None) -> Side:
    """A build.

    Args:
        candidate: which one of its candidates; None: the chosen, else the closest.

    Raises:
        UsageError: nothing of it was measured.
    """
    chosen = document if candidate is None else {**document, "chosen": {"candidate": candidate}, "generation": None}
    run = run_of_result(chosen, when="")
    item = next(entry for entry in document["candidates"] if entry["name"] == run.candidate)
    made_from = document.get("made_from")
    settings: dict[str, str] = {}
    data: dict[str, str] = {}
    if isinstance(made_from, Mapping):
        settings = _flat("model", {"family": made_from["family"], **made_from["settings"]})
        settings |= _flat("train", made_from["training"] or {})
        data = {name: str(digest) for name, digest in made_from["steps"].items() if name in _DATA_STEPS}
    own = _flat("compress", item.get("settings") or {})
    seeds = _flat("seeds", document["environment"].get("seeds") or {})
    calibration = ((document.get("calibration") or {}).get("set") or {}).get("sha256")
    if calibration:
        data["calibration"] = str(calibration)
    return replace(
        side_of_run(run, source),
        settings={**settings, **own, **seeds},
        build_told=True,
        made_from_told=isinstance(made_from, Mapping),
        data=data,
        passes=tuple(item.get("passes") or ()),
        others={
            entry["name"]: float(entry["counted"]["instructions"])
            for entry in document["candidates"]
            if entry.get("counted")
        },
    )


def _flat(prefix: str, value: Any) -> dict[str, str]:
    """Nested settings by dotted names."""
    if isinstance(value, Mapping):
        return {name: text for key, item in value.items() for name, text in _flat(f"{prefix}.{key}", item).items()}
    return {prefix: str(value)}
