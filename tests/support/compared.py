"""Tables of model files that were made in many ways and weighed by one yardstick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgegen.compress.steps import STEPS
from edgegen.core.errors import EdgegenError
from edgegen.core.ports import Silent
from edgegen.pipeline.templates import begin
from support.plain_defaults import DEFAULTS, Quantize
from support.yardstick import Weighed, Yardstick

TOGETHER = ("qat+static-int8", "pruned+static-int8", "distilled+static-int8")
"""Recipes beside every step alone: steps that are made to be followed by another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A way of making a file, and the file weighed, or why there is none."""

    name: str
    kind: str  # "float", "preset", "joined", "plain defaults", "search", or a tool's name
    weighed: Weighed | None = None
    why_not: str = ""


class Spoken(Silent):
    """Says on stderr what is being done: long work should not look dead."""

    def say(self, message: str) -> None:
        print(f"  {message}", file=sys.stderr)


@contextmanager
def yardstick(
    template: str, targets: Sequence[str], cache: Path, samples: int, folder: Path, overrides: Sequence[str] = ()
) -> Iterator[Yardstick]:
    """A template's project in ``folder``, trained, and the boards."""
    project = folder / template
    if not project.exists():
        begin(project, template)
    stick = Yardstick(project, targets, cache, Spoken(), samples, overrides)
    try:
        yield stick
    finally:
        stick.close()


def tried(name: str, kind: str, weigh: Callable[[], Weighed]) -> Row:
    """The row of a file that ``weigh`` makes and weighs."""
    print(f"  {name}", file=sys.stderr)
    try:
        return Row(name=name, kind=kind, weighed=weigh())
    except EdgegenError as error:
        return Row(name=name, kind=kind, why_not=" ".join(error.paragraph().split())[:160])
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError, AssertionError) as error:
        return Row(name=name, kind=kind, why_not=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")


def floats(stick: Yardstick) -> Iterator[Row]:
    """The float model in every format."""
    for form in ("onnx", "litert"):
        yield tried(f"float32@{form}", "float", partial(_float, stick, form))


def presets(stick: Yardstick) -> Iterator[Row]:
    """Every step of the table alone with its defaults, in every format that has it, and ``TOGETHER``."""
    recipes = [name for name in dict.fromkeys(name for name, _ in STEPS) if name not in ("float32", "qat")]
    for planned in stick.planned((*recipes, *TOGETHER)):
        name, kind = str(planned.name), "joined" if planned.name.recipe in TOGETHER else "preset"
        if planned.not_built:
            yield Row(name=name, kind=kind, why_not=planned.not_built)
        else:
            yield tried(name, kind, partial(stick.weigh_planned, planned))


def plain_defaults(stick: Yardstick, folder: Path) -> Iterator[Row]:
    """The stock quantizers, nothing tuned."""
    for number, (name, (form, quantize)) in enumerate(DEFAULTS.items()):
        done = folder / f"plain-{number}.{form}"

        yield tried(name, "plain defaults", partial(_plainly, stick, name, form, quantize, done))


def _float(stick: Yardstick, form: str) -> Weighed:
    return stick.weigh("float32", stick.parent(form), form)


def _plainly(stick: Yardstick, name: str, form: str, quantize: Quantize, done: Path) -> Weighed:
    quantize(stick.parent(form), done, stick.calibration())
    return stick.weigh(name, done, form)


def markdown(rows: Sequence[Row], targets: Sequence[str]) -> str:
    """A table a model; intervals in brackets are of 95 % of resampled inputs."""
    first = next(row.weighed for row in rows if row.weighed is not None)
    heads = ["file", "bytes", *(f"instructions, {name}" for name in targets), "peak RAM, KiB"]
    heads += [first.paired.name, first.task.name]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        item = row.weighed
        if item is None:
            lines.append(f"| {_cell(row.name)} | {_cell(row.why_not)} |" + " |" * (len(heads) - 2))
            continue
        cells = [row.name, f"{item.size_bytes:,}", *(f"{item.instructions[name]:,}" for name in targets)]
        cells += [f"{item.peak_ram_bytes[targets[-1]] // 1024:,}", str(item.paired), str(item.task)]
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "/")
