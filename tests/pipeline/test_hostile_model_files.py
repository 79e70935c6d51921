"""Broken and hostile model files through the real entry point: one paragraph each, bounded, and nothing left behind."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from edgegen.cli.main import _run
from edgegen.export.confined import Bounds
from edgegen.pipeline import brought_model
from support.hostile_models import ENDLESS, HOSTILE_MODELS, HostileModel

_MOST_KIB = 2 << 20  # of the greatest process that a case started: two GiB, where files claim terabytes


def _told(case: HostileModel, folder: Path, capsys: pytest.CaptureFixture[str], cache: Path) -> str:
    """Builds the file, checks what must hold of every case, and gives what was said."""
    files = folder / "files"
    files.mkdir()
    case.make(files)
    before = sorted(path for path in folder.rglob("*"))
    more = [text.replace("{folder}", str(files)) for text in case.more]
    command = ["build", "--model", str(files / case.file), "--target", "null", "--quiet", "--out", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE", str(cache))
        patch.chdir(folder)
        code = _run([*command, *more])
    said = capsys.readouterr().err
    assert code == case.code, said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
    left = [path for path in folder.rglob("*") if path not in before and folder / "out" not in (path, *path.parents)]
    assert left == []  # among them what a pickle would have made
    assert not list(folder.rglob("bundle"))
    return said


@pytest.mark.parametrize("name", HOSTILE_MODELS)
def test_hostile_model_is_refused_in_one_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    case = HOSTILE_MODELS[name]
    assert case.says in _told(case, tmp_path, capsys, tmp_path_factory.getbasetemp() / "hostile-models-cache")


def test_hostile_model_that_runs_on_is_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brought_model, "_READING", Bounds(seconds=6))
    assert ENDLESS.says in _told(ENDLESS, tmp_path, capsys, tmp_path / "out" / "cache")


def test_hostile_models_take_bounded_memory() -> None:
    # After all of the above: the peak of every process that any of them started.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < _MOST_KIB


def test_hostile_table_holds_twenty_cases() -> None:
    assert len(HOSTILE_MODELS) >= 20
