"""What a person compares: a model file, a folder that holds one, a bundle, or a project's candidate by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.layout import BUNDLE_DIR, FILES_DIR, GOLDEN_ARRAYS
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Progress
from edgegen.core.project import Project
from edgegen.core.stages import Finished, Stages
from edgegen.pipeline.make import Maker
from edgegen.pipeline.order import order
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.prove import Made
from edgegen.pipeline.subject import Subject
from edgegen.pipeline.subject_of import subject_of

if TYPE_CHECKING:
    import numpy as np

_SUFFIXES = {Path(name).suffix: form for form, name in FORMATS.items()}
_INPUT = "input/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A model file with its format, and what people call it."""

    name: str
    path: Path
    format: str
    golden: Path | None  # vectors that lie beside it
    calibration: Finished | None = None  # inputs of a project's candidate


def find_operand(text: str, by_name: Callable[[str], Operand]) -> Operand:
    """What the text means.

    Args:
        by_name: from a candidate's name, as ``static-int8@onnx``, to its file.

    Raises:
        UsageError: neither a path to a model nor a candidate's name.
        IntegrityError: a bundle that does not hold.
    """
    path = Path(text)
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise UsageError("not a model file", where=text, expected=f"a name that ends in {' or '.join(_SUFFIXES)}")
        return _of_file(text, path)
    if path.is_dir():
        return _in_folder(text, path)
    if "@" in text:
        return by_name(text)
    raise UsageError(
        "there is nothing of that name",
        where=text,
        expected="a model file, a build's folder, a bundle, or a candidate such as static-int8@onnx with --target",
    )


def golden_inputs(operand: Operand) -> Mapping[str, np.ndarray[Any, Any]] | None:
    """The inputs of the golden vectors beside the file; None where there are none.

    Raises:
        UsageError: the vectors cannot be read.
    """
    from edgegen.data.npz import read_npz

    if operand.golden is None:
        return None
    arrays = read_npz(operand.golden)
    return {name.removeprefix(_INPUT): rows for name, rows in arrays.items() if name.startswith(_INPUT)} or None


def _of_file(text: str, path: Path) -> Operand:
    golden = path.parent / GOLDEN_ARRAYS
    return Operand(name=text, path=path, format=_SUFFIXES[path.suffix], golden=golden if golden.is_file() else None)


def _in_folder(text: str, folder: Path) -> Operand:
    for place in (folder, folder / FILES_DIR):
        found = [place / name for name in FORMATS.values() if (place / name).is_file()]
        if len(found) > 1:
            raise UsageError("the folder holds several models", where=text, expected="the path of one of them")
        if found:
            return _of_file(text, found[0])
    for place in (folder / BUNDLE_DIR, folder):
        if (place / "index.json").is_file():
            return _in_bundle(text, place)
    raise UsageError(
        "the folder holds no model",
        where=text,
        expected=f"{' or '.join(FORMATS.values())}, {FILES_DIR}/, or a bundle",
    )


def _in_bundle(text: str, bundle: Path) -> Operand:
    from edgegen.artifacts.verify import core_files

    files = core_files(bundle)
    form = next(form for form, name in FORMATS.items() if name in files)
    return Operand(name=text, path=files[FORMATS[form]], format=form, golden=files.get(GOLDEN_ARRAYS))


class ProjectCandidates:
    """A project's candidates by name; the project is read only where one is asked for."""

    def __init__(
        self,
        target: str | None,
        project: Project | Path | None,
        device: str | None,
        overrides: Sequence[str],
        cache: Cache,
        progress: Progress,
    ) -> None:
        self._target = target
        self._project = project
        self._device = device
        self._overrides = overrides
        self._cache = cache
        self._progress = progress
        self._model: Subject | None = None
        self._planned: dict[str, Planned] = {}

    def named(self, name: str) -> Operand:
        """The file of one of the candidates; made if need be.

        Raises:
            UsageError: no target, or the project has no such candidate.
            ToolMissingError: it cannot be built here.
            BuildError: it cannot be made, or its recipe changed nothing.
        """
        if self._target is None:
            raise UsageError("a candidate's name needs a target", where=name, expected="--target")
        model = self._opened(self._target)
        if name not in self._planned:
            raise UsageError(
                "the project has no such candidate", got=name, expected=f"one of {', '.join(self._planned)}"
            )
        planned = self._planned[name]
        if planned.not_built:
            raise ToolMissingError(f"{name} cannot be built", got=planned.not_built)
        maker = Maker(model, self._progress)
        exported = maker.exported(planned)
        if exported.record["refused"]:
            raise BuildError(f"{name} is no candidate", got=exported.record["refused"])
        made = Made(planned=planned, exported=exported)
        return Operand(
            name=name,
            path=made.model,
            format=planned.name.format,
            golden=None,
            calibration=maker.calibration(planned),
        )

    def _opened(self, target: str) -> Subject:
        if self._model is None:
            ordered = order(self._project, target=target, device=self._device, overrides=self._overrides)
            self._planned = {str(item.name): item for item in ordered.planned}
            stages = Stages(self._cache.store(), self._progress)
            self._model = subject_of(ordered, stages, self._cache, self._progress)
        return self._model
