"""Whether a rewrite is right, and whether it gains: outputs against the source's, cost against the cost before."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.compress.census import NothingChanged, census
from edgegen.compress.context import StepContext
from edgegen.compress.rewrite.settings import Rewritten
from edgegen.compress.steps import STEPS, apply_step, find_step
from edgegen.core.errors import BuildError, StorageError
from edgegen.core.models import FORMATS
from edgegen.export.host_runtime import run_on_host

_NOISE_RATIO = 1e-3  # counts that differ by less are equal: a runtime's own bookkeeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What a file costs, after the recipe's following steps where there are any."""

    bytes: int
    macs: int
    operators: int
    instructions: int | None  # None: no device was asked
    failed: str = ""  # why there is no file after the following steps

    def told(self) -> dict[str, int | None]:
        """As a step's figures show it."""
        names = ("bytes", "instructions", "macs", "operators")
        return {name: None if self.failed else getattr(self, name) for name in names}


class Judge:
    """Compares files of one form with the source that they were rewritten from."""

    def __init__(self, source: Path, form: str, settings: Rewritten, context: StepContext) -> None:
        self._form = form
        self._settings = settings
        self._context = context
        self._inputs = {name: array[: settings.samples] for name, array in context.inputs.items()}
        self._reference = run_on_host(source, form, self._inputs) if self._inputs else {}
        self.samples = len(next(iter(self._inputs.values()), ()))
        self.following = self._followed()

    @property
    def told(self) -> str:
        """What decides, as a person reads it."""
        after = f", after {'+'.join(step for step, _ in self.following)}" if self.following else ""
        if self._context.cost is None:
            return f"no device was asked: MACs (operators where they are equal) and bytes of the file{after}"
        return f"instructions counted on the target, and bytes of the file{after}"

    @property
    def unseen_integers(self) -> bool:
        """Whether a following step quantizes while no device counts."""
        return self._context.cost is None and any("int" in step for step, _ in self.following)

    def weigh(self, path: Path) -> Weighed:
        """The cost of a file, as it will be deployed."""
        with self._deployed(path) as (final, failed):
            if failed:
                return Weighed(bytes=0, macs=0, operators=0, instructions=None, failed=failed)
            found = census(final, self._form)
            counts: Any = {} if self._context.cost is None else self._context.cost(final, self._context.runtime)
            return Weighed(
                bytes=found.bytes,
                macs=found.macs,
                operators=sum(found.operators.values()),
                instructions=counts.get("instructions"),
            )

    def gains(self, before: Weighed, after: Weighed) -> tuple[bool, str]:
        """Whether ``after`` is cheaper, and why or why not."""
        if after.failed:
            return False, f"then {after.failed}"
        if before.failed:
            return True, f"without it {before.failed}"
        work, named = _work(before, after)
        size = after.bytes / max(before.bytes, 1)
        said = f"{named} {work - 1:+.1%}, bytes {size - 1:+.1%}"
        if abs(work - 1) < _NOISE_RATIO:
            work = 1.0
        if self._settings.gain == "both":
            return work * size < 1, said
        first, second = (work, size) if self._settings.gain == "instructions" else (size, work)
        return first < 1 or (first == 1 and second < 1), said

    def deviation(self, path: Path) -> tuple[float, str]:
        """The largest deviation from the source's outputs in parts of each one's largest magnitude, and why it is
        too large; empty if it is not.

        Integers and truth values must be equal. Infinities must stand where they stood.
        """
        try:
            given = run_on_host(path, self._form, self._inputs)
        except BuildError as error:
            return float("inf"), f"the runtime refuses it: {error.got or error.what}"
        largest = 0.0
        for name, wanted in self._reference.items():
            found = given.get(name)
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                return float("inf"), f"the output {name!r} is another"
            largest = max(largest, _apart(found, wanted))
        if largest > self._settings.tolerance_ratio:
            return largest, f"it moves an output by {largest:.1e} of its largest magnitude"
        return largest, ""

    def _followed(self) -> tuple[tuple[str, Any], ...]:
        """The recipe's next steps up to the first that itself asks the target: that one would ask for every rewrite."""
        found = []
        for step, settings in self._context.following:
            if STEPS[step, self._form].probed:
                break
            found.append((step, settings))
        return tuple(found)

    @contextmanager
    def _deployed(self, path: Path) -> Iterator[tuple[Path, str]]:
        """The file after the following steps, or why there is none."""
        if not self.following:
            yield path, ""
            return
        context = replace(self._context, following=(), cost=None, quality=None)
        with tempfile.TemporaryDirectory() as name:
            current, failed = path.parent, ""
            for number, (step, settings) in enumerate(self.following):
                folder = Path(name) / str(number)
                folder.mkdir()
                try:
                    apply_step(find_step(step, self._form), current, folder, settings, context)
                except StorageError:
                    raise
                except NothingChanged as error:
                    failed = f"{step} changes nothing: {error.got}"
                except BuildError as error:
                    failed = f"{step} fails: {error.what}"
                if failed:
                    break
                current = folder
            yield current / FORMATS[self._form], failed


def _work(before: Weighed, after: Weighed) -> tuple[float, str]:
    """How much work is left in parts of what was, and what it is counted in."""
    if before.instructions is not None and after.instructions is not None:
        return after.instructions / max(before.instructions, 1), "instructions"
    if after.macs != before.macs:
        return after.macs / max(before.macs, 1), "MACs"
    return after.operators / max(before.operators, 1), "operators"


def _apart(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(found, wanted) else float("inf")
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)) or not np.array_equal(
        found[~finite], wanted[~finite], equal_nan=True
    ):
        return float("inf")
    if not finite.any():
        return 0.0
    first, second = found[finite].astype(np.float64), wanted[finite].astype(np.float64)
    return float(np.abs(first - second).max() / max(np.abs(second).max(), np.finfo(np.float32).tiny))
