"""What compression gives on the templates: the float model, every technique alone, stock quantizers, and a search.

    python tests/benchmarks/bench_compression.py [--template vae ...] [--samples 512] [--trials 16] [--cache DIR]

For each template: a table of every way of making a file (bytes, counted instructions and peak RAM on the emulated
boards, closeness to the float model, and the task's figure, both with 95 % intervals); what the points that the search
found beat; the hypervolume; and the searched best beside a network of its own size that was trained directly. The
search tries a point on every target, has a front for each, and never looks at the test part, on which everything is
weighed; best and hypervolume are of the last target. Goes on where it was stopped: every file and reading is in the
cache. Prints Markdown; --json FILE writes the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import edgegen  # noqa: E402
from edgegen.core.cache import Cache  # noqa: E402
from edgegen.core.project import PointTable, load_project  # noqa: E402
from support.compared import Row, Spoken, floats, markdown, plain_defaults, presets, tried, yardstick  # noqa: E402
from support.yardstick import Weighed, Yardstick  # noqa: E402

TEMPLATES = ("tabular", "anomaly", "flow", "classifier", "vae", "gan", "keyword", "autoregressive")
FIRST = (
    *(
        f"{change}+rewritten{behind}"
        for change in ("distilled", "pruned")
        for behind in ("", "+static-int8", "+dynamic-int8", "+dynamic-int4", "+weight-int4", "+float16")
    ),
    "distilled+qat+dynamic-int4",
)
"""Recipes that the search begins with, beside every step alone and those of the template."""

_ALLOWED_LOSS = 0.01
_PAGE_BYTES = 4096  # peak RAM is read in these, so a page more or less tells nothing of two files


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a template's search is worth."""

    rows: list[Row]
    fronts: Mapping[str, Sequence[str]]  # target -> names of its points
    seeds: float  # how far a second training moves the task's figure; 0: not known
    hypervolume: Mapping[str, Any]
    trials: int

    def of(self, *kinds: str) -> list[tuple[str, Weighed]]:
        """Rows of these kinds that have a file."""
        return [(row.name, row.weighed) for row in self.rows if row.kind in kinds and row.weighed is not None]

    def kept(self, item: Weighed) -> bool:
        """Whether the task's figure is within 1 % of the float model of the format, or within the seeds' own noise."""
        parent = dict(self.of("float"))[f"float32@{item.format}"].task
        worse = item.task.loss(parent) * abs(parent.value)
        return worse <= max(_ALLOWED_LOSS * abs(parent.value), self.seeds)

    def unbeaten(self, target: str, grain_bytes: int) -> list[str]:
        """Presets and plain defaults for which no point of the target's front is as good on the task, within the
        interval, and nowhere dearer."""
        front = [point for name, point in self.of("search") if name in self.fronts[target]]
        return [
            name
            for name, item in self.of("preset", "plain defaults")
            if not any(point.task.within(item.task) and point.no_dearer(item, target, grain_bytes) for point in front)
        ]


def main() -> int:
    """Prints the tables."""
    options = _options()
    cache = Path(options.cache).expanduser().resolve()
    everything = {}
    for template in options.template:
        with tempfile.TemporaryDirectory() as name:
            found = _found(template, options, cache, Path(name))
        everything[template] = found
        print(f"\n## {template}\n\n{markdown(found.rows, options.target)}\n", flush=True)
        print("\n".join(_said(found, options.target)), flush=True)
        if options.json:
            plain = {name: asdict(item) for name, item in everything.items()}
            Path(options.json).write_text(json.dumps(plain, indent=1) + "\n")
    return 0


def _found(template: str, options: argparse.Namespace, cache: Path, folder: Path) -> Found:
    with yardstick(template, options.target, cache, options.samples, folder) as stick:
        rows = [*floats(stick), *plain_defaults(stick, folder), *presets(stick)]
        documents = _searched(stick, folder / template, options, cache)
        points = {target: _front(document) for target, document in documents.items()}
        tables = {name: table for front in points.values() for name, table in front.items()}
        planned = {name: stick.point(name, table) for name, table in tables.items()}
        rows += [tried(str(item.name), "search", partial(stick.weigh_planned, item)) for item in planned.values()]
        seeds = stick.floor(rows[0].weighed.task.name) if rows[0].weighed else 0.0
        last = documents[options.target[-1]]
        found = Found(
            rows=rows,
            fronts={target: [str(planned[name].name) for name in front] for target, front in points.items()},
            seeds=seeds,
            hypervolume=last["hypervolume"],
            trials=len(last["trials"]),
        )
        best = _best(found, options.target[-1])
        point = next((name for name, item in planned.items() if str(item.name) == best), None)
        changes = {} if point is None else stick.students(planned[point])
    if point is not None and changes:
        found.rows.extend(_direct(template, tables[point], changes, options, cache, folder))
    return found


def _front(document: Mapping[str, Any]) -> dict[str, PointTable]:
    return {
        point["name"]: PointTable(recipe=point["recipe"], format=point["format"], settings=point["settings"])
        for point in document["points"]
        if point["on_front"] and point["recipe"] != "float32"
    }


def _searched(stick: Yardstick, folder: Path, options: argparse.Namespace, cache: Path) -> dict[str, Mapping[str, Any]]:
    """The document of every target's front."""
    named = load_project(folder).recipes
    recipes = json.dumps(list(dict.fromkeys((*named, *FIRST))))
    overrides = (
        f"quality.samples={options.samples}", 'export.formats=["onnx","litert"]', f"compress.recipes={recipes}"
    )  # fmt: skip
    result = edgegen.search(
        load_project(folder, overrides),
        target=options.target,
        trials=options.trials,
        seconds=options.seconds,
        cache=Cache(cache),
        progress=Spoken(),
    )
    return {document["target"]: document for document in result.documents}


def _best(found: Found, target: str) -> str | None:
    """The searched point that keeps the task and multiplies least of size and instructions."""
    front = [(name, item) for name, item in found.of("search") if name in found.fronts[target]]
    kept = [(name, item) for name, item in front if found.kept(item)]
    return min(kept, key=lambda pair: pair[1].size_bytes * pair[1].instructions[target], default=(None, None))[0]


def _direct(
    template: str,
    point: PointTable,
    changes: Mapping[str, Any],
    options: argparse.Namespace,
    cache: Path,
    folder: Path,
) -> Iterator[Row]:
    """A network of the point's size, trained as the template trains its own, then quantized as the point is."""
    overrides = [f"model.{name}={json.dumps(value)}" for name, value in changes.items()]
    steps = [step for step in point.recipe.split("+") if step not in ("distilled", "pruned")]
    table = PointTable(
        recipe="+".join(steps) or "float32",
        format=point.format,
        settings={name: value for name, value in point.settings.items() if name in steps},
    )
    with yardstick(template, options.target, cache, options.samples, folder, overrides) as stick:
        yield tried(
            f"trained at that size, {table.recipe}@{table.format}",
            "trained directly",
            lambda: stick.weigh_planned(stick.point("direct", table)),
        )


def _said(found: Found, targets: Sequence[str]) -> Iterator[str]:
    rivals = found.of("preset", "plain defaults")
    for target in targets:
        left, to_the_byte = found.unbeaten(target, _PAGE_BYTES), found.unbeaten(target, 0)
        yield (
            f"- {target}: {len(rivals) - len(left)} of {len(rivals)} presets and plain defaults have a searched "
            "point with the task's figure within their interval and no more bytes, instructions and RAM"
            + ("" if left == to_the_byte else f" (to the page of RAM; to the byte {len(rivals) - len(to_the_byte)})")
            + (f". Not: {', '.join(left)}." if left else ".")
        )
    volume = found.hypervolume
    yield f"- hypervolume over the presets', search / test: {volume['search']['ratio']} / {volume['test']['ratio']}"
    best, target = _best(found, targets[-1]), targets[-1]
    if best is None:
        yield "- no searched point keeps the task's figure."
        return
    item = dict(found.of("search"))[best]
    parent = dict(found.of("float"))[f"float32@{item.format}"]
    seeds = f"; another seed: {found.seeds:.3g}" if found.seeds else ""
    change = f"{parent.task.value:.4g} -> {item.task.value:.4g} ({-item.task.loss(parent.task):+.2%}{seeds})"
    yield (
        f"- best that keeps the task: {best}, {parent.size_bytes / item.size_bytes:.2f}x smaller, "
        f"{parent.instructions[target] / item.instructions[target]:.2f}x fewer instructions on {target}, "
        f"{item.task.name} {change}"
    )
    for name, other in found.of("trained directly"):
        yield f"- {name}: {other.task.name} {other.task}, {other.size_bytes:,} bytes"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", nargs="+", default=list(TEMPLATES), choices=TEMPLATES)
    parser.add_argument("--target", nargs="+", default=["raspberrypi4", "raspberrypi5"])
    parser.add_argument("--samples", type=int, default=512, help="held-out inputs")
    parser.add_argument("--trials", type=int, default=16, help="of the search, beside those that it begins with")
    parser.add_argument("--seconds", type=float, help="no trial is begun after so long")
    parser.add_argument("--cache", default="~/.cache/edgegen-benchmarks", help="folder of stages")
    parser.add_argument("--json", help="file that gets the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
