"""A study that several processes and machines share: who runs which trial, and what becomes of one whose worker died.

A worker claims a trial by beginning it; of workers that begin more than are wanted, the later ones withdraw. While it
runs, a worker says now and then that it lives. A trial whose worker is gone is given up and queued once more with the
same settings, so that its training goes on from its checkpoint.

Where trials have names (``SharedStudy.name``: what a trial is about, told before it runs), none is done twice: of two
that have the same, one withdraws. And none is lost: what was named and neither is done, nor runs, nor waits, is owed,
as is what is to be done in any case; each claim queues what is owed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import sha256_json
from edgegen.core.lazy import load
from edgegen.core.ports import Progress

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

_BEAT_SECONDS = 5.0  # between two signs of life
_LOST_SECONDS = 60.0  # without one, a worker on another machine counts as gone
_LOOK_SECONDS = 0.5  # between two looks at trials that others run
FAILED = "failed"
"""User attribute of a trial that failed by itself: its reason. A given up or withdrawn one has none, nor counts."""
NAMED = "named"
"""User attribute of a trial that has a name: the name, JSON-ready."""
_QUEUED = "queued"  # user attribute of a trial that was queued under its name


class SharedStudy:
    """What one worker sees and does of a study."""

    def __init__(
        self,
        study: Study,
        wanted: int,
        seed: int,
        startup: int,
        progress: Progress,
        *,
        owed: Sequence[tuple[Any, Mapping[str, Any]]] = (),
        sampler: Callable[[int, int], Any] | None = None,
    ) -> None:
        """``owed``: names of trials that are to be done in any case, each with what the sampler may learn of it;
        ``sampler``: from a seed and ``startup``.
        """
        self._study = study
        self._owed = owed
        self._sampler = sampler or _plain_sampler
        self._wanted = wanted
        self._seed = seed
        self._startup = startup
        self._progress = progress
        self._seen: dict[int, tuple[Any, float]] = {}  # trial -> its last sign of life, and when it was new to us
        self._waiting = False

    def counted(self) -> list[FrozenTrial]:
        """The trials that are done, by number: those with a result, those that were ended, and those that failed."""
        return [trial for trial in self._trials() if _counts(trial)]

    def best(self) -> FrozenTrial | None:
        """The trial with the least loss, the first of equals; None as long as there is none."""
        complete = [trial for trial in self.counted() if trial.state.name == "COMPLETE"]
        return min(complete, key=lambda trial: (trial.value, trial.number), default=None)

    def claim(self, attempt: int = 0) -> Trial | None:
        """A trial to run, or None when there are as many as are wanted; waits for the last ones that others run.

        Args:
            attempt: how often this place was drawn for in vain: another one draws other settings.
        """
        while True:
            self._give_up_lost()
            trials = self._trials()
            done, running = [trial for trial in trials if _counts(trial)], _running(trials)
            if len(done) >= self._wanted:
                return None
            if len(done) + len(running) >= self._wanted:
                self._wait(running)
                continue
            self._queue_owed(trials)
            trial = self._study.ask()
            trial.set_user_attr("worker", _worker(os.getpid()))
            earlier = [item for item in self._trials() if item.number < trial.number]
            place = sum(_counts(item) for item in earlier) + len(_running(earlier))
            if place < self._wanted:
                self._draw_for(place, attempt)
                return trial
            self.withdraw(trial)  # others have begun the last ones at the same moment

    def withdraw(self, trial: Trial) -> None:
        """Ends a trial that this worker claimed and does not run: it does not count."""
        with self.unless_given_up(trial):
            self.tell(trial, "FAIL")

    def name(self, trial: Trial, name: Any) -> bool:
        """Says what a claimed trial is about. False: another is about the same, so this one is withdrawn."""
        queued = _QUEUED in trial.user_attrs
        if not queued:
            trial.set_user_attr(NAMED, name)
        others = [item for item in self._trials() if item.number != trial.number and item.user_attrs.get(NAMED) == name]
        # One that was queued had its name from the start, so of two the earlier sees nothing to yield to. One that was
        # drawn cannot know whether another saw it, so it yields to all: what it drew is drawn again.
        if any(
            _counts(item)
            or (item.state.name in ("RUNNING", "WAITING") and not queued)
            or (item.state.name == "RUNNING" and _QUEUED in item.user_attrs and item.number < trial.number)
            for item in others
        ):
            self.withdraw(trial)
            return False
        return True

    @contextmanager
    def alive(self, trial: Trial) -> Iterator[None]:
        """Says that the trial's worker lives, for the length of the block."""
        done = threading.Event()

        def beat() -> None:
            count = 0
            while not done.wait(_BEAT_SECONDS):
                count += 1
                try:
                    trial.set_user_attr("beat", count)
                except storage_errors():
                    return  # whatever it is, the training meets it too

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @contextmanager
    def unless_given_up(self, trial: Trial) -> Iterator[None]:
        """Around what is told of a trial: ends the block where others have given the trial up in the meantime."""
        try:
            yield
        except _given_up():
            self._progress.say(f"trial {trial.number} was given up by another process: its result is dropped")

    def tell(self, trial: Trial, state: str, value: float | Sequence[float] | None = None) -> None:
        """Ends the trial, with a value an objective; to be called inside ``unless_given_up``."""
        try:
            self._study.tell(trial, value, state=_state(state))
        except ValueError as error:  # optuna's word for a trial that has ended
            raise _given_up()(str(error)) from error

    # -- others ------------------------------------------------------------------------------------------------------

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _draw_for(self, place: int, attempt: int) -> None:
        """A sampler that draws by seed and place: a study that one worker runs is repeatable, also after a kill."""
        drawn = int(sha256_json([self._seed, place, *([attempt] if attempt else [])])[:8], 16)
        self._study.sampler = self._sampler(drawn, self._startup)

    def _queue_owed(self, trials: list[FrozenTrial]) -> None:
        alive = [trial for trial in trials if trial.state.name in ("RUNNING", "WAITING") or _counts(trial)]
        seen = [trial.user_attrs[NAMED] for trial in alive if NAMED in trial.user_attrs]
        once = [(trial.user_attrs[NAMED], trial.params) for trial in trials if NAMED in trial.user_attrs]
        for name, settings in (*self._owed, *once):
            if name not in seen:
                seen.append(name)
                self._study.enqueue_trial(dict(settings), user_attrs={NAMED: name, _QUEUED: True})

    def _wait(self, running: list[FrozenTrial]) -> None:
        if not self._waiting:
            numbers = ", ".join(str(trial.number) for trial in running)
            self._progress.say(f"waiting for what other processes run: trial {numbers}")
        self._waiting = True
        time.sleep(_LOOK_SECONDS)

    def _give_up_lost(self) -> None:
        for trial in _running(self._trials()):
            sign = trial.user_attrs.get("beat")
            if trial.number not in self._seen or self._seen[trial.number][0] != sign:
                self._seen[trial.number] = sign, time.monotonic()
            silent = time.monotonic() - self._seen[trial.number][1]
            if silent < _LOST_SECONDS and not _has_ended(trial.user_attrs.get("worker")):
                continue
            try:
                self._study.tell(trial.number, state=_state("FAIL"))
            except (ValueError, _given_up()):
                continue  # its worker was only slow, or another process has just given it up
            self._progress.say(f"trial {trial.number}: its process is gone; it is run again")
            if trial.params and NAMED not in trial.user_attrs:
                self._study.enqueue_trial(trial.params)


def storage_errors() -> tuple[type[Exception], ...]:
    """What a storage that is out of reach raises."""
    return load("optuna.exceptions:OptunaError", extra="tune"), load("sqlalchemy.exc:SQLAlchemyError", extra="tune")


def _plain_sampler(seed: int, startup: int) -> Any:
    return load("optuna.samplers:TPESampler", extra="tune")(seed=seed, n_startup_trials=startup)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state.name in ("COMPLETE", "PRUNED") or (trial.state.name == "FAIL" and FAILED in trial.user_attrs)


def _running(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state.name == "RUNNING"]


def _state(name: str) -> Any:
    return load("optuna.trial:TrialState", extra="tune")[name]


def _given_up() -> type[Exception]:
    found: type[Exception] = load("optuna.exceptions:UpdateFinishedTrialError", extra="tune")
    return found


def _worker(process: int) -> list[str]:
    """What names a living process among all there are: boot, name space, number, and the moment it began.

    Raises:
        ProcessLookupError: there is none of that number.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError as error:
        raise ProcessLookupError(process) from error
    if not fields or fields[0] in "ZX":  # ended, and not yet taken note of by its parent
        raise ProcessLookupError(process)
    return [*_here(), str(process), fields[19]]


def _here() -> list[str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return [boot, os.readlink("/proc/self/ns/pid")]


def _has_ended(worker: list[str] | None) -> bool:
    """Whether the process is known to be gone: only of those on this machine can that be told."""
    if worker is None or worker[:2] != _here():
        return False
    try:
        return _worker(int(worker[2])) != worker
    except ProcessLookupError:
        return True
