"""``edgegen search``: recipes and settings that no others beat, on one target or several.

A trial is only a set of stages: what two trials have in common is made once. The plain presets and the project's own
recipes are the first trials, so that the front can never be worse than they are.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_json
from edgegen.core.errors import (
    BudgetError,
    BuildError,
    ExitCode,
    StorageError,
    ToolMissingError,
    UsageError,
    gravest,
)
from edgegen.core.lazy import load
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.core.records import write_record
from edgegen.core.stages import Stages
from edgegen.core.versions import source_digest
from edgegen.devices.device import DeviceSettings
from edgegen.pipeline.order import Order, order
from edgegen.pipeline.plan import formats_for
from edgegen.pipeline.search_fronts import document_of, measured_anew, shown_points, write_front
from edgegen.pipeline.search_settings import SearchSettings, read_search_settings
from edgegen.pipeline.search_space import Point, Space, point_key
from edgegen.pipeline.search_targets import Stand, opened
from edgegen.pipeline.search_tries import Trier, placed
from edgegen.pipeline.search_workers import working
from edgegen.pipeline.study import FAILED, NAMED, SharedStudy
from edgegen.pipeline.study_storage import open_study, reached
from edgegen.pipeline.subject import Subject
from edgegen.pipeline.subject_of import named_by, subject_of
from edgegen.train.tuning import shown_storage

if TYPE_CHECKING:
    import pandas
    from optuna.trial import FrozenTrial, Trial

_STORAGE = "[search] storage"
_RESULT = "result"  # user attribute: what ``Trier.tried`` gave
_FAILED_AT = 2.0  # coordinate, beyond the reference point, of what cannot be built
_IN_VAIN = 40  # draws in a row that give nothing new: the space is used up
_AT_RANDOM = 12  # draws in vain after which chance decides, for a sampler that has settled proposes the same again
_NOT_THE_QUESTION = ("trials", "seconds", "storage", "engine", "workers", "startup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search that was asked for: all that a worker elsewhere needs to take part."""

    project: Project
    targets: tuple[str, ...]
    settings: SearchSettings
    device: str | None
    offline: bool
    out: Path | None
    cache: Path
    until: float | None  # time.time() after which no trial is begun
    study: str = ""  # that the others work on; empty: whichever the question makes


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search gave: ``documents`` are the ``front.json`` of each target, ``folders`` where they lie."""

    documents: tuple[Mapping[str, Any], ...]
    folders: tuple[Path, ...]

    @property
    def exit_code(self) -> ExitCode:
        """What the search means to a CI system: not OK where a front is empty."""
        return gravest([ExitCode(document["exit_code"]) for document in self.documents])

    def to_frame(self) -> pandas.DataFrame:
        """A row a point and target: its name, recipe and settings, its figures in the search and on the test part.

        Raises:
            ToolMissingError: pandas is not installed.
        """
        rows = [{"target": document["target"], **point} for document in self.documents for point in document["points"]]
        frame: pandas.DataFrame = load("pandas:json_normalize", extra="data")(rows)
        return frame


def search(
    project: Project | Path | None = None,
    *,
    target: str | Sequence[str],
    trials: int | None = None,
    seconds: float | None = None,
    workers: int | None = None,
    engine: str | None = None,
    device: str | None = None,
    offline: bool = False,
    jobs: int | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Searches until the study has as many trials as are asked for; goes on with one that is there.

    Several processes that call this at once share the work; together they make exactly that many.

    Args:
        target: one target or several; a point is tried on all of them, and each has a front of its own.
        trials, seconds, workers, engine: over the keys of ``[search]``.
        device: URL of the device to count on; None is the profile's own.
        jobs: measurements at once when the front is measured anew; None is the number of CPUs.
        out: where ``<target>/search/`` goes; None is ``build/`` in the project's folder.

    Raises:
        UsageError: the project file, a target or a setting is wrong.
        ToolMissingError: optuna or ray is not installed, the storage or the device cannot be reached.
    """
    if not isinstance(project, Project):
        project = load_project(project, tuple(overrides))
    given = {"trials": trials, "seconds": seconds, "workers": workers, "engine": engine}
    table = {**project.search, **{key: value for key, value in given.items() if value is not None}}
    settings = read_search_settings(table, project.source)
    cache, progress = cache or Cache(), progress or Silent()
    asked = Asked(
        project=project,
        targets=(target,) if isinstance(target, str) else tuple(dict.fromkeys(target)),
        settings=settings,
        device=device,
        offline=offline,
        out=out,
        cache=cache.root,
        until=None if settings.seconds is None else time.time() + settings.seconds,
    )
    load("optuna:create_study", extra="tune")
    cache.sweep()
    with begun(asked, progress) as running:
        with working(replace(asked, study=running.name), running.follow, progress) as shares:
            if shares:
                running.work()
        return running.finished(jobs or os.cpu_count() or 1)


def work(asked: Asked) -> None:
    """Takes part in a search until there is nothing left to do: what a worker process runs.

    Raises:
        UsageError: the project's folder is not on this machine.
    """
    if not asked.project.folder.is_dir():
        raise UsageError(
            "the project's folder is not on this machine",
            where=str(asked.project.folder),
            next_step="share it, at the same path, with every machine that works on the search",
        )
    with begun(asked, Silent()) as running:
        running.work()


@contextmanager
def begun(asked: Asked, progress: Progress) -> Iterator[Running]:
    """The search with its targets held open and its study reached, for the length of the block."""
    orders = [order(asked.project, target=target, device=asked.device, out=asked.out) for target in asked.targets]
    cache = Cache(asked.cache)
    settings, project = asked.settings, orders[0].project
    device = DeviceSettings(cache=cache.root, offline=asked.offline, progress=progress)
    space = Space(
        project=project,
        profiles=tuple(item.profile for item in orders),
        allowed=settings.steps,
        formats=tuple(dict.fromkeys(name for item in orders for name in formats_for(project, item.profile))),
    )
    with cache.in_use(), ExitStack() as stack:
        model = subject_of(orders[0], Stages(cache.store(), progress), cache, progress)
        stands = {
            ordered.requested: stack.enter_context(opened(ordered, space, model, settings, device))
            for ordered in orders
        }
        stack.enter_context(reached(_STORAGE))
        yield Running(asked, orders, space, model, stands, progress)


class Running:
    """A search in this process: its study and what it knows so far."""

    def __init__(
        self,
        asked: Asked,
        orders: Sequence[Order],
        space: Space,
        model: Subject,
        stands: Mapping[str, Stand],
        progress: Progress,
    ) -> None:
        self._asked = asked
        self._settings = asked.settings
        self._orders = orders
        self._space = space
        self._stands = stands
        self._progress = progress
        self._first = [*space.presets(), *space.named()]
        self._trier = Trier(space, stands, asked.settings)
        self.name = _study_name(asked, model, stands, space)
        if asked.study not in ("", self.name):
            raise ToolMissingError(
                "this worker would search for something else: its edgegen, tools or data are not those of the others",
                got=self.name,
                expected=asked.study,
                next_step="install the same versions on every machine",
            )
        names = next(iter(stands.values())).objectives
        self._study = open_study(
            self.name,
            asked.project.folder,
            asked.settings.storage,
            _STORAGE,
            directions=["minimize"] * len(names),
        )
        self._wanted = len(self._first) + asked.settings.trials
        self._shared = SharedStudy(
            self._study,
            self._wanted,
            asked.project.seed,
            asked.settings.startup,
            progress,
            owed=[(point, space.parameters(point)) for point in self._first],
            sampler=self._sampler,
        )
        self._in_vain = 0

    def work(self) -> None:
        """Runs trials until there are as many as are wanted, time is up, or nothing new is drawn any more."""
        if before := len(self._shared.counted()):
            self._progress.say(f"going on with a search of {before} trials")
        while not self._is_late() and self._in_vain < _IN_VAIN:
            trial = self._shared.claim(self._in_vain)
            if trial is None:
                break
            self._progress.advance("search", len(self._shared.counted()), self._wanted, self._line())
            with self._shared.unless_given_up(trial):
                point = self._point(trial)
                if point is None:
                    self._in_vain += 1
                    continue
                self._in_vain = 0
                self._run(trial, point)
                self.write()
        if self._in_vain:
            self._progress.say("nothing new is drawn any more: the space is used up")

    def follow(self) -> None:
        """For who only watches others work: tells how far they are, and writes the front where it is new."""
        self._progress.advance("search", len(self._shared.counted()), self._wanted, self._line())
        self.write()

    def write(self) -> None:
        """Writes every target's front as it is known now."""
        trials = self._trials()
        for target, stand in self._stands.items():
            write_front(stand.order.folder, self._document(trials, target, None), page=False)

    def finished(self, jobs: int) -> SearchResult:
        """Measures every front and the plain presets anew on the test part, and writes documents and pages."""
        trials, documents = self._trials(), []
        for target, stand in self._stands.items():
            self._progress.say(f"measure the front on {target} anew, on the test part")
            shown = shown_points(trials, target, stand, self._space)
            document = self._document(trials, target, measured_anew(shown, stand, self._space, jobs))
            write_front(stand.order.folder, document, page=True)
            documents.append(document)
        return SearchResult(documents=tuple(documents), folders=tuple(item.folder / "search" for item in self._orders))

    # -- one trial -----------------------------------------------------------------------------------------------

    def _point(self, trial: Trial) -> Point | None:
        """What the trial is about; None if that is nothing, or nothing new: then it is withdrawn."""
        drawn = self._space.draw(trial)
        point: Point | None = trial.user_attrs.get(NAMED) or drawn
        if point is None:
            self._shared.withdraw(trial)
            return None
        return point if self._shared.name(trial, point) else None

    def _run(self, trial: Trial, point: Point) -> None:
        finished = {
            item["name"]: item["result"] for item in self._trials() if item["result"] and item["number"] != trial.number
        }
        is_first = point_key(point) in {point_key(item) for item in self._first}
        try:
            with self._shared.alive(trial):
                result = self._trier.tried(point, finished, whole=is_first)
        except StorageError:
            raise  # a full disk says nothing of the recipe
        except (BuildError, BudgetError, UsageError) as error:
            # A recipe that cannot be built or changes nothing is an answer too.
            self._progress.say(f"trial {trial.number}, {point['recipe']}@{point['format']}: {error.paragraph()}")
            trial.set_user_attr(FAILED, error.paragraph())
            # Told as the worst there is rather than as failed, for a sampler learns nothing of trials that failed.
            self._shared.tell(trial, "COMPLETE", [_FAILED_AT] * len(self._study.directions))
            return
        if result["ended"]:
            self._progress.say(f"trial {trial.number}, {point['recipe']}@{point['format']}: {result['ended']}")
        trial.set_user_attr(_RESULT, result)
        self._shared.tell(trial, "COMPLETE", self._trier.values(result))

    def _sampler(self, seed: int, startup: int) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        if self._in_vain >= _AT_RANDOM:
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # Grouping keeps apart what is asked for in different recipes; optuna calls it experimental.
            warnings.simplefilter("ignore")
            # Several objectives: Ozaki et al., "Multiobjective tree-structured Parzen estimator", JAIR 73 (2022).
            return TPESampler(seed=seed, n_startup_trials=len(self._first) + startup, multivariate=True, group=True)

    # -- what is known -------------------------------------------------------------------------------------------

    def _is_late(self) -> bool:
        return self._asked.until is not None and time.time() >= self._asked.until

    def _trials(self) -> list[dict[str, Any]]:
        return [_told(trial) for trial in self._shared.counted()]

    def _line(self) -> str:
        target, stand = next(iter(self._stands.items()))
        known = [item for item in self._trials() if item["result"] and placed(item["result"], target, stand)]
        return f"{len(known)} followed to the end"

    def _document(self, trials: Sequence[Mapping[str, Any]], target: str, anew: Any) -> dict[str, Any]:
        return document_of(
            trials,
            target,
            self._stands[target],
            self._space,
            anew,
            study=self.name,
            storage=shown_storage(self._settings.storage),
            seed=self._asked.project.seed,
            settings=write_record(replace(self._settings, storage=shown_storage(self._settings.storage))),
        )


def _told(trial: FrozenTrial) -> dict[str, Any]:
    result = trial.user_attrs.get(_RESULT)
    failed = trial.user_attrs.get(FAILED, "")
    ended = result["ended"] if result else ""
    return {
        "name": f"p{trial.number + 1:02d}",
        "number": trial.number,
        "point": trial.user_attrs.get(NAMED),
        "status": "failed" if failed else "ended" if ended else "complete",
        "reason": failed or ended,
        "seconds": result["seconds"] if result else None,
        "result": result,
    }


def _study_name(asked: Asked, model: Subject, stands: Mapping[str, Stand], space: Space) -> str:
    """A study is of one question: another model, space, target or code makes another one.

    Made of contents alone, so that machines with caches of their own name it alike.
    """
    project = asked.project
    question = {key: value for key, value in write_record(asked.settings).items() if key not in _NOT_THE_QUESTION}
    told = {
        "settings": question,
        **named_by(model),
        "tables": [project.data, project.train, project.steps, project.seed, project.quality.samples],
        "formats": space.formats,
        "targets": {
            name: [stand.profile.digest, stand.identity.kind, dict(stand.identity.tools)]
            for name, stand in stands.items()
        },
        "code": source_digest("bench", "compress", "devices", "export", "metrics", "train"),
    }
    return f"{project.name}-search-{sha256_json(told)[:12]}"
