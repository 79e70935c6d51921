"""Everything that a build found out of its candidates, put into the records that are judged and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.bench.cost import counted_cost, measured_latency
from edgegen.bench.predict import predict
from edgegen.core.records import write_record
from edgegen.core.results import Candidate, CandidateStatus
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Identity
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.prove import Made, Proof
from edgegen.pipeline.work import work_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was made and what the device said of it, by candidate's name."""

    made: Mapping[str, Made]
    lost: Mapping[str, tuple[CandidateStatus, str]]  # what could not be made: status and reason
    proofs: Mapping[str, Proof]
    identity: Identity | None  # None: there is no device
    missing: str  # why nothing was measured, or empty


def candidate(planned: Planned, found: Found, profile: TargetProfile) -> Candidate:
    """The record of one planned candidate, whatever became of it."""
    name = str(planned.name)
    made, proof = found.made.get(name), found.proofs.get(name)
    known: dict[str, Any] = {
        "name": name,
        "recipe": planned.name.recipe,
        "format": planned.name.format,
        "runtime": planned.runtime,
        "point": planned.name.point,
        "settings": {step: write_record(record) for step, record in planned.settings.items()},
    }
    if made is None:
        status, reason = found.lost[name]
        return Candidate(status=status, why_rejected=reason, **known)
    export = made.exported.record["export"]
    known |= {
        "size_bytes": export["size_bytes"],
        "parameters": export["census"]["parameters"],
        "sha256": export["sha256"],
        "passes": tuple(made.exported.record["passes"]),
    }
    if made.exported.record["refused"]:
        return Candidate(status="rejected", why_rejected=str(made.exported.record["refused"]), **known)
    if proof is None or found.identity is None:
        return Candidate(status="unmeasured", why_rejected=found.missing or "the device gave nothing", **known)
    if proof.failed or proof.reading is None:
        return Candidate(status="failed", why_rejected=proof.failed, **known)
    reading = proof.reading
    if reading.model_flash_bytes is not None:  # code and constants as linked, where a firmware was
        known["size_bytes"] = reading.model_flash_bytes
    counted = counted_cost(reading, export["census"]["macs"], profile)
    return Candidate(
        status="eligible",
        why_rejected="",
        peak_ram_bytes=reading.peak_ram_bytes,
        arena_bytes=reading.arena_bytes,
        flash_bytes=reading.flash_bytes,
        stack_bytes=reading.stack_bytes,
        counted=counted,
        predicted=predict(
            counted,
            profile,
            weight_bytes=export["size_bytes"],
            work=_work(made, profile),
        ),
        measured=measured_latency(reading, found.identity),
        quality=proof.quality,
        **known,
    )


def _work(made: Made, profile: TargetProfile) -> Mapping[str, float] | None:
    """What the file consists of, where that is what the target's cost model prices and the file is an ONNX one."""
    if profile.cost_model is None or profile.cost_model.basis != "work" or made.planned.name.format != "onnx":
        return None
    return work_of(made.model)
