"""The workflows and the action that ship: well formed, and every edgegen command in them is one that exists."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from edgegen.cli.main import COMMANDS
from edgegen.core.lazy import load

ROOT = Path(__file__).resolve().parent.parent.parent
CI = ROOT / "toolchain" / "edgegen" / "docs" / "ci"
FILES = sorted(CI.rglob("*.yml"))
yaml = pytest.importorskip("yaml")


def scripts(value: Any) -> list[str]:
    """Every shell script in a workflow."""
    if isinstance(value, dict):
        own = [text for key in ("run",) if isinstance(text := value.get(key), str)]
        listed = [line for key in ("script", "before_script") for line in value.get(key, []) if isinstance(line, str)]
        return own + listed + [text for item in value.values() for text in scripts(item)]
    return [text for item in value for text in scripts(item)] if isinstance(value, list) else []


def commands(text: str) -> list[list[str]]:
    """The words of every edgegen command."""
    joined = text.replace("\\\n", " ")
    return [found.split() for found in re.findall(r"^\s*edgegen ([^|&\n]+)", joined, re.MULTILINE)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ci_file_is_yaml_and_its_scripts_are_shell(path: Path) -> None:
    parsed = yaml.safe_load(path.read_text())
    found = scripts(parsed)
    assert found
    for text in found:
        shell = re.sub(r"\$\{\{[^}]*\}\}", "x", text)
        done = subprocess.run(["bash", "-n"], input=shell, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ci_file_names_commands_and_options_that_exist(path: Path) -> None:
    seen = [words for text in scripts(yaml.safe_load(path.read_text())) for words in commands(text)]
    assert seen
    for words in seen:
        assert words[0] in COMMANDS, words
        command: click.Command = load(COMMANDS[words[0]][0])
        known = {option for item in command.params for option in item.opts}
        for word in words[1:]:
            if word.startswith("--"):
                assert word.split("=")[0] in known, (words[0], word)


def test_workflow_may_do_all_that_its_steps_do() -> None:
    parsed = yaml.safe_load((CI / "github.yml").read_text())
    steps = [step for job in parsed["jobs"].values() for step in job["steps"]]
    assert any("upload-sarif" in step.get("uses", "") for step in steps)
    assert parsed["permissions"]["security-events"] == "write"
    assert any("git push" in step.get("run", "") for step in steps)
    assert parsed["permissions"]["contents"] == "write"


def test_workflow_lints_the_file_that_ships_whatever_its_format(tmp_path: Path) -> None:
    text = next(text for text in scripts(yaml.safe_load((CI / "github.yml").read_text())) if "edgegen check" in text)
    files = tmp_path / "build" / "raspberrypi5" / "files"
    files.mkdir(parents=True)
    for name in ("model.onnx", "model.tflite"):
        (files / name).write_bytes(b"")
        (files / "manifest.json").write_bytes(b"")
        said = subprocess.run(["bash", "-ec", f"edgegen() {{ echo $2; }}; {text}"], cwd=tmp_path, check=True,
                              capture_output=True, text=True).stdout  # fmt: skip
        assert said == f"build/raspberrypi5/files/{name}\n"
        (files / name).unlink()


def test_action_is_a_composite_one_whose_inputs_are_all_used() -> None:
    text = (CI / "gate" / "action.yml").read_text()
    parsed = yaml.safe_load(text)
    assert parsed["runs"]["using"] == "composite"
    assert all(step.get("shell") for step in parsed["runs"]["steps"] if "run" in step)
    for name in parsed["inputs"]:
        assert f"inputs.{name}" in text


def test_action_runs_what_it_says(tmp_path: Path) -> None:
    """Its script on stand-ins for edgegen: an outcome goes through the gate, a broken build does not."""
    steps = yaml.safe_load((CI / "gate" / "action.yml").read_text())["runs"]["steps"]
    script = next(step["run"] for step in steps if step.get("id") == "gate")
    (tmp_path / "edgegen").write_text('#!/bin/sh\necho "$@" >> "$LOG"\n[ "$1" = build ] && exit $BUILD\nexit $GATE\n')
    (tmp_path / "edgegen").chmod(0o755)
    for build, gate, code, called in ((0, 0, 0, 3), (1, 1, 1, 3), (4, 0, 0, 3), (3, 0, 3, 1), (70, 0, 70, 1)):
        log, output = tmp_path / "log", tmp_path / "output"
        for file in (log, output):
            file.write_text("")
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "GITHUB_OUTPUT": str(output),
            "BUILD": str(build), "GATE": str(gate), "TARGETS": "a b", "BASELINE": "x.jsonl", "WAIVERS": "w.toml",
        }  # fmt: skip
        done = subprocess.run(["bash", "-c", script], env=environment, check=False)
        calls = log.read_text().splitlines()
        assert (done.returncode, len(calls), output.read_text()) == (code, called, f"exit-code={code}\n")
        if called == 3:
            assert calls[-1].startswith("gate build/a build/b --baseline x.jsonl --waivers w.toml --summary")
