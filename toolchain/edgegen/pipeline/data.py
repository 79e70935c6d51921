"""From a source to a prepared set: collect, label, split, check, clean, prepare, each a stage of its own.

Nothing heavy is imported here; a rebuild that finds every stage in the store reads records only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgegen.core.ports import Progress
from edgegen.core.records import read_record, write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import driver_digest, source_digest, versions
from edgegen.data.collect.source import find_source
from edgegen.data.collect.source import source_digest as content_digest
from edgegen.data.collected import Collected, read_collected
from edgegen.data.dataset import Form, load_dataset
from edgegen.data.review import ISSUES_FILE, decisions_digest, restore_review, review_path
from edgegen.data.settings import DataSettings

_TOOLS = ("numpy", "pandas", "pyarrow", "pandera", "scikit-learn", "scipy", "cleanlab", "SQLAlchemy", "pillow")
_COLLECTING = ("set", "source", "kind", "origin", "licence", "synthetic", "collect", "columns")


class DataMaker:
    """Prepares a project's data. Each step makes what it needs, so the order of calls does not matter."""

    def __init__(
        self, settings: DataSettings, folder: Path, seed: int, stages: Stages, progress: Progress, *, tokens: bool
    ) -> None:
        self._settings = settings
        self._plain = write_record(settings)
        self._folder = folder
        self._seed = seed
        self._stages = stages
        self._progress = progress
        self._tokens = tokens  # the model family takes tokens
        self._digest = content_digest(find_source(settings, folder), settings) or f"read anew {uuid.uuid4().hex}"

    def collected(self) -> Finished:
        """The source as a carrier of raw samples; ``record`` is ``Collected``."""

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.collect.source import collect

            return collect(self._settings, self._folder, folder, self._progress)

        settings = {key: self._plain[key] for key in _COLLECTING}
        settings["redact"] = self._settings.check.privacy == "redact"
        return self._run("collect", {"source": self._digest}, settings, work)

    def labelled(self) -> Finished:
        """What a person decided about labels; its files stand in for those that were collected.

        The key knows of decisions alone: that this step writes suspected labels into the review changes nothing.

        Raises:
            UsageError: a review that cannot be read, or lies outside the project.
        """
        raw = self.collected()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.label import label

            return label(paths(raw), self._raw(), self._settings, self._folder, self._seed, folder)

        review = review_path(self._settings.label.review, self._folder)
        inputs = {"raw": raw.digest, "decisions": decisions_digest(review)}
        settings = {"label": self._plain["label"], "split": self._plain["split"], **self._columns()}
        done = self._run("label", inputs, settings, work)
        if review is not None:
            restore_review(review, paths(done).get(ISSUES_FILE))
        return done

    def split(self) -> Finished:
        """Which sample belongs to which part."""
        raw, labelled = self.collected(), self.labelled()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.split import split

            return split(self._files(raw, labelled), self._raw(), self._settings, self._seed, folder)

        inputs = {"raw": raw.digest, "labels": labelled.digest}
        return self._run("split", inputs, {"split": self._plain["split"], **self._columns()}, work)

    def checked(self) -> Finished:
        """What is to be said of the data: leaks, privacy, representation, and a profile of every column.

        Raises:
            UsageError: something that the project file says to refuse.
        """
        raw, labelled, split = self.collected(), self.labelled(), self.split()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.check import check

            return check(self._files(raw, labelled, split), self._raw(), self._settings, split.record)

        inputs = {"raw": raw.digest, "labels": labelled.digest, "split": split.digest}
        return self._run("check", inputs, {"check": self._plain["check"], **self._columns()}, work)

    def fitted(self) -> Finished:
        """What cleaning learnt of the training part."""
        raw, labelled, split = self.collected(), self.labelled(), self.split()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.clean import fit

            return fit(self._files(raw, labelled, split), self._raw(), self._settings, self._seed, folder)

        inputs = {"raw": raw.digest, "labels": labelled.digest, "split": split.digest}
        return self._run("clean", inputs, self._shaping(), work)

    def prepared(self) -> Finished:
        """The set that models are trained and judged on, as ``data.dataset`` keeps it; ``record`` is its form."""
        raw, labelled, split, fitted = self.collected(), self.labelled(), self.split(), self.fitted()
        self.checked()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.shape.dispatch import shape

            files = self._files(raw, labelled, split, fitted)
            return shape(files, self._raw(), self._settings, split.record, folder, self._progress, tokens=self._tokens)

        inputs = {"raw": raw.digest, "labels": labelled.digest, "split": split.digest, "fitted": fitted.digest}
        return self._run("prepare", inputs, {**self._shaping(), "tokens": self._tokens}, work)

    def calibrated(self, draw: int = 0) -> Finished:
        """Which training samples quantization looks at (``calibration.npy``), and what is to be said of them.

        Args:
            draw: number of the draw, where the spread over several is reported.

        Raises:
            UsageError: calibration samples that quantization would be misled by.
        """
        data, seed = self.prepared(), self._seed + draw

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.data.calibration import calibrate

            return calibrate(load_dataset(paths(data)), self._settings.calibration, seed, folder)

        settings = {"samples": self._settings.calibration.samples, "seed": seed}
        return self._run("calibration set", {"data": data.digest}, settings, work)

    def outgoing(self) -> Finished:
        """The collected samples for use outside; where personal data are refused, they do not leave this way either."""
        if self._settings.check.privacy == "refuse":
            self.checked()
        return self.collected()

    def form(self) -> Form:
        """What the prepared samples look like."""
        return read_record(Form, self.prepared().record, "", "prepared data")

    def _raw(self) -> Collected:
        return read_collected(self.collected().record)

    def _columns(self) -> dict[str, Any]:
        return {"columns": self._plain["columns"], "window": self._plain["window"], "seed": self._seed}

    def _shaping(self) -> dict[str, Any]:
        """Everything but what only training and compression read."""
        unread = ("augment", "calibration", "check")
        return {key: value for key, value in self._plain.items() if key not in unread} | {"seed": self._seed}

    @staticmethod
    def _files(*done: Finished) -> dict[str, Path]:
        """Files of several steps by name; a later step's stand in for an earlier one's."""
        return {name: path for step in done for name, path in paths(step).items()}

    def _run(
        self,
        name: str,
        inputs: Mapping[str, str],
        settings: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
    ) -> Finished:
        stage = Stage(
            name=name,
            version=1,
            quiet=True,
            inputs=inputs,
            settings=settings,
            tools={**versions(_TOOLS), "edgegen": source_digest("data"), "edgegen_runtime": driver_digest()},
        )
        return self._stages.run(stage, work)


def paths(done: Finished) -> dict[str, Path]:
    """A stage's files by name."""
    return {name: blob.path for name, blob in done.files.items()}
