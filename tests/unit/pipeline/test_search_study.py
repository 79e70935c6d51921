"""Trials with names: none is lost and none done twice, whoever dies in between."""

from __future__ import annotations

import random
import threading

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from edgegen.core.ports import Silent
from edgegen.pipeline import study
from edgegen.pipeline.study import FAILED, NAMED, SharedStudy

OWED = tuple(({"recipe": f"r{number}"}, {"x": number}) for number in range(4))
GONE = ["another boot", "pid:[1]", "77", "5"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(study, "_LOST_SECONDS", 0.3)
    monkeypatch.setattr(study, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(study, "_LOOK_SECONDS", 0.01)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def shared(found, wanted, owed=OWED):
    return SharedStudy(found, wanted, 3, 2, Silent(), owed=owed)


def names(found):
    return [trial.user_attrs[NAMED] for trial in shared(found, 0).counted()]


def run(worker, dies=lambda: False):
    """Runs trials until there are none left; one that dies leaves the trial that it is at."""
    attempt = 0
    while (trial := worker.claim(attempt)) is not None:
        with worker.unless_given_up(trial):
            drawn = trial.suggest_int("x", 0, 40)
            if not worker.name(trial, trial.user_attrs.get(NAMED) or {"recipe": f"d{drawn}"}):
                attempt += 1
                continue
            attempt = 0
            if dies():
                trial.set_user_attr("worker", GONE)
                return
            with worker.alive(trial):
                worker.tell(trial, "COMPLETE", (float(drawn), 1.0))


def two_objectives(**more):
    return optuna.create_study(directions=["minimize", "minimize"], **more)


def test_what_is_owed_comes_first_and_with_what_the_sampler_may_learn():
    found = two_objectives()
    run(shared(found, 6))
    assert names(found)[:4] == [name for name, _ in OWED]
    assert [trial.params["x"] for trial in found.trials[:4]] == [0, 1, 2, 3]
    drawn = names(found)[4:]
    assert len(drawn) == 2
    assert all(name["recipe"].startswith("d") for name in drawn)


def test_what_was_drawn_before_is_drawn_again_and_not_done_twice():
    found = two_objectives()
    run(shared(found, 14))
    assert len(names(found)) == 14
    assert len({name["recipe"] for name in names(found)}) == 14


def test_a_trial_whose_worker_died_is_run_again_under_its_name():
    found = two_objectives()
    moments = iter([False, False, True])
    run(shared(found, 6), lambda: next(moments))
    assert len(names(found)) == 2
    run(shared(found, 6))
    assert sorted(name["recipe"] for name in names(found))[2:] == ["r0", "r1", "r2", "r3"]
    assert len({name["recipe"] for name in names(found)}) == 6


def test_two_that_queued_the_same_do_it_once():
    found = two_objectives()
    first, second = shared(found, 4), shared(found, 4)
    before = found.get_trials(deepcopy=False)
    first._queue_owed(before)
    second._queue_owed(before)  # at the same moment: neither saw what the other queued
    one, other = first.claim(), second.claim()
    assert first.name(one, one.user_attrs[NAMED])
    assert second.name(other, other.user_attrs[NAMED])
    first.tell(one, "COMPLETE", (1.0, 1.0))
    second.tell(other, "COMPLETE", (1.0, 1.0))
    run(first)
    assert sorted(name["recipe"] for name in names(found)) == ["r0", "r1", "r2", "r3"]


def test_a_failed_trial_counts_and_is_not_run_again():
    found = two_objectives()
    worker = shared(found, 4)
    trial = worker.claim()
    assert worker.name(trial, trial.user_attrs[NAMED])
    trial.set_user_attr(FAILED, "it cannot be built")
    worker.tell(trial, "FAIL")
    run(worker)
    assert len(names(found)) == 4
    assert len({name["recipe"] for name in names(found)}) == 4


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_die_at_random_lose_and_repeat_nothing(tmp_path, seed):
    path = str(tmp_path / "journal.log")

    def opened():
        storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
        return two_objectives(study_name="one", storage=storage, load_if_exists=True)

    opened()
    dice = random.Random(seed)

    def mortal():
        for _ in range(20):
            run(shared(opened(), 12), lambda: dice.random() < 0.25)

    threads = [threading.Thread(target=mortal) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    done = [name["recipe"] for name in names(opened())]
    assert len(done) == len(set(done)) == 12
    assert {"r0", "r1", "r2", "r3"} <= set(done)
