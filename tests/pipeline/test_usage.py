"""Everything a person can get wrong: exit code 2 and one clear paragraph, before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.cli.main import _run
from support.projects import PROJECT, write_project

MISTAKES = {
    "not TOML": ("[project]", "[project", "TOML"),
    "unknown table": ("[budgets.size]", "[budget.size]", "did you mean 'budgets'"),
    "unknown key": ('name = "small-digits"', 'nmae = "small-digits"', "did you mean 'name'"),
    "wrong type": ("seed = 3", 'seed = "three"', "an integer"),
    "out of range": ("seed = 3", "seed = -3", "at least 0"),
    "unknown family": ('family = "vae"', 'family = "vea"', "did you mean 'vae'"),
    "unknown model setting": ("decoder_channels", "decoder_chanels", "did you mean 'decoder_channels'"),
    "wrong number of channels": ("[16, 16, 8]", "[16, 16]", "3 integers"),
    "no channels": ("[16, 16, 8]", "[0, 16, 8]", "at least 1"),
    "missing data": ('source = "digits.npz"', 'source = "nothing.npz"', "missing"),
    "no origin": ('origin = "400 digits of the shipped set"', "", "origin"),
    "unknown set": (
        'source = "digits.npz"\norigin = "400 digits of the shipped set"\nlicence = "MIT"',
        'set = "mnist-digit"',
        "did you mean 'mnist-digits'",
    ),
    "unknown training setting": ("epochs = 1", "epoch = 1", "did you mean 'epochs'"),
    "no epochs": ("epochs = 1", "epochs = 0", "at least 1"),
    "unknown recipe": ('"static-int8"]', '"static-int"]', "did you mean 'static-int8'"),
    "recipe in the wrong order": ('"static-int8"]', '"static-int8+pruned"]', "pruned+static-int8"),
    "float32 in a chain": ('"static-int8"]', '"float32+static-int8"]', "stands alone"),
    "settings of no step": ("[export]", "[compress.static-int]\nx = 1\n[export]", "did you mean 'static-int8'"),
    "unknown step setting": ("[export]", "[compress.static-int8]\nsamples = 1\n[export]", "calibration_samples"),
    "unknown format": ('formats = ["onnx"]', 'formats = ["onxx"]', "did you mean 'onnx'"),
    "unknown budget": ("[budgets.size]", "[budgets.sise]", "did you mean 'size'"),
    "wrong unit": ("max_bytes = 1_000_000", "max_mib = 1", "unknown key 'max_mib'"),
    "size as text": ("max_bytes = 1_000_000", 'max_bytes = "1 MB"', "an integer"),
    "budget without a limit": ("min = 20", "", "neither min nor max"),
    "unpaired metric as a budget": ("[budgets.psnr_db]", "[budgets.fid]", "unknown budget"),
}


@pytest.mark.parametrize(("old", "new", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_in_the_project_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    assert old in PROJECT
    folder = write_project(tmp_path / "project", PROJECT.replace(old, new))
    code = _run(["build", "--target", "null", "--project", str(folder), "--quiet"])
    said = capsys.readouterr()
    assert code == 2
    assert says in said.err
    assert said.err.count("\n") == 1, "one paragraph"
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not (folder / "build" / "null" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build"], "--target"),
        (["build", "--target", "rasberrypi4"], "did you mean 'raspberrypi4'"),
        (["build", "--target", "null", "--device", "nul:"], "did you mean 'null'"),
        (["build", "--target", "null", "--device", "null:somewhere"], "no address"),
        (["build", "--target", "null", "--set", "project.sead=1"], "did you mean 'seed'"),
        (["build", "--target", "null", "--jobs", "0"], "--jobs"),
        (["build", "--target", "null", "--project", "nowhere"], "no project file"),
        (["bild"], "did you mean 'build'"),
        (["targets", "nosuch"], "unknown target"),
        (["setup", "nosuch"], "unknown target"),
        (["cache", "prune", "--max-bytes", "-1"], "--max-bytes"),
    ],
)
def test_mistake_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(write_project(tmp_path / "project"))
    assert _run(arguments) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err


def test_mistake_with_json_is_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert _run(["build", "--target", "nosuch", "--json", "--project", str(tmp_path)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 2
    assert document["error"]["what"]


def test_internal_error_is_70_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(project: Path | None) -> list[str]:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("edgegen.cli.targets.target_names", broken)
    assert _run(["targets"]) == 70
    said = capsys.readouterr().err
    assert "report it" in said
    assert "Traceback" not in said


def test_a_reader_that_has_gone_is_no_failed_budget() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edgegen.cli.main", "targets"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
