"""Tuning: trials on the validation part, resumed and shared studies, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import optuna
import pytest

from edgegen.core.ports import Silent
from edgegen.pipeline import study
from edgegen.pipeline.study import SharedStudy
from support.postgres import PASSWORD, running_server
from support.projects import PROJECT, command, edgegen, environment, write_project

SPACE = """
[tune]
trials = 4
startup = 2

[tune.space]
"train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
"model.latent" = { low = 2, high = 6 }
"model.encoder_channels" = { choices = [[4, 4], [8, 8]] }
"""


@pytest.fixture
def project(tmp_path):
    """Two epochs of digits, and a space of three settings."""
    text = PROJECT.replace("[train]\nepochs = 1", "[data.split]\nvalidation_ratio = 0.1\n\n[train]\nepochs = 2")
    return write_project(tmp_path / "project", text + SPACE)


def test_a_study_is_run_resumed_and_told(project, tmp_path):
    cache = tmp_path / "cache"
    first = edgegen("tune", "--set", "tune.trials=2", "--json", cache=cache, cwd=project)
    assert first.code == 0, first.err
    assert len(first.document["trials"]) == 2
    both = edgegen("tune", "--json", cache=cache, cwd=project)
    assert both.code == 0, both.err
    trials = both.document["trials"]
    assert len(trials) == 4
    assert trials[:2] == first.document["trials"]
    best = both.document["best"]
    assert best["validation"] == min(trial["validation"] for trial in trials if trial["status"] == "complete")
    assert 2 <= best["settings"]["model.latent"] <= 6
    again = edgegen("tune", "--json", cache=cache, cwd=project)
    assert again.document == both.document
    used = [part for item in both.document["overrides"] for part in ("--set", item)]
    trained = edgegen("train", *used, "--json", cache=cache, cwd=project)
    assert trained.code == 0, trained.err
    assert trained.document["history"][-1]["validation"] == best["validation"]  # of the weights that it ends with
    shown = edgegen("tune", cache=cache, cwd=project)
    assert "To use the best: edgegen train" in shown.out


def test_a_study_without_others_is_repeatable_and_says_what_early_stopping_keeps(project, tmp_path):
    stopping = ("--set", "train.patience=1", "--set", "train.epochs=4", "--json")
    once = edgegen("tune", *stopping, cache=tmp_path / "cache", cwd=project)
    assert once.code == 0, once.err
    shutil.rmtree(project / "build")
    again = edgegen("tune", *stopping, cache=tmp_path / "other", cwd=project)
    assert again.document == once.document
    assert once.document["storage"] == "build/tune/journal.log"
    used = [part for item in once.document["overrides"] for part in ("--set", item)]
    trained = edgegen("train", *used, *stopping, cache=tmp_path / "cache", cwd=project)
    kept = min(epoch["validation"] for epoch in trained.document["history"])
    assert kept == once.document["best"]["validation"]


def together(project, cache, *arguments, workers=2, **more):
    """So many processes that tune at once; the document of each."""
    started = [
        subprocess.Popen(
            command("tune", "--json", *arguments), cwd=project, env=environment(cache, OMP_NUM_THREADS="1", **more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(workers)
    ]  # fmt: skip
    done = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * workers, done
    return [json.loads(out) for out, _ in done], [err for _, err in done]


def test_other_data_under_the_same_name_are_another_study(project, tmp_path):
    one = ("--set", "tune.trials=1", "--set", "train.epochs=1", "--json")
    first = edgegen("tune", *one, cache=tmp_path / "cache", cwd=project)
    assert first.code == 0, first.err
    with np.load(project / "digits.npz") as arrays:
        changed = dict(arrays)
    changed["images"][0, 0, 0] ^= 1
    np.savez(project / "digits.npz", **changed)
    second = edgegen("tune", *one, cache=tmp_path / "cache", cwd=project)
    assert second.code == 0, second.err
    assert second.document["study"] != first.document["study"]
    assert len(second.document["trials"]) == 1


def test_two_processes_share_a_study_and_make_exactly_what_was_asked_for(project, tmp_path):
    documents, said = together(project, tmp_path / "cache", "--set", "tune.prune=false", "--set", "tune.trials=5")
    assert documents[0] == documents[1]  # each waits for the other's last trial
    trials = documents[0]["trials"]
    assert len(trials) == 5
    assert {trial["status"] for trial in trials} == {"complete"}
    settings = [json.dumps(trial["settings"], sort_keys=True) for trial in trials]
    assert len(set(settings)) == 5  # no two of them drew the same
    assert sum(err.count("\ntrain\n") + err.startswith("train\n") for err in said) == 5
    assert json.loads((project / "build/tune/result.json").read_text()) == documents[0]


def test_a_killed_worker_blocks_nobody_and_its_trial_is_run_again_with_the_same_settings(project, tmp_path):
    longer = ("--set", "train.epochs=12", "--set", "tune.trials=3", "--set", "tune.prune=false", "--json")
    undisturbed = edgegen("tune", *longer, cache=tmp_path / "undisturbed", cwd=project).document
    shutil.rmtree(project / "build")
    cache = tmp_path / "cache"
    child = subprocess.Popen(
        command("tune", *longer), cwd=project, env=environment(cache), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list(cache.glob("checkpoints/*/training.pt")) and time.monotonic() < until:
        time.sleep(0.02)
    child.kill()
    child.wait()
    resumed = edgegen("tune", *longer, cache=cache, cwd=project)
    assert resumed.code == 0, resumed.err
    assert "its process is gone; it is run again" in resumed.err
    assert "going on after epoch" in resumed.err

    def said_of(document):
        return [(trial["settings"], trial["validation"], trial["status"]) for trial in document["trials"]]

    assert said_of(resumed.document) == said_of(undisturbed)
    assert resumed.document["overrides"] == undisturbed["overrides"]


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


@pytest.fixture
def in_memory(monkeypatch):
    monkeypatch.setattr(study, "_LOST_SECONDS", 0.4)
    monkeypatch.setattr(study, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(study, "_LOOK_SECONDS", 0.01)
    return optuna.create_study()


def test_a_worker_of_another_machine_that_falls_silent_is_given_up_and_one_that_lives_is_waited_for(in_memory):
    far = SharedStudy(in_memory, 1, 3, 2, Silent())
    theirs = far.claim()
    theirs.suggest_float("x", 0, 1)
    theirs.set_user_attr("worker", ["another boot", "pid:[1]", "77", "5"])
    said = Said()
    near = SharedStudy(in_memory, 1, 3, 2, said)
    claimed = []
    with far.alive(theirs):
        waiting = threading.Thread(target=lambda: claimed.append(near.claim()))
        waiting.start()
        time.sleep(1.0)
        assert waiting.is_alive()  # it lives longer than what counts as silence
    waiting.join(10)
    assert said.lines == [
        "waiting for what other processes run: trial 0",
        "trial 0: its process is gone; it is run again",
    ]
    assert claimed[0].number == 1
    assert claimed[0].suggest_float("x", 0, 1) == theirs.params["x"]
    with far.unless_given_up(theirs):
        far.tell(theirs, "COMPLETE", 1.0)
    near.tell(claimed[0], "COMPLETE", 2.0)
    assert [trial.number for trial in near.counted()] == [1]
    assert near.claim() is None


def test_of_workers_that_begin_more_than_are_wanted_the_later_withdraw(in_memory, monkeypatch):
    first, second = (SharedStudy(in_memory, 1, 3, 2, Silent()) for _ in range(2))
    ask = in_memory.ask

    def both_at_once():
        monkeypatch.setattr(in_memory, "ask", ask)
        held.append(first.claim())
        return ask()

    held = []
    monkeypatch.setattr(in_memory, "ask", both_at_once)
    finish = threading.Timer(0.3, lambda: first.tell(held[0], "COMPLETE", 1.0))
    finish.start()
    assert second.claim() is None
    finish.join()
    assert [trial.state.name for trial in in_memory.trials] == ["COMPLETE", "FAIL"]
    assert [trial.number for trial in second.counted()] == [0]


def test_a_study_in_postgresql_is_shared_and_its_password_is_never_shown(project, tmp_path):
    with running_server() as server:
        storage = ("--set", f'tune.storage="{server.url}"', "--set", "tune.prune=false")
        documents, said = together(project, tmp_path / "cache", *storage, PGPASSWORD=PASSWORD)
        assert documents[0] == documents[1]
        assert len(documents[0]["trials"]) == 4
        assert documents[0]["storage"] == f"postgresql+psycopg://127.0.0.1:{server.port}/postgres"
        refused = edgegen("tune", *storage, cache=tmp_path / "cache", cwd=project, PGPASSWORD="another-word")
        assert refused.code == 4, refused.err
        assert "cannot be reached" in refused.err
        in_url = server.url.replace("@", f":{PASSWORD}@")
        written = edgegen("tune", "--set", f'tune.storage="{in_url}"', cache=tmp_path / "cache", cwd=project)
        assert written.code == 2
        assert "holds a password" in written.err
    shown = [*said, json.dumps(documents), refused.err, refused.out, written.err, written.out]
    assert all(PASSWORD not in text and "another-word" not in text for text in shown)


def test_a_study_whose_trials_all_fail_says_so(project, tmp_path):
    broken = ("--set", 'tune.space={"train.batch_size" = {choices = [0, -1]}}', "--set", "tune.trials=2")
    done = edgegen("tune", *broken, "--json", cache=tmp_path / "cache", cwd=project)
    assert done.code == done.document["exit_code"] == 3
    assert done.document["best"] is None
    assert all("batch_size" in trial["failed"] for trial in done.document["trials"])
    assert "No trial came to an end" in edgegen("tune", *broken, cache=tmp_path / "cache", cwd=project).out


REFUSED = {
    "no space": ("[tune.space]", "[tune.nothing]", "unknown key 'nothing'"),
    "an empty space": (SPACE[SPACE.index("[tune.space]") :], "", "nothing to tune"),
    "another table": ('"model.latent"', '"budgets.size"', "cannot be tuned"),
    "low above high": ("low = 2, high = 6", "low = 6, high = 2", "no values to search"),
    "one choice": ("[[4, 4], [8, 8]]", "[[4, 4]]", "no values to search"),
    "log from zero": ("low = 1e-4, high = 1e-2, log = true", "low = 0.0, high = 1e-2, log = true", "no values"),
    "no validation part": ("validation_ratio = 0.1", "validation_ratio = 0.0", "needs a validation part"),
    "a database that is not there": (
        "trials = 4", 'trials = 4\nstorage = "postgresql+psycopg://nobody@127.0.0.1:9/none"', "cannot be reached"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_tuning_refuses(project, tmp_path, name):
    before, after, said = REFUSED[name]
    path = project / "edgegen.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    done = edgegen("tune", cache=tmp_path / "cache", cwd=project)
    assert done.code == (4 if "database" in name else 2), done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_tuning_needs_its_extra(project, tmp_path):
    script = (
        "import sys; sys.modules['optuna'] = None; sys.argv = ['edgegen', 'tune']\n"
        "from edgegen.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=environment(tmp_path / "cache"), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "edgegen[tune]" in done.stderr
