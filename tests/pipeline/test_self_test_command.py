"""``verify --self-test`` and ``pull --self-test``: golden vectors that hold, that do not, and that cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.projects import Ran, edgegen
from unit.artifacts.signed_bundle import signed
from unit.runtime.runnable_bundle import runnable


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a bundle that keeps its golden vectors and of one that does not."""
    root = tmp_path_factory.mktemp("self-test")
    runnable(root, "1.0.0", "a")
    runnable(root, "1.1.0", "a", wrong_by=0.01)
    return root


def run(place: Path, *arguments: str) -> Ran:
    return edgegen(*arguments, cache=place / "cache", cwd=place)


def test_golden_vectors_that_hold_are_told(place: Path) -> None:
    done = run(place, "verify", "1.0.0", "--self-test", "--json")
    assert done.code == 0, done.err
    tested = done.document["self_test"]
    assert tested["samples"] == 8
    assert [item["output"] for item in tested["outputs"]] == ["image"]
    assert tested["outputs"][0]["apart"] <= tested["outputs"][0]["tolerance"]
    assert "golden vectors: 8 samples held on" in done.document["checked"][-1]
    assert "self_test" not in run(place, "verify", "1.0.0", "--json").document


def test_output_beyond_its_tolerance_is_refused(place: Path) -> None:
    done = run(place, "verify", "1.1.0", "--self-test")
    assert (done.code, "self-test failed" in done.err, "output image" in done.err) == (5, True, True), done.err
    assert run(place, "verify", "1.1.0").code == 0  # every byte is what was signed


def test_pull_puts_only_what_holds_in_its_place(place: Path) -> None:
    for version, code in (("1.0.0", 0), ("1.1.0", 5)):
        done = run(place, "pull", version, "--out", "out", "--self-test", "--json")
        assert done.code == code, done.err
    assert run(place, "verify", "out", "--minimum-version", "1.0.0", "--json").code == 0
    assert run(place, "verify", "out", "--minimum-version", "1.0.1").code == 5  # the one before is still there
    assert run(place, "pull", "1.0.0", "--out", "out", "--self-test", "--json").document["self_test"]["samples"] == 8


def test_what_cannot_be_run_here_is_told_with_4(place: Path) -> None:
    signed(place / "strange", place / "strange-work", "a", runtime="hypothetical")
    done = run(place, "verify", "strange", "--self-test")
    assert (done.code, "cannot be run here" in done.err) == (4, True), done.err
    assert run(place, "verify", "strange").code == 0


def test_device_without_a_self_test_is_a_usage_error(place: Path) -> None:
    assert run(place, "verify", "1.0.0", "--device", "null:").code == 2


def test_golden_vectors_run_on_a_device_that_is_named(place: Path) -> None:
    done = run(place, "verify", "1.0.0", "--self-test", "--device", "null:", "--json")
    assert (done.code, done.document["self_test"]["core"]) == (0, "null"), done.err


def test_folder_without_a_bundle_is_a_usage_error(place: Path) -> None:
    (place / "empty").mkdir()
    for folder in ("empty", "absent"):
        done = run(place, "verify", folder)
        assert (done.code, "there is no bundle" in done.err) == (2, True), done.err
