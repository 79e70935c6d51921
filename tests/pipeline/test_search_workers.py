"""A search that several processes share, one of them killed midway: no trial lost, none done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.postgres import PASSWORD, running_server
from support.projects import command, edgegen, environment
from support.searches import write_searched

PRESETS, TRIALS = 5, 5


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache in which the model is trained already: the workers meet at the trials."""
    found = tmp_path_factory.mktemp("workers") / "cache"
    folder = write_searched(tmp_path_factory.mktemp("workers") / "project")
    done = edgegen("search", "--target", "null", "--seconds", "0", cache=found, cwd=folder)
    assert done.code == 3, done.err  # nothing was tried, so the front is empty
    return found


def shared_and_one_killed(project, cache, *arguments, **more):
    """Three processes on one search; one of them is killed with a trial in its hands. The documents of the others."""
    line = command("search", "--target", "null", "--trials", str(TRIALS), "--json", *arguments)
    known = environment(cache, OMP_NUM_THREADS="1", **more)
    started = [
        subprocess.Popen(line, cwd=project, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    path = project / "build/null/search/front.json"
    until = time.monotonic() + 200
    while not (path.exists() and json.loads(path.read_text())["trials"]) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    started[0].send_signal(signal.SIGSTOP)  # whatever it holds, it holds while the others look at it
    started[0].kill()
    started[0].communicate()
    ended = [process.communicate(timeout=400) for process in started[1:]]
    assert [process.returncode for process in started[1:]] == [0, 0], ended
    return [json.loads(out) for out, _ in ended], [err for _, err in ended]


def nothing_is_lost_or_done_twice(documents):
    one, other = documents
    assert [item["name"] for item in one["trials"]] == [item["name"] for item in other["trials"]]
    assert one["points"] == other["points"]
    trials = one["trials"]
    assert len(trials) == PRESETS + TRIALS
    points = [json.dumps([item["recipe"], item["format"], item["settings"]], sort_keys=True) for item in trials]
    assert len(set(points)) == len(points)
    presets = [point for point in one["points"] if point["preset"]]
    assert len(presets) == PRESETS
    assert all(item["status"] in ("complete", "ended") for item in trials)


def test_a_journal_is_shared_and_one_worker_is_killed(cache, tmp_path):
    documents, _ = shared_and_one_killed(write_searched(tmp_path / "project"), cache)
    nothing_is_lost_or_done_twice(documents)


def test_a_database_is_shared_and_one_worker_is_killed(cache, tmp_path):
    with running_server() as server:
        storage = ("--set", f'search.storage="{server.url}"')
        project = write_searched(tmp_path / "project")
        documents, said = shared_and_one_killed(project, cache, *storage, PGPASSWORD=PASSWORD)
    nothing_is_lost_or_done_twice(documents)
    assert documents[0]["storage"] == f"postgresql+psycopg://127.0.0.1:{server.port}/postgres"
    assert PASSWORD not in json.dumps(documents) + "".join(said)


def _children(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(path.parent.name))
    return found


def test_one_command_with_workers_gets_over_the_death_of_one_and_takes_them_along(cache, tmp_path):
    project = write_searched(tmp_path / "project")
    line = command("search", "--target", "null", "--trials", str(TRIALS), "--workers", "2", "--json")
    started = subprocess.Popen(
        line, cwd=project, env=environment(cache, OMP_NUM_THREADS="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    path = project / "build/null/search/front.json"
    until = time.monotonic() + 200
    while not (path.exists() and json.loads(path.read_text())["trials"]) and time.monotonic() < until:
        time.sleep(0.02)
    workers = [
        child for child in _children(started.pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    out, err = started.communicate(timeout=400)
    assert started.returncode == 0, err
    nothing_is_lost_or_done_twice([json.loads(out)] * 2)
    assert "a worker ended with -9" in err


@pytest.mark.long
def test_the_same_search_runs_on_ray(cache, tmp_path):
    ray = pytest.importorskip("ray", reason="pip install 'edgegen[ray]'")
    assert ray.__version__
    here = edgegen(
        "search", "--target", "null", "--trials", "3", "--json", cache=cache, cwd=write_searched(tmp_path / "local")
    )
    project = write_searched(tmp_path / "project")
    done = edgegen(
        "search", "--target", "null", "--trials", "3", "--engine", "ray", "--workers", "2", "--json", cache=cache,
        cwd=project,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(done.document["trials"]) == PRESETS + 3
    presets = {item["recipe"]: item["figures"] for item in done.document["trials"][:PRESETS]}
    assert presets == {item["recipe"]: item["figures"] for item in here.document["trials"][:PRESETS]}
    points = [json.dumps([item["recipe"], item["settings"]], sort_keys=True) for item in done.document["trials"]]
    assert len(set(points)) == len(points)


def test_ray_needs_its_extra(tmp_path, cache):
    project = write_searched(tmp_path / "project")
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "sys.argv = ['edgegen', 'search', '--target', 'null', '--engine', 'ray']\n"
        "from edgegen.cli.main import main; main()"
    )
    done = subprocess.run(
        [command()[0], "-c", script], cwd=project, env=environment(cache), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "edgegen[ray]" in done.stderr
