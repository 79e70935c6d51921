"""How well gaps are filled: known cells of held-out rows are hidden, filled by each way, and compared with the truth.

    python tests/benchmarks/bench_imputation.py [--template tabular] [--hidden 0.1] [--rounds 20]

Every way learns of the training part of the template's data alone. The project's own are run as a device runs them, by
the contract that cleaning writes. Beside them: every column's mean, and one linear regression a column over all others,
whose gaps are filled with means. Errors are in standard deviations of the training part, over all hidden cells. Exit
status 1 if the iterative way is worse than the better of the two simple ones by more than a hundredth.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgegen.core.ports import Silent
from edgegen.core.records import read_record
from edgegen.data.clean import fit
from edgegen.data.clean.columns import features, matrix, read_parts
from edgegen.data.collect.source import collect
from edgegen.data.collected import FITTED_FILE, read_collected
from edgegen.data.dataset import PARTS
from edgegen.data.settings import DataSettings
from edgegen.data.split import split
from edgegen_runtime.preprocess import Preprocessor

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATES = ROOT / "toolchain" / "edgegen" / "docs" / "templates"
TOLERANCE = 1.01

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Fill: TypeAlias = "Callable[[Mapping[str, Any], Array], Array]"
"""From all cells of rows, and their numbers (rows, columns) with NaN where they are hidden, to numbers without gaps."""


def main() -> int:
    """Prints a line a way of filling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--template", default="tabular")
    parser.add_argument("--hidden", type=float, default=0.1, help="part of the known cells that is hidden")
    parser.add_argument("--rounds", type=int, default=20, help="how often cells are hidden anew")
    arguments = parser.parse_args()
    project = tomllib.loads((TEMPLATES / arguments.template / "edgegen.toml").read_text())
    settings = read_record(DataSettings, project["data"], "data", "edgegen.toml")
    with tempfile.TemporaryDirectory() as name:
        data = _Data(settings, project["project"]["seed"], Path(name))
        errors = _errors(data, arguments.hidden, arguments.rounds)
    for way, (all_cells, by_column) in errors.items():
        worst = max(by_column, key=lambda column: by_column[column])
        print(f"{way:<34}{all_cells:7.4f}   worst: {worst} {by_column[worst]:.4f}")
    simple = min(errors[way][0] for way in ("the mean", "one linear regression"))
    return 1 if errors["iterative"][0] > TOLERANCE * simple else 0


class _Data:
    """Prepared as a build prepares it: training and held-out rows, and how the project fills gaps."""

    def __init__(self, settings: DataSettings, seed: int, folder: Path) -> None:
        self._settings, self._seed, self._folder = settings, seed, folder
        self._collected = read_collected(collect(settings, folder, self._step("collect"), Silent()))
        split(self._files(), self._collected, settings, seed, self._step("split"))
        known = features(settings)
        self.names = known.numbers
        self.cells: dict[str, list[Mapping[str, Array]]] = {name: [] for name in PARTS}
        for rows in read_parts(self._files(), known.columns):
            for number, part in enumerate(PARTS):
                self.cells[part].append(rows.chosen(rows.part == number))

    def part(self, name: str) -> tuple[dict[str, Array], Array]:
        """Cells by column, and the numbers among them, (rows, columns) with NaN for gaps."""
        parts = self.cells[name]
        cells = {column: np.concatenate([each[column] for each in parts]) for column in parts[0]}
        return cells, matrix(cells, self.names, len(next(iter(cells.values()))))

    def filling(self, missing: str) -> Fill:
        """The steps of the contract up to the one that fills numbers; limits of outliers are left out."""
        clean = dataclasses.replace(self._settings.clean, missing=missing, outliers="none", scale="none")
        folder = self._step(f"clean-{missing}")
        fit(self._files(), self._collected, dataclasses.replace(self._settings, clean=clean), self._seed, folder)
        contract = json.loads((folder / FITTED_FILE).read_bytes())
        place = next(place for place, step in enumerate(contract["steps"]) if step["do"].startswith("fill"))
        prepare = Preprocessor({"input": contract["input"], "steps": contract["steps"][: place + 1]})

        def fill(cells: Mapping[str, Any], numbers: Array) -> Array:
            hidden = {name: numbers[:, place] for place, name in enumerate(self.names)}
            state = prepare.run({**cells, **hidden})
            assert isinstance(state, dict)
            return matrix(state, self.names, len(numbers))

        return fill

    def _step(self, name: str) -> Path:
        (self._folder / name).mkdir()
        return self._folder / name

    def _files(self) -> dict[str, Path]:
        return {path.name: path for step in ("collect", "split") for path in (self._folder / step).glob("*")}


def _errors(data: _Data, share: float, rounds: int) -> dict[str, tuple[float, dict[str, float]]]:
    """Way -> root mean squared error over all hidden cells, and by column."""
    _, train = data.part("train")
    cells, held_out = data.part("test")
    deviation = np.nanstd(train, axis=0)
    ways = {
        "the mean": _means(train),
        "one linear regression": _regressions(train),
        **{name: data.filling(name) for name in ("median", "knn", "iterative")},
    }
    found = {}
    for way, fill in ways.items():
        random = np.random.default_rng(0)  # the same cells for every way
        squares = np.zeros((rounds, held_out.shape[1]))
        counts = np.zeros_like(squares)
        for number in range(rounds):
            hidden = (random.random(held_out.shape) < share) & ~np.isnan(held_out)
            filled = fill(cells, np.where(hidden, np.nan, held_out))
            errors = np.where(hidden, (filled - np.where(hidden, held_out, 0)) / deviation, 0)
            squares[number], counts[number] = (errors**2).sum(axis=0), hidden.sum(axis=0)
        by_column = np.sqrt(squares.sum(axis=0) / counts.sum(axis=0))
        found[way] = (
            float(np.sqrt(squares.sum() / counts.sum())),
            dict(zip(data.names, by_column.tolist(), strict=True)),
        )
    return found


def _means(train: Array) -> Fill:
    means = np.nanmean(train, axis=0)
    return lambda cells, numbers: np.where(np.isnan(numbers), means, numbers)


def _regressions(train: Array) -> Fill:
    """A column by least squares from the others, fitted on the rows where it is known; gaps of the others are means."""
    plain = _means(train)
    whole = plain({}, train)
    lines = []
    for place in range(train.shape[1]):
        known = ~np.isnan(train[:, place])
        others = np.delete(whole, place, axis=1)[known]
        lines.append(np.linalg.lstsq(np.column_stack([others, np.ones(len(others))]), train[known, place])[0])

    def fill(cells: Mapping[str, Any], numbers: Array) -> Array:
        found = plain(cells, numbers)
        guessed = np.column_stack(
            [
                np.column_stack([np.delete(found, place, axis=1), np.ones(len(found))]) @ line
                for place, line in enumerate(lines)
            ]
        )
        return np.where(np.isnan(numbers), guessed, numbers)

    return fill


if __name__ == "__main__":
    raise SystemExit(main())
