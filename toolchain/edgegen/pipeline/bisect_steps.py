"""Bisection over the steps of a recipe: after which of them a budget is broken, or a figure is worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgegen.bench.regression import Check, Rules, regressions
from edgegen.bench.runs import run_of_result
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, StorageError, UsageError
from edgegen.core.models import CandidateName
from edgegen.core.ports import Progress, Silent
from edgegen.pipeline.bisect import Found, Memory, Seen, halve
from edgegen.pipeline.build import build
from edgegen.pipeline.plan import PARENT

_STANDS = {"chosen": "good", "eligible": "good", "rejected": "bad", "failed": "bad"}


def are_recipes(good: str, bad: str) -> bool:
    """Whether two arguments are names of candidates rather than commits."""
    return "@" in good and "@" in bad and "@{" not in good + bad


def bisect_steps(
    good: str,
    bad: str,
    *,
    target: str,
    rules: Rules,
    project: Path | None,
    overrides: tuple[str, ...],
    out: Path,
    cache: Cache,
    progress: Progress,
) -> Found:
    """The first step of ``bad``'s recipe after which it is worse.

    A look is a build of the recipe up to a step, with the cache of finished stages. Without ``rules.metrics`` a recipe
    is bad where it breaks a required budget; with them, where one of those figures is worse than ``good``'s.

    Args:
        good: a candidate whose steps ``bad``'s begin with, or the float model in its format.
        out: where the builds go.

    Raises:
        UsageError: the two are not such a pair.
    """
    first, last = CandidateName.parse(good), CandidateName.parse(bad)
    steps = () if first.steps == (PARENT,) else first.steps
    if first.format != last.format or last.steps[: len(steps)] != steps or len(last.steps) <= len(steps):
        raise UsageError(
            "the good recipe is not where the bad one begins",
            where="edgegen bisect",
            got=f"{good} and {bad}",
            expected="one format, and the steps of GOOD before those of BAD; float32 is before every step",
        )
    names = [f"{'+'.join(last.steps[:count])}@{last.format}" for count in range(len(steps) + 1, len(last.steps) + 1)]
    looks = _Looks(good, target, rules, project, overrides, out, cache)
    return halve(good, names, looks.look, Memory(None, names), progress)


class _Looks:
    def __init__(
        self, good: str, target: str, rules: Rules, project: Path | None, overrides: tuple[str, ...], out: Path,
        cache: Cache,
    ) -> None:  # fmt: skip
        self._good = good
        self._target = target
        self._rules = rules
        self._project = project
        self._overrides = overrides
        self._out = out
        self._cache = cache

    def look(self, name: str) -> Seen:
        """What a recipe turns out to be."""
        try:
            document = self._built(name)
        except StorageError:
            raise
        except BuildError as error:
            return Seen(item=name, answer="bad", said=error.what)
        candidate = next((item for item in document["candidates"] if item["name"] == name), None)
        if candidate is None or candidate["status"] not in _STANDS:
            return Seen(item=name, answer="skip", said="" if candidate is None else candidate["why_rejected"])
        if not self._rules.metrics:
            good = _STANDS[candidate["status"]] == "good"
            said = "keeps the budgets" if good else candidate["why_rejected"]
            return Seen(item=name, answer="good" if good else "bad", said=said)
        return self._compared(name, document)

    def _compared(self, name: str, document: Any) -> Seen:
        old, new = (
            run_of_result({**document, "chosen": {"candidate": item}, "generation": None}, when="")
            for item in (self._good, name)
        )
        checks: tuple[Check, ...] = tuple(
            check for check in regressions(new, old, self._rules) if check.metric in self._rules.metrics
        )
        if not checks:
            raise UsageError(
                "the builds have no such figure", where="--metric", got=", ".join(self._rules.metrics),
                expected=", ".join(figure.metric for figure in new.figures),
            )  # fmt: skip
        worse = [check for check in checks if check.status == "fail"]
        shown = "; ".join(f"{check.metric} {check.value:.6g}, before {check.baseline:.6g}" for check in worse or checks)
        return Seen(item=name, answer="bad" if worse else "good", said=shown)

    def _built(self, name: str) -> Any:
        wanted = list(dict.fromkeys((PARENT, CandidateName.parse(self._good).recipe, CandidateName.parse(name).recipe)))
        more = (f"compress.recipes={json.dumps(wanted)}", f'export.formats=["{CandidateName.parse(name).format}"]')
        result = build(
            self._project,
            target=self._target,
            out=self._out,
            overrides=(*self._overrides, *more),
            cache=self._cache,
            progress=Silent(),
        )
        return result.document
