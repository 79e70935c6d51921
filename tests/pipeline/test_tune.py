"""Tuning: trials on the validation part, resumed and shared studies, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
    assert min(epoch["validation"] for epoch in trained.document["history"]) == pytest.approx(best["validation"])
    shown = edgegen("tune", cache=cache, cwd=project)
    assert "To use the best: edgegen train" in shown.out


def test_two_processes_share_a_study(project, tmp_path):
    environ = environment(tmp_path / "cache")
    both = [
        subprocess.Popen(command("tune", "--json", "--set", "tune.prune=false"), cwd=project, env=environ,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    done = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], done
    final = edgegen("tune", "--json", "--set", "tune.prune=false", cache=tmp_path / "cache", cwd=project).document
    assert len(final["trials"]) in (4, 5)  # the last trial may be begun by both
    assert len({trial["number"] for trial in final["trials"]}) == len(final["trials"])


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
