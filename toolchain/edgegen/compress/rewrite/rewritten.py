"""The step: tries every pass in turn, verifies it, and keeps it where the file gets cheaper on the target."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.judge import Judge, Weighed
from edgegen.compress.rewrite.passes import Pass, passes_of
from edgegen.compress.rewrite.settings import Rewritten
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load, nearest
from edgegen.core.models import FORMATS
from edgegen.export.litert_file import EXTRA
from edgegen.export.signature import read_signature

_OPENERS = {
    "onnx": "edgegen.compress.rewrite.onnx_graph:open_graph",
    "litert": "edgegen.compress.rewrite.litert_graph:open_graph",
}
_SHOWN = 8  # reasons of one pass that results tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One way of one pass, tried."""

    path: Path
    found: Found
    weighed: Weighed
    deviation: float


def apply_onnx(source: Path, folder: Path, settings: Rewritten, context: StepContext) -> Mapping[str, Any]:
    """Writes ``model.onnx`` with every rewrite that is exact and gains; gives a row for each pass.

    Raises:
        NothingChanged: no pass was kept; the error says why of each.
        BuildError: there are no calibration inputs to verify with, or a fixed input differs from them.
        UsageError: a setting names no input or no pass.
    """
    return _rewrite("onnx", source, folder, settings, context)


def apply_litert(source: Path, folder: Path, settings: Rewritten, context: StepContext) -> Mapping[str, Any]:
    """The same for ``model.tflite``."""
    return _rewrite("litert", source, folder, settings, context)


def _rewrite(form: str, source: Path, folder: Path, settings: Rewritten, context: StepContext) -> Mapping[str, Any]:
    path = source / FORMATS[form]
    passes = passes_of(form)
    _check_names(settings, passes)
    if not context.inputs:
        raise BuildError(
            "rewriting needs calibration inputs to verify with",
            where=str(path),
            next_step="give inputs, or leave rewritten out",
        )
    fixed = _fixed(path, form, settings, context)
    judge = Judge(path, form, settings, context)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(form, judge, fixed, path, Path(name))
        for number, one in enumerate(passes):
            context.progress.advance("rewriting", number, len(passes), one.name)
            rows.append(bench.left_out(one) if one.name in settings.without else bench.tries(one))
        context.progress.advance("rewriting", len(passes), len(passes))
        if not any(row["kept"] for row in rows):
            raise NothingChanged(
                f"rewritten ({form}) keeps no pass",
                got="; ".join(f"{row['pass']}: {row['why']}" for row in rows),
                next_step="leave it out of [compress] recipes for this model",
            )
        shutil.copyfile(bench.path, folder / FORMATS[form])
    return {
        "judged_by": judge.told,
        "verified_samples": judge.samples,
        "tolerance_ratio": settings.tolerance_ratio,
        "table": rows,
    }


class _Bench:
    """The file as far as it was rewritten, and what it costs."""

    def __init__(
        self, form: str, judge: Judge, fixed: Mapping[str, np.ndarray[Any, Any]], path: Path, folder: Path
    ) -> None:
        self.path = path
        self._form = form
        self._judge = judge
        self._fixed = fixed
        self._folder = folder
        self._files = 0
        self._weighed: Weighed | None = None

    def tries(self, one: Pass) -> dict[str, Any]:
        """Tries a pass at all its places, or at each alone; keeps what gains. The row tells of it."""
        found = self._anywhere(one)
        row = _row(one, found)
        if not found.places:
            return row | {"why": "nothing to rewrite" + (f": {found.refused[0]}" if found.refused else "")}
        first = before = self._cost()
        kept, deviations, reasons = 0, [], []
        for place in found.places if one.each else (None,):
            best, reason, deviation = self._best(one, self._asked(place), before)
            deviations.append(deviation)
            if reason not in reasons:
                reasons.append(reason)
            if best is not None:
                kept += len(best.found.places)
                self.path, self._weighed = best.path, best.weighed
                before = best.weighed
        if one.each and len(found.places) > 1:
            reasons = [f"kept at {kept} of {len(found.places)} places", *reasons[:_SHOWN]]
        return row | {
            "kept": kept,
            "before": first.told(),
            "after": before.told(),
            "largest_deviation_ratio": max((value for value in deviations if np.isfinite(value)), default=None),
            "why": "; ".join(reasons),
        }

    def left_out(self, one: Pass) -> dict[str, Any]:
        """The row of a pass that the settings leave out."""
        return _row(one, Found()) | {"why": "left out by the setting without"}

    def _anywhere(self, one: Pass) -> Found:
        """Every place that any way of the pass can rewrite."""
        whole = Found()
        for variant in one.variants:
            found = self._written(one, self._asked(None), variant)[1]
            whole.places += [place for place in found.places if place not in whole.places]
            whole.refused += [reason for reason in found.refused if reason not in whole.refused]
        return whole

    def _asked(self, place: str | None) -> Asked:
        return Asked(fixed=self._fixed, unseen_integers=self._judge.unseen_integers, only=place)

    def _best(self, one: Pass, asked: Asked, before: Weighed) -> tuple[Tried | None, str, float]:
        """The cheapest exact way that gains, the reason for it or against all, and the largest deviation seen."""
        best, why, against, worst = None, "", "", 0.0
        for variant in one.variants:
            path, found = self._written(one, asked, variant)
            if not found.places:
                continue
            deviation, reason = self._judge.deviation(path)
            worst = max(worst, deviation)
            if reason:
                against = against or reason
                continue
            weighed = self._judge.weigh(path)
            gains, said = self._judge.gains(best.weighed if best else before, weighed)
            if gains:
                best = Tried(path=path, found=found, weighed=weighed, deviation=deviation)
                why = self._judge.gains(before, weighed)[1]
            else:
                against = against or said
        return best, why if best else against or "nothing to rewrite any more", worst

    def _written(self, one: Pass, asked: Asked, variant: Mapping[str, Any]) -> tuple[Path, Found]:
        graph = load(_OPENERS[self._form], extra=EXTRA if self._form == "litert" else None)(self.path)
        found = load(one.target)(graph, asked, **variant)
        folder = self._folder / str(self._files)
        self._files += 1
        folder.mkdir()
        path = folder / FORMATS[self._form]
        if found.places:
            graph.write(path)
        return path, found

    def _cost(self) -> Weighed:
        if self._weighed is None:
            self._weighed = self._judge.weigh(self.path)
        return self._weighed


def _row(one: Pass, found: Found) -> dict[str, Any]:
    return {
        "pass": one.name,
        "places": len(found.places),
        "kept": 0,
        "before": None,
        "after": None,
        "largest_deviation_ratio": None,
        "why": "",
        "refused": found.refused[:_SHOWN],
    }


def _check_names(settings: Rewritten, passes: list[Pass]) -> None:
    known = {one.name for one in passes}
    others = {one.name for form in _OPENERS for one in passes_of(form)}
    for name in settings.without:
        if name not in others:
            raise UsageError(
                f"there is no rewriting pass {name!r}",
                where="[compress.rewritten] without",
                expected=f"one of {', '.join(sorted(known))}{nearest(name, others)}",
            )


def _fixed(path: Path, form: str, settings: Rewritten, context: StepContext) -> dict[str, np.ndarray[Any, Any]]:
    """The fixed inputs as arrays of the model's shapes; the calibration inputs must agree."""
    specs = {spec.name: spec for spec in read_signature(path, form)[0]}
    found = {}
    for name, values in settings.fix.items():
        where = f"[compress.rewritten.fix] {name}"
        if name not in specs:
            raise UsageError(
                f"the model has no input {name!r}",
                where=where,
                expected=f"one of {', '.join(specs)}{nearest(name, specs)}",
            )
        spec = specs[name]
        flat = np.array(values, dtype=np.float64)
        size = int(np.prod(spec.shape))
        if flat.size not in (1, size):
            raise UsageError(
                f"the values of {name!r} do not fit it",
                where=where,
                got=f"{flat.size} values",
                expected=f"one, or {size} for {list(spec.shape)}",
            )
        array = np.broadcast_to(flat, size).reshape(spec.shape).astype(spec.dtype)
        if not np.array_equal(np.broadcast_to(flat, size).reshape(spec.shape), array.astype(np.float64)) and (
            array.dtype.kind != "f"
        ):
            raise UsageError(f"the values of {name!r} are no {spec.dtype}", where=where, got=list(values))
        given = context.inputs.get(name)
        if given is not None and not (given == array[0]).all():
            raise BuildError(
                f"the input {name!r} is fixed, but calibration inputs have other values",
                where=where,
                got=f"{int((given != array[0]).reshape(len(given), -1).any(axis=1).sum())} of {len(given)} samples",
                expected="the fixed value in every sample",
                next_step="take the input out of [compress.rewritten.fix], or feed the model that value alone",
            )
        found[name] = array
    return found
