"""A model file from elsewhere, looked at when a build is asked for: all that is wrong with it is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.digests import sha256_file
from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.project import Brought, Project
from edgegen.core.records import read_record
from edgegen.export.confined import Bounds, confined
from edgegen.pipeline.brought_inputs import Samples, read_samples
from edgegen.pipeline.brought_settings import BroughtSettings
from edgegen.train.own_source import find_source

_BOTH = ("onnx", "litert")
_FORMS = {"onnx": ("onnx",), "litert": ("litert",), "pt2": _BOTH, "safetensors": _BOTH}
_NAMES = {
    "onnx": "ONNX",
    "litert": "LiteRT",
    "pt2": "a torch.export archive",
    "safetensors": "weights of a class",
}
LOOKING = Bounds(seconds=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A model file as it was asked for and as it was found."""

    settings: BroughtSettings
    path: Path
    form: str  # of the file: onnx, litert, pt2 or safetensors
    digests: Mapping[str, str]  # everything that the model consists of -> sha256
    shapes: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]  # with a sample axis of length 1
    state: Mapping[str, str]  # input -> output
    draws: Mapping[str, Any]
    quantized: bool
    calibration: Path | None
    evaluate: Path | None
    samples: Mapping[str, int]  # "calibration", "evaluate" -> rows
    labelled: bool  # whether labels of the first output came along

    @property
    def brought(self) -> Brought:
        """What a plan has to know."""
        return Brought(
            came_as=_NAMES[self.form],
            forms=_FORMS[self.form],
            integers=self.quantized,
            calibrated=self.calibration is not None,
        )


def look_at(project: Project, target: str) -> Given:
    """Reads ``[model]``, looks at the file in a bounded process, and holds rules and samples against it.

    Args:
        target: name of the target that the model is to run on.

    Raises:
        UsageError: a key, the file, a shape, a state, or a file with samples is wrong.
        BuildError: a whole file that cannot be used.
        ToolMissingError: the extra of its format is not installed.
    """
    settings = read_record(BroughtSettings, project.model, "model", project.source)
    path = _file(project, settings.file, "file")
    told = confined(
        "edgegen.export.intake:describe",
        {
            "path": str(path),
            "shapes": _shapes(settings, project.source),
            "state": _state(settings, project.source),
            "target": target,
            "project": str(project.folder),
            "module": settings.module,
        },
        path,
        LOOKING,
    )
    inputs = tuple(_sampled(item) for item in told["inputs"])
    outputs = {item["name"]: item for item in told["outputs"]}
    files = {
        key: _file(project, getattr(settings, key), key)
        for key in ("calibration", "evaluate")
        if getattr(settings, key)
    }
    samples: dict[str, Samples] = {
        key: read_samples(file, inputs, outputs, told["state"], expects=key == "evaluate")
        for key, file in files.items()
    }
    digests = {"model": told["sha256"], **{f"beside {name}": value for name, value in told["external"].items()}}
    if settings.module:
        digests["class"] = find_source(settings.module, project.folder).digest
    return Given(
        settings=settings,
        path=path,
        form=told["format"],
        digests=digests | {key: sha256_file(file) for key, file in files.items()},
        shapes=told["shapes"],
        inputs=inputs,
        state=told["state"],
        draws=told["draws"],
        quantized=told["quantized"],
        calibration=files.get("calibration"),
        evaluate=files.get("evaluate"),
        samples={key: found.count for key, found in samples.items()},
        labelled=samples["evaluate"].labels is not None if "evaluate" in samples else False,
    )


def _file(project: Project, name: str, key: str) -> Path:
    path = project.folder / name
    if not path.is_file():
        raise UsageError(
            "there is no such file",
            where=f"{project.source}, [model] {key}",
            got=name,
            expected=f"a file in {project.folder}, or a whole path",
        )
    return path


def _shapes(settings: BroughtSettings, source: str) -> dict[str, list[int]]:
    for name, axes in settings.shapes.items():
        if not isinstance(axes, list) or not all(type(axis) is int and axis > 0 for axis in axes):
            raise UsageError(
                f"the shape of {name!r} is none",
                where=f"{source}, [model.shapes]",
                got=axes,
                expected="positive whole numbers, e.g. [1, 3, 224, 224]",
            )
    return dict(settings.shapes)


def _state(settings: BroughtSettings, source: str) -> dict[str, str]:
    wrong = [name for name, output in settings.state.items() if not isinstance(output, str)]
    if wrong:
        raise UsageError(
            "a state is fed by one output",
            where=f"{source}, [model.state] {wrong[0]}",
            got=settings.state[wrong[0]],
            expected="the name of an output",
        )
    return dict(settings.state)


def _sampled(told: Mapping[str, Any]) -> TensorSpec:
    """An input as edgegen's own file of the model has it: one sample of length 1 along the first axis."""
    dims = tuple(told["dims"])
    inner = dims[1:] if dims[:1] in ((1,), ("?",)) else dims
    return TensorSpec(name=told["name"], dtype=told["dtype"], shape=(1, *inner))
