"""Stages: keyed by what goes in, atomic, run once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import BuildError
from edgegen.core.ports import Silent
from edgegen.core.stages import Stage, Stages
from edgegen.core.store import Store


def _work(folder: Path) -> Mapping[str, Any]:
    (folder / "sub").mkdir()
    (folder / "sub" / "data.txt").write_text("data")
    return {"answer": 42}


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(Store(tmp_path / "store"), Silent())


def test_stage_runs_once(stages: Stages, tmp_path: Path) -> None:
    stage = Stage(name="work", version=1, inputs={"a": "0" * 64})
    first = stages.run(stage, _work)
    assert not first.cached
    again = Stages(Store(tmp_path / "store"), Silent())
    done = again.run(stage, lambda folder: pytest.fail("ran twice"))
    assert done.cached
    assert done.record == {"answer": 42}
    assert done.files["sub/data.txt"].path.read_text() == "data"
    assert done.digest == first.digest
    assert stages.run(stage, lambda folder: pytest.fail("ran twice")) is first
    assert [item.cached for item in (*stages.finished, *again.finished)] == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        Stage(name="other", version=1, inputs={"a": "0"}, settings={"x": 1}, tools={"t": "1"}),
        Stage(name="work", version=2, inputs={"a": "0"}, settings={"x": 1}, tools={"t": "1"}),
        Stage(name="work", version=1, inputs={"a": "1"}, settings={"x": 1}, tools={"t": "1"}),
        Stage(name="work", version=1, inputs={"b": "0"}, settings={"x": 1}, tools={"t": "1"}),
        Stage(name="work", version=1, inputs={"a": "0"}, settings={"x": 2}, tools={"t": "1"}),
        Stage(name="work", version=1, inputs={"a": "0"}, settings={"x": 1}, tools={"t": "2"}),
    ],
)
def test_stage_key_changes_with_everything_that_goes_in(other: Stage) -> None:
    assert other.key != Stage(name="work", version=1, inputs={"a": "0"}, settings={"x": 1}, tools={"t": "1"}).key


def test_stage_that_fails_leaves_nothing(stages: Stages, tmp_path: Path) -> None:
    def fail(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("half")
        raise BuildError("no")

    stage = Stage(name="work", version=1)
    with pytest.raises(BuildError):
        stages.run(stage, fail)
    assert Store(tmp_path / "store").find(f"stage-{stage.key}") is None
    assert list((tmp_path / "store/tmp").iterdir()) == []
    assert not stages.run(stage, _work).cached


def test_stage_runs_again_when_its_blob_was_lost(stages: Stages, tmp_path: Path) -> None:
    stage = Stage(name="work", version=1)
    stages.run(stage, _work).files["sub/data.txt"].path.unlink()
    assert not Stages(Store(tmp_path / "store"), Silent()).run(stage, _work).cached


def test_stage_is_shared_by_two_builders(tmp_path: Path) -> None:
    calls, barrier = [], threading.Barrier(2)

    def slow(folder: Path) -> Mapping[str, Any]:
        calls.append(1)
        return _work(folder)

    def build() -> None:
        barrier.wait()
        Stages(Store(tmp_path / "store"), Silent()).run(Stage(name="work", version=1), slow)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1


def test_stage_digest_does_not_depend_on_how_the_result_came_about(stages: Stages) -> None:
    first = stages.run(Stage(name="a", version=1), _work)
    second = stages.run(Stage(name="b", version=7), _work)
    assert first.digest == second.digest
