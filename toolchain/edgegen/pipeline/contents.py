"""What the bundle's core is made of: the chosen file, the target core's own golden vectors, the bill of materials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.bundle import CoreContents
from edgegen.artifacts.layout import PREFILL_FILES
from edgegen.artifacts.sbom import Figure, bill_of_materials
from edgegen.bench.choose import Choice
from edgegen.bench.choose import outcome as outcome_code
from edgegen.core.digests import canonical_json, sha256_file
from edgegen.core.errors import ExitCode
from edgegen.core.models import C_LIBRARY, COMPILED, FORMATS, TensorSpec, files_beside
from edgegen.core.records import read_record
from edgegen.core.results import Candidate
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import source_digest, versions
from edgegen.devices.device import Identity
from edgegen.export.golden import GOLDEN_ARRAYS, GOLDEN_RECORD
from edgegen.export.host_runtime import DISTRIBUTIONS
from edgegen.pipeline.candidates import Found
from edgegen.pipeline.generation import Generation
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS, load_inputs
from edgegen.pipeline.order import Order
from edgegen.pipeline.prove import Made, load_outputs
from edgegen.pipeline.subject_of import data_origin, training_tools

RUNTIME_DISTRIBUTIONS = {**DISTRIBUTIONS, "tflite-runtime": "tflite-runtime"}
"""Runtime -> the distribution that it comes in; those of targets that are no host, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that is known when the last measurement is in."""

    order: Order
    choice: Choice
    found: Found
    evaluated: Finished
    spread: Mapping[str, Any]  # as ``spread.calibration_spread`` gives it
    generation: Generation | None = None  # of the chosen candidate, else of the closest

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
        prefill=None if outcome.generation is None else outcome.generation.prefill,
        beside=_beside(chosen, made, golden, stages),
        preprocessing=_contract(outcome, maker, made),
        sbom=_sbom(outcome, chosen, maker),
        verdicts=outcome.choice.verdicts,
        seeds=seeds(ordered),
    )


def _beside(chosen: Candidate, made: Made, golden: Finished, stages: Stages) -> Mapping[str, Path]:
    """Files of the format beside the first; C's library with golden vectors in it, for devices that test themselves."""
    files = made.exported.files
    beside = {name: files[name].path for name in files_beside(chosen.format, files)}
    if chosen.format not in COMPILED:
        return beside
    stage = Stage(
        name=f"library of {chosen.name}",
        version=1,
        quiet=True,
        inputs={"export": made.exported.digest, "golden": golden.files[GOLDEN_ARRAYS].sha256},
        tools={"edgegen": source_digest("export", "pipeline")},
    )

    def work(folder: Path) -> Mapping[str, Any]:
        from edgegen.artifacts.golden import read_golden
        from edgegen.export.c.golden_header import golden_header
        from edgegen.export.c.layouts import library, read_sources

        sources = read_sources({name: blob.path for name, blob in made.exported.files.items()})
        header = golden_header(sources.interface, read_golden(golden.files[GOLDEN_ARRAYS].path))
        (folder / C_LIBRARY).write_bytes(library(sources, header))
        return {"vectors": 0 if header is None else header.vectors}

    return {**beside, C_LIBRARY: stages.run(stage, work).files[C_LIBRARY].path}


def _contract(outcome: Outcome, maker: Maker, made: Made) -> Mapping[str, Any]:
    own = maker.remembering(made.planned)
    contract = maker.model.contract() if own is None else maker.model.contract(of=own)
    return contract if outcome.generation is None else {**contract, "generation": outcome.generation.rules}


def _golden(outcome: Outcome, chosen: Candidate, maker: Maker, stages: Stages) -> Finished:
    """Golden vectors whose outputs are the target core's own, not this host's."""
    made, proof, identity = outcome.found.made[chosen.name], outcome.found.proofs[chosen.name], outcome.found.identity
    assert proof.outputs is not None
    assert identity is not None
    outputs, quality = proof.outputs, maker.quality(made.planned)
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
        given = load_outputs(outputs)
        fed = maker.model.fed(load_inputs(quality), given)
        arrays = {f"input/{name}": array[:samples] for name, array in fed.items()}
        arrays |= {f"output/{name}": array[:samples] for name, array in given.items()}
        (folder / GOLDEN_ARRAYS).write_bytes(npz_bytes(arrays))
        record |= {
            "sha256": sha256_file(folder / GOLDEN_ARRAYS),
            "runtime": f"{chosen.runtime} {_runtime_version(outcome, chosen)}",
            "origin": f"{identity.core} ({_standing(identity)})",
        }
        (folder / GOLDEN_RECORD).write_bytes(canonical_json(record))
        return {}

    return stages.run(stage, work)


def _standing(identity: Identity) -> str:
    if identity.emulated:
        return "emulated"
    return "device" if identity.gives else "not the device"


def _sbom(outcome: Outcome, chosen: Candidate, maker: Maker) -> dict[str, Any]:
    ordered = outcome.order
    prefill = None if outcome.generation is None else outcome.generation.prefill
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
            "training": training_tools(maker.model),
            "conversion": versions(TOOLS[chosen.format]),
        },
        dataset=data_origin(maker.model),
        figures=figures,
        second_file=None if prefill is None else (PREFILL_FILES[chosen.format], sha256_file(prefill)),
    )


def _runtime_version(outcome: Outcome, chosen: Candidate) -> str:
    tools = outcome.found.identity.tools if outcome.found.identity else {}
    distribution = RUNTIME_DISTRIBUTIONS[chosen.runtime]
    return str(tools.get(chosen.runtime) or versions([distribution])[distribution])


def seeds(ordered: Order) -> dict[str, int]:
    return {"project": ordered.project.seed}


def _specs(items: Any) -> tuple[TensorSpec, ...]:
    return tuple(read_record(TensorSpec, item, "", "export record") for item in items)
