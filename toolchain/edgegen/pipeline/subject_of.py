"""The one place that tells a model that is trained here from one that came as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.artifacts.sbom import Origin
from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_json
from edgegen.core.ports import Progress
from edgegen.core.project import FILE_FAMILY
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stages
from edgegen.core.versions import versions
from edgegen.data.collected import read_collected
from edgegen.pipeline.brought_model import GENERATED, BroughtModel, judged_inputs
from edgegen.pipeline.model import TOOLS, ModelMaker
from edgegen.pipeline.order import Order
from edgegen.pipeline.subject import Subject
from edgegen.train.families import settings_key


def subject_of(ordered: Order, stages: Stages, cache: Cache, progress: Progress) -> Subject:
    """The model of a build.

    Raises:
        BuildError, ToolMissingError: it is a file that cannot be used.
    """
    if ordered.refused is not None:
        raise ordered.refused
    if ordered.project.brought is not None:
        return BroughtModel(ordered.project, ordered.settings, ordered.profile, stages, cache, progress)
    return ModelMaker(ordered.project, ordered.settings, stages, cache, progress)


def provenance(model: Subject) -> dict[str, Any]:
    """How the data and the model came about: every step's record and the digest of what it gave.

    The profile of the data stays behind: its most frequent values and ranges are nobody's business who gets a bundle.
    """
    if isinstance(model, BroughtModel):
        return {
            "schema_version": 1,
            "family": FILE_FAMILY,
            "settings": {**write_record(model.settings), "file": model.given.path.name},
            "training": None,
            "steps": {"take in": {"digest": model.trained().digest, "record": judged_inputs(model)}},
        }
    data = model.data
    steps: dict[str, Finished] = {
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
            name: {
                "digest": done.digest,
                "record": {key: value for key, value in done.record.items() if key != "profile"},
            }
            for name, done in steps.items()
        },
    }


def data_origin(model: Subject) -> Origin:
    """The data behind a model, for its bill of materials."""
    if isinstance(model, BroughtModel):
        made_up = model.judged_on == GENERATED
        return Origin(
            name="generated inputs" if made_up else "samples given with the model",
            version=sha256_json({"model": model.given.digests, "judged on": model.quality().digest}),
            origin=f"judged on inputs: {model.judged_on}; what the model was trained on is not known",
            licence="not stated",
            licence_doubt="the model came as a file, and nothing in it says what it was trained on",
        )
    raw, prepared = read_collected(model.data.collected().record), model.data.prepared()
    return Origin(
        name=raw.name,
        version=prepared.digest,
        origin=f"{raw.origin} (synthetic)" if raw.synthetic else raw.origin,
        licence=raw.licence,
        licence_doubt=raw.licence_doubt,
        sha256=raw.sha256,
    )


def training_tools(model: Subject) -> dict[str, str]:
    """Distributions that trained the model, with versions; none where nobody knows."""
    return {} if isinstance(model, BroughtModel) else versions(TOOLS["torch"])


def training_told(model: Subject, evaluated: Finished) -> dict[str, Any] | None:
    """How good the trained model is, how training went, and on what; None where it was not trained here."""
    if isinstance(model, BroughtModel):
        return None
    form = model.data.form()
    return {
        **evaluated.record,
        "history": model.trained().record["history"],
        "data": {
            "name": form.name,
            "kind": form.kind,
            "shape": list(form.shape),
            "samples": dict(form.samples),
            "split": form.split,
            "origin": form.origin,
            "licence": form.licence,
            "licence_doubt": form.licence_doubt,
            "synthetic": form.synthetic,
        },
    }


def calibrated_on(model: Subject) -> Mapping[str, Any] | None:
    """The record of the samples that quantization looked at; None: noise alone."""
    if isinstance(model, BroughtModel):
        file, made_up = model.given.calibration, model.given.calibration is None
        return {
            "name": "generated" if file is None else file.name,
            "sha256": model.given.digests.get("calibration", ""),
            "of": "made-up inputs: no calibration file was given" if made_up else f"rows of {file and file.name}",
            "findings": [],
        }
    return None if model.generates else dict(model.data.calibrated().record)


def brought(model: Subject) -> dict[str, Any] | None:
    """``model`` of ``result.json``: of one that came as a file what is known of it; None of others."""
    return judged_inputs(model) if isinstance(model, BroughtModel) else None


def named_by(model: Subject) -> dict[str, Any]:
    """What names a model and its data among others, made of contents alone."""
    if isinstance(model, BroughtModel):
        return {"model": write_record(model.settings), "data": dict(model.given.digests)}
    prepared = model.data.prepared().files
    return {
        "model": settings_key(model.project.family, model.settings),
        "data": {name: blob.sha256 for name, blob in prepared.items()},
    }
