"""``edgegen bench`` and ``edgegen gate`` as CI runs them, on the null device and on this machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgegen.bench.commits import NOTES_REF
from support.projects import Ran, command, edgegen, environment

ON_HOST = pytest.mark.skipif(platform.machine() != "x86_64", reason="linux-x86_64 is another kind of machine")


@pytest.fixture(name="gate")
def _gate(project: Path, cache: Path):
    def run(*arguments: str, **more: str) -> Ran:
        return edgegen("gate", *arguments, cache=cache, cwd=project, **more)

    return run


@pytest.fixture(name="recorded")
def _recorded(project: Path, cache: Path) -> Path:
    """A history with the bundle's own run."""
    done = edgegen("bench", "build/null", "--record", "bench.jsonl", "--json", cache=cache, cwd=project)
    assert done.code == 0, done.err
    return project / "bench.jsonl"


def rewrite(path: Path, metric: str, factor: float) -> None:
    """The figure in the file's last run times ``factor``."""
    run = json.loads(path.read_text().splitlines()[-1])
    for figure in run["figures"]:
        if figure["metric"] == metric:
            figure["value"] *= factor
    path.write_text(json.dumps(run, separators=(",", ":")) + "\n")


def change_result(project: Path, **changes: object) -> Path:
    """A result.json of its own, with other keys."""
    result = project / "changed.json"
    document = json.loads((project / "build/null/result.json").read_text())
    result.write_text(json.dumps(document | changes))
    return result


def test_bench_measures_what_the_build_did(project: Path, recorded: Path) -> None:
    built = json.loads((project / "build/null/result.json").read_text())
    run = json.loads(recorded.read_text())
    figures = {item["metric"]: item["value"] for item in run["figures"]}
    assert figures["instructions"] == built["latency"]["counted"]["instructions"]
    assert figures["size_bytes"] == built["memory"]["size_bytes"]
    assert run["bundle_digest"] == built["chosen"]["bundle_digest"]


def test_bench_of_a_bundle_with_a_changed_byte_is_an_integrity_error(project: Path, cache: Path) -> None:
    blob = max((project / "build/null/bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    assert edgegen("bench", "build/null", cache=cache, cwd=project).code == 5


@pytest.mark.parametrize(
    "arguments", [(), ("nothing",), ("build/null", "--calibrate"), ("--calibrate",), ("build/null", "--save", "x")]
)
def test_bench_that_makes_no_sense_is_a_usage_error(project: Path, cache: Path, arguments: tuple[str, ...]) -> None:
    done = edgegen("bench", *arguments, cache=cache, cwd=project)
    assert done.code == 2, done.err


def test_gate_of_an_unchanged_build_passes_in_every_form(project: Path, recorded: Path, gate) -> None:
    summary = project / "step.md"
    summary.write_text("what stood there before\n")
    outputs = {
        name: project / f"out.{name}" for name in ("junit", "markdown", "benchmark-json", "bencher", "openmetrics")
    }
    given = [text for name, path in outputs.items() for text in (f"--{name}", str(path))]
    done = gate(
        "build/null", "--baseline", "bench.jsonl", *given, "--summary", "--json", GITHUB_STEP_SUMMARY=str(summary)
    )
    assert done.code == 0, done.err
    assert done.document["exit_code"] == 0
    assert [subject["target"] for subject in done.document["subjects"]] == ["null"]
    assert int(ET.parse(outputs["junit"]).getroot().get("tests")) == len(done.document["checks"]) > 4
    assert summary.read_text().startswith("what stood there before\n## Gate: Passed")
    assert outputs["openmetrics"].read_text().endswith("# EOF\n")
    assert all(path.stat().st_size for path in outputs.values())


def test_gate_in_eighty_columns_cuts_neither_outcomes_nor_numbers(project: Path, gate) -> None:
    result = json.loads((project / "build/null/result.json").read_text())
    for verdict in result["verdicts"]:
        verdict["budget"] = f"{verdict['budget']} of a name that is far too long for a narrow terminal"
    changed = str(change_result(project, verdicts=result["verdicts"]))
    for columns in ("80", "30"):
        done = gate(changed, COLUMNS=columns)
        assert done.out.count(" pass ") == len(result["verdicts"])
        assert "…" not in done.out


def test_gate_of_a_result_with_orders_for_the_terminal_tells_them_as_text(project: Path, gate) -> None:
    verdicts = json.loads((project / "build/null/result.json").read_text())["verdicts"]
    verdicts[0] |= {"budget": "size\n::error::x\x1b[2J", "reason": "why\n::error::y"}
    done = gate(str(change_result(project, verdicts=verdicts)))
    assert "size?::error::x?[2J" in done.out
    assert "\x1b" not in done.out
    assert not [line for line in done.out.splitlines() if line.startswith("::")]


def test_gate_on_a_full_disk_and_without_a_reader_keeps_to_the_exit_codes(project: Path, recorded: Path, gate) -> None:
    rewrite(recorded, "instructions", 0.5)
    arguments = command("gate", "build/null", "--baseline", "bench.jsonl", "--json")
    settings = {"cwd": project, "env": environment(project / "cache"), "stderr": subprocess.PIPE}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(arguments, stdout=full, check=False, **settings)
    assert (done.returncode, b"Traceback" in done.stderr) == (3, False)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(arguments, stdout=writer, check=False, **settings)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *arguments], check=False, **settings)
    assert (done.returncode, done.stderr) == (1, b"")


def test_gate_makes_the_folders_of_its_outputs_before_it_measures(project: Path, gate) -> None:
    assert gate("build/null", "--junit", "new/folder/gate.xml").code == 0
    assert (project / "new/folder/gate.xml").read_text().startswith("<?xml")
    done = gate("build/null", "--device", "null:", "--junit", "edgegen.toml/gate.xml")
    assert done.code == 3
    assert "measure" not in done.err


@pytest.mark.parametrize("option", ["--metric", "--tolerance"])
def test_gate_of_a_figure_that_there_is_not_tells_the_nearest(recorded: Path, gate, option: str) -> None:
    value = "peak_ram_byte" + ("=0.1" if option == "--tolerance" else "")
    done = gate("build/null", "--baseline", "bench.jsonl", option, value)
    assert done.code == 2
    assert "did you mean 'peak_ram_bytes'?" in done.err


def test_gate_reads_files_of_runs_from_pipes_and_tells_how_one_begins(project: Path, recorded: Path, gate) -> None:
    pipe = project / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(recorded), str(pipe)]):
        assert gate("build/null", "--baseline", "pipe").code == 0
    done = gate("build/null", "--baseline", "nothing.jsonl")
    assert done.code == 2
    assert "edgegen bench BUNDLE --record nothing.jsonl begins one" in done.err


def test_bench_adds_to_a_history_what_passed_and_nothing_else(project: Path, cache: Path, recorded: Path) -> None:
    def again(record: str) -> Ran:
        options = ("--baseline", "bench.jsonl", "--record", record)
        return edgegen("bench", "build/null", *options, cache=cache, cwd=project)

    assert again("bench.jsonl").code == 0
    assert len(recorded.read_text().splitlines()) == 2
    rewrite(recorded, "instructions", 0.5)
    done = again("bench.jsonl")
    assert (done.code, len(recorded.read_text().splitlines())) == (1, 1)
    assert "not added to bench.jsonl" in done.out
    recorded.write_text("")
    assert again("bench.jsonl").code == 4  # nothing to be held against: the first run begins the history
    assert len(recorded.read_text().splitlines()) == 1


@pytest.mark.parametrize(("factor", "code"), [(1.02, 0), (0.98, 1)])
def test_gate_fails_where_counts_rise_by_two_percent(recorded: Path, gate, factor: float, code: int) -> None:
    rewrite(recorded, "instructions", factor)
    done = gate("build/null", "--baseline", "bench.jsonl", "--json")
    assert done.code == done.document["exit_code"] == code, done.err
    found = {check["budget"]: check["status"] for check in done.document["checks"]}
    assert found["instructions regression"] == ("fail" if code else "pass")


def test_gate_takes_results_bundles_and_what_bench_printed(project: Path, cache: Path, recorded: Path, gate) -> None:
    done = edgegen("bench", "build/null", "--json", cache=cache, cwd=project)
    (project / "printed.json").write_text(done.out)
    subjects = ("build/null", "build/null/bundle", "build/null/result.json", "bench.jsonl", "printed.json")
    for subject, baseline in zip(subjects, (*subjects[1:], subjects[0]), strict=True):
        found = gate(subject, "--baseline", baseline, "--json")
        assert found.code == 0, (subject, baseline, found.err)
        assert "instructions regression" in {check["budget"] for check in found.document["checks"]}


def test_gate_without_a_baseline_judges_the_budgets(project: Path, gate) -> None:
    assert gate("build/null").code == 0
    verdicts = json.loads((project / "build/null/result.json").read_text())["verdicts"]
    verdicts[0] |= {"status": "fail"}
    assert gate(str(change_result(project, verdicts=verdicts))).code == 1
    verdicts[0] |= {"status": "unverified", "value": None}
    assert gate(str(change_result(project, verdicts=verdicts))).code == 4


def test_gate_of_a_target_without_a_baseline_tells_it(recorded: Path, gate) -> None:
    recorded.write_text("")
    done = gate("build/null", "--baseline", "bench.jsonl", "--json")
    assert done.code == 0
    assert "holds no run" in done.document["subjects"][0]["baseline"]


WAIVER = """
schema_version = 1
[[waiver]]
budget = "instructions regression"
target = "null"
reason = "the new kernel is on its way"
owner = "ada"
expires = {day}
"""


@pytest.mark.parametrize(("day", "code"), [("2999-01-01", 0), ("2020-01-01", 1)])
def test_gate_waivers_lift_until_they_end(project: Path, recorded: Path, gate, day: str, code: int) -> None:
    rewrite(recorded, "instructions", 0.9)
    (project / "waivers.toml").write_text(WAIVER.format(day=day))
    done = gate("build/null", "--baseline", "bench.jsonl", "--waivers", "waivers.toml")
    assert done.code == code, done.err
    assert "ada" in done.out


def test_gate_records_what_passed_and_nothing_else(recorded: Path, gate) -> None:
    assert gate("build/null", "--baseline", "bench.jsonl", "--record", "bench.jsonl").code == 0
    assert len(recorded.read_text().splitlines()) == 2
    rewrite(recorded, "instructions", 0.5)
    assert gate("build/null", "--baseline", "bench.jsonl", "--record", "bench.jsonl").code == 1
    assert len(recorded.read_text().splitlines()) == 1


def test_gate_keeps_its_history_in_git_notes(project: Path, cache: Path, gate) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=project, check=True, capture_output=True, text=True
        ).stdout

    named = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    git("init", "-q")
    git("add", "edgegen.toml")
    git("commit", "-q", "-m", "first")
    for _ in range(2):
        done = edgegen("bench", "build/null", "--record", "git-notes", cache=cache, cwd=project, **named)
        assert done.code == 0, done.err
    git("commit", "-q", "--allow-empty", "-m", "second")
    lines = git("notes", f"--ref={NOTES_REF}", "show", "HEAD~").splitlines()
    noted = [json.loads(line) for line in lines if line]
    assert [run["commit"] for run in noted] == [git("rev-parse", "HEAD~").strip()] * 2
    found = gate("build/null", "--baseline", "git-notes", "--json")
    assert found.code == 0, found.err
    assert found.document["subjects"][0]["baseline"].startswith("git-notes, ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("build/null", "--baseline", "nothing"),
        ("build/null", "--tolerance", "many"),
        ("build/null", "--tolerance", "=0.1"),
        ("build/null", "--tolerance", "-0.1"),
        ("build/null", "--summary"),
        ("build/null", "build/null"),
        ("build/null", "build/null/result.json"),
        ("build/null", "--self-check"),
        ("build/null/result.json", "--self-check", "--device", "null:"),
        ("edgegen.toml",),
        ("digits.npz",),
    ],
)
def test_gate_that_makes_no_sense_is_a_usage_error(gate, arguments: tuple[str, ...]) -> None:
    done = gate(*arguments, GITHUB_STEP_SUMMARY="")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "junk",
    [b"", b"\0" * 64, b"[" * 9000, b'{"run": 1}', b'{"run": {}}', b"{}\n{}\n"],
    ids=["empty", "zeros", "deep", "number", "nothing", "lines"],
)
def test_gate_of_hostile_files_is_a_usage_error(project: Path, gate, junk: bytes) -> None:
    for name in ("x.json", "x.jsonl"):
        (project / name).write_bytes(junk)
        done = gate("build/null", "--baseline", name)
        assert done.code == (0 if not junk else 2), done.err


def test_gate_self_check_counts_the_same_twice(gate) -> None:
    done = gate("build/null", "--self-check", "--device", "null:", "--json")
    assert done.code == 0, done.err
    assert (done.document["kind"], done.document["spread_ratio"]) == ("counted", 0.0)
    assert done.document["least_detectable_ratio"] == pytest.approx(0.01)


@ON_HOST
def test_gate_measures_two_bundles_in_turn(project: Path, gate) -> None:
    shutil.copytree(project / "build/null", project / "build/other")
    done = gate(
        "build/null", "--baseline", "build/other", "--device", "host:", "-t", "linux-x86_64", "--runs", "5", "--json"
    )
    assert done.code in (0, 4), done.err  # 4: a machine that is too busy to tell
    latency = next(check for check in done.document["checks"] if check["budget"] == "latency_p50_ms regression")
    assert latency["status"] in ("pass", "inconclusive")
    processes = next(
        figure["processes"]
        for figure in done.document["subjects"][0]["run"]["figures"]
        if figure["metric"] == "latency_p50_ms"
    )
    assert len(processes) in (5, 10)  # ten where a second round was asked for


@ON_HOST
def test_gate_against_stored_runs_clocks_as_many_processes_as_asked(project: Path, gate, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    options = ("--baseline", str(tmp_path / "empty.jsonl"), "--device", "host:", "-t", "linux-x86_64", "--runs", "3")
    figures = gate("build/null", *options, "--json").document["subjects"][0]["run"]["figures"]
    assert [len(item["processes"]) for item in figures if item["metric"] == "latency_p50_ms"] == [3]


def test_trend_writes_page_and_data_of_a_history(project: Path, cache: Path, recorded: Path) -> None:
    outputs = ("--out", "trend.html", "--parquet", "trend.parquet")
    done = edgegen("trend", "bench.jsonl", *outputs, "--json", cache=cache, cwd=project)
    assert done.code == 0, done.err
    assert {item["metric"] for item in done.document["series"]} >= {"instructions", "size_bytes"}
    assert (project / "trend.html").read_text().startswith("<!doctype html>")
    assert (project / "trend.parquet").read_bytes()[:4] == b"PAR1"


def test_compare_of_two_builds_names_what_ships_now(project: Path, cache: Path) -> None:
    shutil.copytree(project / "build/null", project / "old")
    done = edgegen("build", "-t", "null", "--set", 'compress.recipes=["float32"]', cache=cache, cwd=project)
    assert done.code == 0, done.err
    found = edgegen("compare", "old", "build/null", "--json", cache=cache, cwd=project)
    assert found.code == 0, found.err
    first = found.document["causes"][0]
    assert (first["kind"], first["name"], first["share"]) == ("candidate", "float32@onnx", 1.0)
    assert found.document["unexplained"] == 0
    same = edgegen("compare", "old", "old/bundle", "--json", cache=cache, cwd=project)
    assert (same.document["causes"], same.document["moved"]) == ([], 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("build/null",),
        ("build/null", "nothing"),
        ("build/null", "build/null", "--metric", "beauty"),
        ("build/null", "build/null", "--candidate", "float23@onnx"),
        ("build/null", "build/null", "--layers", "--metric", "instructions"),
        ("edgegen.toml", "build/null"),
    ],
)
def test_compare_that_makes_no_sense_is_a_usage_error(project: Path, cache: Path, arguments: tuple[str, ...]) -> None:
    done = edgegen("compare", *arguments, cache=cache, cwd=project)
    assert done.code == 2, done.err
