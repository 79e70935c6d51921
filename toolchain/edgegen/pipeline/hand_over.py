"""What a build hands over: ``result.json`` and its kin always, the bundle only if every required budget is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen import __version__
from edgegen.artifacts.bundle import Written, write_documents, writing_bundle
from edgegen.bench.report import render_report
from edgegen.bench.result import result_document
from edgegen.bench.summary import junit_xml, summary_markdown
from edgegen.core.digests import sha256_json
from edgegen.core.errors import EdgegenError, ExitCode
from edgegen.core.models import C_PICTURE, form_of
from edgegen.core.stages import Stage, Stages
from edgegen.core.versions import machine_class, source_digest, versions
from edgegen.devices.device import Identity
from edgegen.pipeline.contents import Outcome, core_contents, seeds
from edgegen.pipeline.data import paths
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS
from edgegen.pipeline.order import Order
from edgegen.pipeline.plan import PARENT
from edgegen.pipeline.prove import load_outputs
from edgegen.pipeline.subject_of import brought, calibrated_on, provenance, training_told

_REPORT = "report.html"


def hand_over(outcome: Outcome, maker: Maker, stages: Stages) -> Mapping[str, Any]:
    """Writes the results, and the bundle if the build is a success; returns ``result.json`` as a document."""
    folder, chosen = outcome.order.folder, outcome.choice.chosen
    if outcome.exit_code is not ExitCode.OK or chosen is None:
        document = _document(outcome, maker, stages, None)
        write_documents(folder, _documents(document, outcome, stages))
        return document
    contents = core_contents(outcome, chosen, maker, stages)
    with writing_bundle(folder) as writer:
        written = writer.add_core(contents)
        brought = outcome.order.project.brought
        trained = brought is None and maker.model.converted(form_of(chosen.format)) is None
        kept = paths(maker.model.trained()) if trained and outcome.order.project.keep_training else {}
        writer.add_training(kept, provenance(maker.model))
        document = _document(outcome, maker, stages, written)
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
    # The first error is the one to tell: a full disk cannot be told on that disk.
    with contextlib.suppress(EdgegenError):
        write_documents(ordered.folder, _texts(document))
    return document


# -- documents -------------------------------------------------------------------------------------------------------


def _document(outcome: Outcome, maker: Maker, stages: Stages, bundle: Written | None) -> dict[str, Any]:
    ordered = outcome.order
    choice = outcome.choice
    return result_document(
        name=ordered.project.name,
        version=ordered.project.version,
        target=ordered.profile.name,
        target_requested=ordered.requested,
        exit_code=outcome.exit_code,
        choice=choice,
        bundle=bundle,
        samples=maker.model.quality().record["samples"],
        model=brought(maker.model),
        training=training_told(maker.model, outcome.evaluated),
        calibration=_calibration(outcome, maker),
        generation=None if outcome.generation is None else outcome.generation.document,
        made_from=_made_from(maker),
        environment=_environment(ordered, outcome.found.identity),
        stages=stages.finished,
        not_measured=[outcome.found.missing] if outcome.found.missing else [],
    )


def _made_from(maker: Maker) -> dict[str, Any]:
    """What a later build is compared by: its settings, and the digest of every step of the data and of the model."""
    told = provenance(maker.model)
    steps = {name: step["digest"] for name, step in told["steps"].items()}
    return {**{name: told[name] for name in ("family", "settings", "training")}, "steps": steps}


def _documents(document: Mapping[str, Any], outcome: Outcome, stages: Stages) -> dict[str, bytes]:
    return {**_texts(document), _REPORT: _report(document, outcome, stages)}


def _texts(document: Mapping[str, Any]) -> dict[str, bytes]:
    """The documents that are made of ``result.json`` alone."""
    return {
        "result.json": (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "summary.md": summary_markdown(document).encode(),
        "junit.xml": junit_xml([document]),
    }


def _report(document: Mapping[str, Any], outcome: Outcome, stages: Stages) -> bytes:
    """The page; drawn again only if something that it shows is new."""
    # What the stages took is of the moment: with it, every rebuild would draw a new page.
    shown = {**document, "stages": []}
    best = outcome.choice.chosen or outcome.choice.closest
    pictured = best.name if best else ""
    parent = f"{PARENT}@{best.format}" if best else ""
    files = {
        name: proof.outputs
        for name in (parent, pictured)
        if (proof := outcome.found.proofs.get(name)) and proof.outputs
    }
    arena = outcome.found.made[pictured].exported.files.get(C_PICTURE) if pictured in outcome.found.made else None
    stage = Stage(
        name="report",
        version=1,
        inputs={name: path.name for name, path in files.items()} | ({C_PICTURE: arena.sha256} if arena else {}),
        settings={"document": sha256_json(shown), "pictured": pictured},
        tools={**versions(["matplotlib", "jinja2", "numpy"]), "edgegen": source_digest("bench")},
    )

    def work(folder: Path) -> Mapping[str, Any]:
        page = render_report(
            shown,
            _pictures(files, parent, pictured),
            device=outcome.order.profile.title,
            arena=arena.path.read_text(encoding="utf-8") if arena else "",
        )
        (folder / _REPORT).write_bytes(page.encode())
        return {}

    return stages.run(stage, work).files[_REPORT].path.read_bytes()


def _pictures(files: Mapping[str, Path], parent: str, pictured: str) -> dict[str, Any] | None:
    """The first output of the float model and of the shown candidate, for the same inputs."""
    if not {parent, pictured} <= files.keys():
        return None
    names = {"float": parent, "chosen": pictured}
    return {role: next(iter(load_outputs(files[name]).values())) for role, name in names.items()}


def _environment(ordered: Order, identity: Identity | None) -> dict[str, Any]:
    everything = sorted({name for names in TOOLS.values() for name in names})
    return {
        "tools": {"edgegen": __version__, **versions(everything), **(identity.tools if identity else {})},
        "host": machine_class(),
        "device": None
        if identity is None
        else {
            "kind": identity.kind,
            "core": identity.core,
            "isa": identity.isa,
            "emulated": identity.emulated,
            "notes": list(identity.notes),
        },
        "device_url": ordered.device_url,
        "seeds": seeds(ordered),
    }


def _calibration(outcome: Outcome, maker: Maker) -> dict[str, Any]:
    """What quantization looked at, and how much another draw of it would have changed."""
    settings = outcome.order.settings.data.calibration
    return {
        "set": calibrated_on(maker.model),
        "inputs": maker.model.calibration().record["samples"],
        "draws": settings.seeds,
        "spread": dict(outcome.spread),
    }
