"""What the bundle's core is made of: the chosen file, the target core's own golden vectors, the bill of materials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.bundle import CoreContents
from edgegen.artifacts.sbom import Figure, Origin, bill_of_materials
from edgegen.bench.choose import Choice
from edgegen.bench.choose import outcome as outcome_code
from edgegen.core.digests import canonical_json, sha256_file
from edgegen.core.errors import ExitCode
from edgegen.core.models import FORMATS, TensorSpec
from edgegen.core.records import read_record, write_record
from edgegen.core.results import Candidate
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import source_digest, versions
from edgegen.data.collected import read_collected
from edgegen.export.golden import GOLDEN_ARRAYS, GOLDEN_RECORD
from edgegen.pipeline.candidates import Found
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS, ModelMaker, load_inputs
from edgegen.pipeline.order import Order
from edgegen.pipeline.prove import load_outputs

RUNTIME_DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
"""Runtime -> the distribution that it comes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that is known when the last measurement is in."""

    order: Order
    choice: Choice
    found: Found
    evaluated: Finished
    spread: Mapping[str, Any]  # as ``spread.calibration_spread`` gives it

    @property
    def exit_code(self) -> ExitCode:
        """What the build means to a CI system."""
        return outcome_code(self.choice)


def core_contents(outcome: Outcome, chosen: Candidate, maker: Maker, stages: Stages) -> CoreContents:
    """Everything that the reproducible core of the bundle holds."""
    ordered, made = outcome.order, outcome.found.made[chosen.name]
    golden = _golden(outcome, chosen, maker, stages)
    export = made.exported.record["export"]
    return CoreContents(
        name=ordered.project.name,
        version=ordered.project.version,
        target=ordered.profile.name,
        candidate=chosen.name,
        recipe=chosen.recipe,
        format=chosen.format,
        runtime=chosen.runtime,
        runtime_version=_runtime_version(outcome, chosen),
        model=made.model,
        inputs=_specs(export["inputs"]),
        outputs=_specs(export["outputs"]),
        golden_arrays=golden.files[GOLDEN_ARRAYS].path,
        golden_record=golden.files[GOLDEN_RECORD].path,
        preprocessing=maker.model.contract(),
        sbom=_sbom(outcome, chosen, maker),
        verdicts=outcome.choice.verdicts,
        seeds=seeds(ordered),
    )


def provenance(model: ModelMaker) -> dict[str, Any]:
    """How the data and the model came about: every step's record and the digest of what it gave.

    The profile of the data stays behind: its most frequent values and ranges are nobody's business who gets a bundle.
    """
    data = model.data
    steps = {
        "collect": data.collected(),
        "label": data.labelled(),
        "split": data.split(),
        "check": data.checked(),
        "clean": data.fitted(),
        "prepare": data.prepared(),
        "train": model.trained(),
        "evaluate": model.evaluated(),
    }
    return {
        "schema_version": 1,
        "family": model.project.family,
        "settings": write_record(model.settings),
        "training": write_record(model.training),
        "steps": {
            name: {"digest": done.digest, "record": _without_profile(done.record)} for name, done in steps.items()
        },
    }


def _without_profile(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "profile"}


def _golden(outcome: Outcome, chosen: Candidate, maker: Maker, stages: Stages) -> Finished:
    """Golden vectors whose outputs are the target core's own, not this host's."""
    made, proof, identity = outcome.found.made[chosen.name], outcome.found.proofs[chosen.name], outcome.found.identity
    assert proof.outputs is not None
    assert identity is not None
    outputs = proof.outputs
    stage = Stage(
        name=f"golden vectors of {chosen.name} on {outcome.order.profile.name}",
        version=1,
        quiet=True,
        inputs={"outputs": outputs.name, "export": made.exported.digest},
        settings={"core": identity.core, "kind": identity.kind, "runtime": _runtime_version(outcome, chosen)},
        tools={"edgegen": source_digest("export", "pipeline")},
    )

    def work(folder: Path) -> Mapping[str, Any]:
        from edgegen.export.golden import npz_bytes

        record = dict(made.exported.record["export"]["golden"])
        samples = record["samples"]
        arrays = {f"input/{name}": array[:samples] for name, array in load_inputs(maker.model.quality()).items()}
        arrays |= {f"output/{name}": array[:samples] for name, array in load_outputs(outputs).items()}
        (folder / GOLDEN_ARRAYS).write_bytes(npz_bytes(arrays))
        record |= {
            "sha256": sha256_file(folder / GOLDEN_ARRAYS),
            "runtime": f"{chosen.runtime} {_runtime_version(outcome, chosen)}",
            "origin": f"{identity.core} ({'emulated' if identity.emulated else 'device'})",
        }
        (folder / GOLDEN_RECORD).write_bytes(canonical_json(record))
        return {}

    return stages.run(stage, work)


def _sbom(outcome: Outcome, chosen: Candidate, maker: Maker) -> dict[str, Any]:
    ordered = outcome.order
    data = maker.model.data
    raw, prepared = read_collected(data.collected().record), data.prepared()
    distribution = RUNTIME_DISTRIBUTIONS[chosen.runtime]
    judged_on = f"{maker.model.quality().record['samples']} paired samples, {ordered.profile.name}"
    figures = [
        Figure(name=name, value=value, slice=judged_on)
        for name, value in (chosen.quality or {}).get("paired", {}).items()
    ]
    return bill_of_materials(
        name=ordered.project.name,
        version=ordered.project.version,
        candidate=chosen.name,
        family=ordered.project.family,
        model_file=FORMATS[chosen.format],
        model_sha256=str(chosen.sha256),
        tools={
            "runtime": {distribution: _runtime_version(outcome, chosen)},
            "training": versions(TOOLS["torch"]),
            "conversion": versions(TOOLS[chosen.format]),
        },
        dataset=Origin(
            name=raw.name,
            version=prepared.digest,
            origin=f"{raw.origin} (synthetic)" if raw.synthetic else raw.origin,
            licence=raw.licence,
            licence_doubt=raw.licence_doubt,
            sha256=raw.sha256,
        ),
        figures=figures,
    )


def _runtime_version(outcome: Outcome, chosen: Candidate) -> str:
    tools = outcome.found.identity.tools if outcome.found.identity else {}
    distribution = RUNTIME_DISTRIBUTIONS[chosen.runtime]
    return str(tools.get(chosen.runtime) or versions([distribution])[distribution])


def seeds(ordered: Order) -> dict[str, int]:
    return {"project": ordered.project.seed}


def _specs(items: Any) -> tuple[TensorSpec, ...]:
    return tuple(read_record(TensorSpec, item, "", "export record") for item in items)
