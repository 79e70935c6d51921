"""Mixed precision: static int8 that leaves in float the layers whose error is not worth what they save.

Every layer is tried alone in float while all others are int8: that tells what it gains (error that goes away) and what
it adds (instructions on the target, else bytes of the file), both as the finished file would have them. Layers are
then given back to float by gain per added cost, those that are fragile by kind and gain more than a layer does on
average before all others, until the wanted quality is reached or the budget is used up; what turns out to be needless
in the end is quantized again. Where a target can be asked, its own kernels decide.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.layers import Layer, find_layers, in_blocks
from edgegen.compress.quantize.mixed_settings import LitertMixedInt8, MixedInt8
from edgegen.compress.quantize.variants import Judged, check_metric, error_of, figures_on_host, quantize_but
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors

Settings = MixedInt8 | LitertMixedInt8
STEP = "static-int8"
_HOST_SAMPLES = 64
_SHOWN_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one layer in float gains and costs, all others being int8."""

    layer: Layer
    error: float  # that goes away
    cost: float  # that is added: instructions, or bytes where none were counted; may be negative

    @property
    def rate(self) -> float:
        """Gain per added cost; infinite for what adds nothing."""
        return self.error / self.cost if self.cost > 0 else math.inf


def apply_onnx(source: Path, folder: Path, settings: MixedInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with the layers in float that are worth it; returns which, why, and the curve.

    Raises:
        BuildError: quantization failed, the metric does not exist for the model, or a limit on instructions is set and
            nothing counts them.
    """
    return _apply(source, folder, "onnx", settings, context)


def apply_litert(source: Path, folder: Path, settings: LitertMixedInt8, context: StepContext) -> dict[str, Any]:
    """The same for LiteRT."""
    return _apply(source, folder, "litert", settings, context)


def _apply(source: Path, folder: Path, form: str, settings: Settings, context: StepContext) -> dict[str, Any]:
    if settings.max_instructions is not None and context.cost is None:
        raise BuildError(
            "a limit on instructions was set, and nothing counts them here",
            where="[compress.mixed-int8] max_instructions",
            got="no device",
            next_step="choose a target that is emulated, or limit float_ratio",
        )
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(source, Path(name), form, settings, context)
        search = Search(trial, settings, context)
        kept = search.run()
        shutil.copyfile(trial.path(kept), folder / FORMATS[form])
        return search.figures(kept, trial.judge_name)


class Trial:
    """Makes and judges variants of one file, each once."""

    def __init__(self, source: Path, work: Path, form: str, settings: Settings, context: StepContext) -> None:
        self._source = source
        self._work = work
        self._form = form
        self._settings = settings
        self._context = context
        self._paths: dict[frozenset[str], Path] = {}
        self._judged: dict[frozenset[str], Judged] = {}
        self._reference: Tensors = {}

    @property
    def made(self) -> int:
        """How many variants were judged."""
        return len(self._judged)

    @property
    def judge_name(self) -> str:
        """Whose kernels decide, as figures tell it."""
        if self._context.quality is not None:
            return f"the target's kernels ({self._context.runtime}), calibration inputs"
        from edgegen.export.golden import host_class

        return f"this host's kernels ({host_class()}), calibration inputs: no device was there"

    def layers(self) -> tuple[Layer, ...]:
        """What may stay in float: layers, or blocks of them where there are more than ``probes``."""
        found = find_layers(self._source, self.path(()).parent, self._form)
        return found if len(found) <= self._settings.probes else in_blocks(found)

    def path(self, kept: Sequence[Layer]) -> Path:
        """The file with these layers in float.

        Raises:
            BuildError: it cannot be made.
        """
        key = frozenset(layer.name for layer in kept)
        if key not in self._paths:
            folder = self._work / str(len(self._paths))
            folder.mkdir()
            self._paths[key] = quantize_but(kept, self._source, folder, self._form, STEP, self._settings, self._context)
        return self._paths[key]

    def judge(self, kept: Sequence[Layer]) -> Judged:
        """What the file with these layers in float gives; told as failed where it cannot be made or run."""
        key = frozenset(layer.name for layer in kept)
        if key not in self._judged:
            try:
                path = self.path(kept)
                cost = self._context.cost(path, self._context.runtime) if self._context.cost else {}
                self._judged[key] = Judged(
                    figures=self._figures(path), bytes=path.stat().st_size, instructions=cost.get("instructions")
                )
            except BuildError as error:
                self._judged[key] = Judged(figures={}, bytes=0, instructions=None, failed=error.paragraph())
        return self._judged[key]

    def _figures(self, path: Path) -> dict[str, float]:
        if self._context.quality is not None:
            return dict(self._context.quality(path, self._context.runtime))
        from edgegen.export.host_runtime import run_on_host

        inputs = {name: array[:_HOST_SAMPLES] for name, array in self._context.inputs.items()}
        if not self._reference:
            self._reference = run_on_host(self._source / FORMATS[self._form], self._form, inputs)
        return figures_on_host(self._reference, run_on_host(path, self._form, inputs))


@dataclass(kw_only=True)
class _Told:
    """What the figures will say."""

    metric: str = ""
    layers: int = 0
    gains: list[Gain] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ended: str = ""


class Search:
    """Chooses the layers that stay in float."""

    def __init__(self, trial: Trial, settings: Settings, context: StepContext) -> None:
        self._trial = trial
        self._settings = settings
        self._progress = context.progress
        self._told = _Told()

    def run(self) -> list[Layer]:
        """The layers to keep in float, in the order in which they were chosen.

        Raises:
            BuildError: the model quantized as a whole does not run.
        """
        whole = self._trial.judge(())
        if whole.failed:
            raise BuildError("the model cannot be quantized as a whole", got=whole.failed)
        told = self._told
        told.metric = check_metric(
            self._settings.metric, self._settings.statistic, whole.figures, "[compress.mixed-int8] metric"
        )
        layers = self._trial.layers()
        told.layers = len(layers)
        told.gains = ranked([gain for layer in self._shown(layers) if (gain := self._gain(layer, whole))])
        self._point((), whole)
        kept = self._restore(whole)
        if self._reached(self._trial.judge(kept)):
            kept = self._needed(kept)
        return kept

    def figures(self, kept: Sequence[Layer], judge_name: str) -> dict[str, Any]:
        """As the step reports them: which layers stay in float and why, the whole curve, and who decided."""
        told, final, whole = self._told, self._trial.judge(kept), self._trial.judge(())
        names = {layer.name for layer in kept}
        total = whole.error(told.metric) or 1.0
        cost = "instructions" if whole.instructions is not None else "bytes"
        return {
            "metric": told.metric,
            "decided_by": judge_name,
            "int8": _rounded(whole.figures[told.metric]),
            "mixed": _rounded(final.figures[told.metric]),
            "reach": self._settings.reach,
            "reached": None if self._settings.reach is None else self._reached(final),
            "ended": told.ended,
            f"int8_{cost}": getattr(whole, cost),
            f"mixed_{cost}": getattr(final, cost),
            "layers": told.layers,
            "variants_tried": self._trial.made,
            "float_layers": [
                {
                    "name": gain.layer.name,
                    "kind": gain.layer.kind,
                    "fragile": gain.layer.fragile,
                    "share_of_error": _rounded(gain.error / total),
                    f"added_{cost}": round(gain.cost),
                }
                for gain in told.gains
                if gain.layer.name in names
            ],
            "curve": told.curve,
            **({"failed": told.failed} if told.failed else {}),
        }

    def _shown(self, layers: Sequence[Layer]) -> Iterator[Layer]:
        for done, layer in enumerate(layers):
            self._progress.advance("mixed-int8", done, len(layers), layer.name)
            yield layer
        self._progress.advance("mixed-int8", len(layers), len(layers))

    def _gain(self, layer: Layer, whole: Judged) -> Gain | None:
        alone = self._trial.judge([layer])
        if alone.failed:
            self._told.failed.append(f"{layer.name}: {alone.failed}")
            return None
        key = self._told.metric
        return Gain(layer=layer, error=whole.error(key) - alone.error(key), cost=_added(alone, whole))

    def _restore(self, whole: Judged) -> list[Layer]:
        """Gives layers back to float in their order, each only where it helps and fits."""
        kept: list[Layer] = []
        best, most = whole, max(1, math.floor(self._settings.float_ratio * self._told.layers))
        if self._settings.float_ratio == 0:
            most = 0
        self._told.ended = "no further layer gains anything"
        for gain in self._told.gains:
            if self._reached(best):
                self._told.ended = "the quality is reached"
                break
            if len(kept) >= most:
                self._told.ended = f"float_ratio allows {most} of {self._told.layers}"
                break
            tried = self._trial.judge([*kept, gain.layer])
            limit = self._settings.max_instructions
            if tried.failed or tried.error(self._told.metric) >= best.error(self._told.metric):
                continue
            if limit is not None and tried.instructions is not None and tried.instructions > limit:
                self._told.ended = "max_instructions leaves no room for a further layer"
                continue
            kept, best = [*kept, gain.layer], tried
            self._point(kept, tried)
        else:
            if self._reached(best):
                self._told.ended = "the quality is reached"
        return kept

    def _needed(self, kept: list[Layer]) -> list[Layer]:
        """Without those that the wanted quality can do without, the last ones first."""
        for layer in reversed(kept[:-1]):
            fewer = [other for other in kept if other is not layer]
            tried = self._trial.judge(fewer)
            if not tried.failed and self._reached(tried):
                kept = fewer
        return kept

    def _reached(self, judged: Judged) -> bool:
        key, reach = self._told.metric, self._settings.reach
        return reach is not None and not judged.failed and judged.error(key) <= error_of(key, reach)

    def _point(self, kept: Sequence[Layer], judged: Judged) -> None:
        self._told.curve.append(
            {
                "float_layers": len(kept),
                "added": kept[-1].name if kept else "",
                "value": _rounded(judged.figures[self._told.metric]),
                "bytes": judged.bytes,
                "instructions": judged.instructions,
            }
        )


def ranked(gains: Sequence[Gain]) -> list[Gain]:
    """Those that gain anything: first the fragile ones that gain more than a layer does on average, then by gain per
    added cost."""
    useful = [gain for gain in gains if gain.error > 0]
    average = sum(gain.error for gain in useful) / max(len(gains), 1)
    return sorted(useful, key=lambda gain: (not (gain.layer.fragile and gain.error > average), -gain.rate, -gain.error))


def _added(variant: Judged, whole: Judged) -> float:
    if variant.instructions is not None and whole.instructions is not None:
        return float(variant.instructions - whole.instructions)
    return float(variant.bytes - whole.bytes)


def _rounded(value: float) -> float:
    return float(f"{value:.{_SHOWN_DIGITS}g}")
