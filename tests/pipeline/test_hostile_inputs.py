"""A hundred and more hostile inputs through the real entry point: refused, named, nothing left, bounded memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgegen.cli.main import _run
from support import sources
from support.hostile import CASES
from support.projects import command, environment

_ROOM = 768 * 1024**2
"""Address space that a refusal may take beyond what the process has: a claim of gigabytes must never be believed."""

_IN_A_CHILD = ("Parquet cut off", "npz as a zip bomb", "picture of ten gigapixels", "CSV as a gzip bomb")

# A child's peak begins with the memory of who started it, and this process's may be large: a small one stands between.
_MEASURING = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """The process may not grow by more than ``_ROOM``; what wants more gets a MemoryError, and with it code 70."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache and a temporary folder for all cases, with everything heavy imported."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE", str(root / "cache"))
        for source in (sources.pictures, sources.clips, sources.arrays):
            folder = sources.project(root / source.__name__, source(root / source.__name__))
            assert _run(["data", "inspect", "--project", str(folder), "--quiet"]) == 0
        table = sources.table_source(root / "table", "sql", sources.frame())
        folder = sources.project(root / "table", table + sources.COLUMNS)
        assert _run(["data", "inspect", "--project", str(folder), "--quiet"]) == 0
    return root / "cache", root / "tmp"


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_table_holds_a_hundred_cases() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_hostile_input_is_refused_in_one_paragraph(
    tmp_path: Path,
    places: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    cache, scratch = places
    monkeypatch.setenv("EDGEGEN_CACHE", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    case = CASES[name]
    folder = sources.project(tmp_path / "project", "")
    folder = sources.project(folder, case.make(folder))
    before = _listing(tmp_path)
    with _bounded_memory():
        code = _run(["data", "inspect", "--project", str(folder), "--quiet"])
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.startswith("edgegen: ")
    assert said.err.count("\n") == 1, "one paragraph"
    assert "Traceback" not in said.err
    assert "anna@example.org" not in said.err
    for part in case.says:
        assert part in said.err
    assert _listing(tmp_path) == before, "nothing is written into the project"
    assert not list((cache / "store" / "tmp").iterdir())
    assert not [path for path in cache.rglob("*") if path.name.endswith((".part", ".tmp"))]
    assert not list(scratch.iterdir()), "nothing is left among temporary files"


@pytest.mark.parametrize("name", _IN_A_CHILD)
def test_hostile_input_in_a_process_of_its_own(tmp_path: Path, places: tuple[Path, Path], name: str) -> None:
    folder = sources.project(tmp_path / "project", "")
    folder = sources.project(folder, CASES[name].make(folder))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURING, *command("data", "inspect", "--project", str(folder), "--quiet")],
        env=environment(places[0]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    for part in CASES[name].says:
        assert part in done.stderr
    assert int(done.stdout) < 1024**2, "KiB: under 1 GiB"
