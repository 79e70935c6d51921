"""What a build hands over: ``result.json`` and its kin always, the bundle only if every required budget is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.bundle import CoreContents, Written, write_documents, writing_bundle
from edgegen.artifacts.sbom import Figure, Origin, bill_of_materials
from edgegen.bench.choose import Choice
from edgegen.bench.report import render_report
from edgegen.bench.result import result_document
from edgegen.bench.summary import junit_xml, summary_markdown
from edgegen.core.digests import canonical_json, sha256_file, sha256_json
from edgegen.core.errors import EdgegenError, ExitCode
from edgegen.core.models import FORMATS, TensorSpec
from edgegen.core.records import read_record
from edgegen.core.results import Candidate
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import machine_class, source_digest, versions
from edgegen.devices.device import Identity
from edgegen.export.golden import GOLDEN_ARRAYS, GOLDEN_RECORD
from edgegen.pipeline.make import TOOLS, Maker
from edgegen.pipeline.plan import PARENT
from edgegen.pipeline.prove import Made, Proof

if TYPE_CHECKING:
    from edgegen.pipeline.build import Order

RUNTIME_DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
_REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that is known when the last measurement is in."""

    order: Order
    choice: Choice
    exit_code: ExitCode
    made: Mapping[str, Made]
    proofs: Mapping[str, Proof]
    identity: Identity | None
    missing: str  # why nothing was measured, or empty
    evaluated: Finished


def hand_over(outcome: Outcome, maker: Maker, stages: Stages) -> Mapping[str, Any]:
    """Writes the results, and the bundle if the build is a success; returns ``result.json`` as a document."""
    folder, chosen = outcome.order.folder, outcome.choice.chosen
    if outcome.exit_code is not ExitCode.OK or chosen is None:
        document = _document(outcome, stages, None)
        write_documents(folder, _documents(document, outcome, stages))
        return document
    golden = _golden(outcome, chosen, maker, stages)
    with writing_bundle(folder) as writer:
        written = writer.add_core(_core(outcome, chosen, golden, maker))
        document = _document(outcome, stages, written)
        documents = _documents(document, outcome, stages)
        writer.add_evidence(documents)
    write_documents(folder, documents)
    return document


def write_failure(ordered: Order, error: EdgegenError) -> Mapping[str, Any]:
    """``result.json`` of a build that ended before it could judge; returned as a document."""
    document = result_document(
        name=ordered.project.name,
        version=ordered.project.version,
        target=ordered.profile.name,
        target_requested=ordered.requested,
        exit_code=error.exit_code,
        environment=_environment(ordered, None),
        error=error,
    )
    try:
        write_documents(
            ordered.folder,
            {
                "result.json": _json(document),
                "summary.md": summary_markdown(document).encode(),
                "junit.xml": junit_xml([document]),
            },
        )
    except EdgegenError:
        # The first error is the one to tell; a full disk cannot be told on that disk.
        return document
    return document


# -- documents -------------------------------------------------------------------------------------------------------


def _document(outcome: Outcome, stages: Stages, bundle: Written | None) -> dict[str, Any]:
    ordered = outcome.order
    choice = outcome.choice
    if outcome.exit_code is not ExitCode.OK and choice.chosen is not None:
        raise RuntimeError("a candidate was chosen, yet the build did not succeed")
    return result_document(
        name=ordered.project.name,
        version=ordered.project.version,
        target=ordered.profile.name,
        target_requested=ordered.requested,
        exit_code=outcome.exit_code,
        choice=choice,
        bundle=bundle,
        samples=ordered.project.quality.samples,
        training=_training(outcome.evaluated),
        environment=_environment(ordered, outcome.identity),
        stages=stages.finished,
        not_measured=[outcome.missing] if outcome.missing else [],
    )


def _documents(document: Mapping[str, Any], outcome: Outcome, stages: Stages) -> dict[str, bytes]:
    return {
        "result.json": _json(document),
        "summary.md": summary_markdown(document).encode(),
        "junit.xml": junit_xml([document]),
        _REPORT: _report(document, outcome, stages),
    }


def _report(document: Mapping[str, Any], outcome: Outcome, stages: Stages) -> bytes:
    """The page; drawn again only if something that it shows is new."""
    # What the stages took is of the moment: with it, every rebuild would draw a new page.
    shown = {**document, "stages": []}
    best = outcome.choice.chosen or outcome.choice.closest
    pictured = best.name if best else ""
    parent = f"{PARENT}@{pictured.partition('@')[2]}" if pictured else ""
    files = {
        name: proof.outputs for name in (parent, pictured) if (proof := outcome.proofs.get(name)) and proof.outputs
    }
    stage = Stage(
        name="report",
        version=1,
        inputs={name: path.name for name, path in files.items()},
        settings={"document": sha256_json(shown), "pictured": pictured},
        tools={**versions(["matplotlib", "jinja2", "numpy"]), "edgegen": source_digest("bench")},
    )

    def work(folder: Path) -> Mapping[str, Any]:
        page = render_report(shown, _pictures(files, parent, pictured), device=outcome.order.profile.title)
        (folder / _REPORT).write_bytes(page.encode())
        return {}

    return stages.run(stage, work).files[_REPORT].path.read_bytes()


def _pictures(files: Mapping[str, Path], parent: str, pictured: str) -> dict[str, Any] | None:
    """The first output of the float model and of the shown candidate, for the same inputs."""
    if not {parent, pictured} <= files.keys():
        return None
    names = {"float": parent, "chosen": pictured}
    return {role: next(iter(_load(files[name]).values())) for role, name in names.items()}


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _environment(ordered: Order, identity: Identity | None) -> dict[str, Any]:
    everything = sorted({name for names in TOOLS.values() for name in names})
    return {
        "tools": {**versions(["edgegen", *everything]), **(identity.tools if identity else {})},
        "host": machine_class(),
        "device": None
        if identity is None
        else {"kind": identity.kind, "core": identity.core, "isa": identity.isa, "emulated": identity.emulated},
        "device_url": ordered.device_url,
        "seeds": _seeds(ordered),
    }


def _training(evaluated: Finished) -> Mapping[str, Any] | None:
    """The trained model's figures, what they are for real images, and how much they move between seeds."""
    record = evaluated.record
    if "absent" in record:
        return None
    reconstruction = record["reconstruction"] or {}
    floor = record["noise_floor"]
    values = record["unpaired"]
    return {
        "values": {
            "elbo": -record["held_out"]["loss"],
            **{f"{name}_nats": value for name, value in record["held_out"].items() if name != "loss"},
            **{name: reconstruction[name]["mean"] for name in ("mse", "ssim", "psnr_db") if name in reconstruction},
            **values,
        },
        "noise_floor": {name: each["maximum"] - each["minimum"] for name, each in floor["latent_seeds"].items()},
        "seed_floor": {name: abs(value - values[name]) for name, value in (floor["other_model"] or {}).items()},
        "real": dict(floor["real"]),
        "samples": record["samples"],
    }


# -- the bundle's core -----------------------------------------------------------------------------------------------


def _core(outcome: Outcome, chosen: Candidate, golden: Finished, maker: Maker) -> CoreContents:
    ordered, made = outcome.order, outcome.made[chosen.name]
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
        preprocessing=maker.contract(),
        sbom=_sbom(outcome, chosen, maker),
        verdicts=outcome.choice.verdicts,
        seeds=_seeds(ordered),
    )


def _golden(outcome: Outcome, chosen: Candidate, maker: Maker, stages: Stages) -> Finished:
    """Golden vectors whose outputs are the target core's own, not this host's."""
    made, proof, identity = outcome.made[chosen.name], outcome.proofs[chosen.name], outcome.identity
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
        arrays = {f"input/{name}": array[:samples] for name, array in maker.draw_quality_inputs().items()}
        arrays |= {f"output/{name}": array[:samples] for name, array in _load(outputs).items()}
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
    data = maker.data_manifest()
    distribution = RUNTIME_DISTRIBUTIONS[chosen.runtime]
    judged_on = f"{ordered.project.quality.samples} paired samples, {ordered.profile.name}"
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
            name=data.name,
            version=maker.data_digest,
            origin=data.origin,
            licence=data.licence,
            licence_doubt=data.licence_doubt,
            sha256=data.sha256,
        ),
        figures=figures,
    )


def _runtime_version(outcome: Outcome, chosen: Candidate) -> str:
    tools = outcome.identity.tools if outcome.identity else {}
    distribution = RUNTIME_DISTRIBUTIONS[chosen.runtime]
    return str(tools.get(chosen.runtime) or versions([distribution])[distribution])


def _seeds(ordered: Order) -> dict[str, int]:
    return {"project": ordered.project.seed}


def _specs(items: Any) -> tuple[TensorSpec, ...]:
    return tuple(read_record(TensorSpec, item, "", "export record") for item in items)


def _load(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
