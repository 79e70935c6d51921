"""The whole pipeline on the null device: what is made, kept, judged and handed over."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

from edgegen.artifacts.verify import verify
from edgegen.bench.result import result_schema
from support.projects import PROJECT, command, edgegen, environment, write_project


def _edit(project: Path, old: str, new: str) -> None:
    path = project / "edgegen.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _ran(document: dict) -> list[str]:
    return [stage["name"] for stage in document["stages"] if not stage["cached"]]


def test_build_hands_over_everything(built: Path) -> None:
    folder = built / "build" / "null"
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"bundle", "files", "result.json", "report.html", "summary.md", "junit.xml"}
    document = json.loads((folder / "result.json").read_text())
    jsonschema.validate(document, result_schema())
    assert document["exit_code"] == 0
    assert document["chosen"]["bundle_digest"] == verify(folder / "bundle").digest
    assert {item["name"] for item in document["candidates"]} == {
        "float32@onnx",
        "weight-int8@onnx",
        "static-int8@onnx",
    }
    assert all(verdict["status"] == "pass" for verdict in document["verdicts"])
    assert ET.parse(folder / "junit.xml").getroot().tag == "testsuites"
    assert "http://" not in (folder / "report.html").read_text().replace("http://www.w3.org", "")


def test_build_says_what_the_null_device_is(built: Path) -> None:
    document = json.loads((built / "build/null/result.json").read_text())
    assert document["environment"]["device"]["core"] == "null"
    assert document["latency"]["measured"] is None


def test_build_unchanged_runs_nothing(project: Path, cache: Path) -> None:
    before = json.loads((project / "build/null/result.json").read_text())
    again = edgegen("build", "--target", "null", "--json", cache=cache, cwd=project)
    assert again.code == 0, again.err
    assert _ran(again.document) == []
    assert again.document["chosen"] == before["chosen"]


def test_build_with_another_budget_reruns_no_work(project: Path, cache: Path) -> None:
    _edit(project, "max_bytes = 1_000_000", "max_bytes = 900_000")
    again = edgegen("build", "--target", "null", "--json", cache=cache, cwd=project)
    assert again.code == 0, again.err
    assert _ran(again.document) == []


def test_build_beside_a_budget_out_of_reach(project: Path, cache: Path) -> None:
    _edit(project, "max_bytes = 1_000_000", "max_bytes = 100")
    done = edgegen("build", "--target", "null", cache=cache, cwd=project)
    assert done.code == 1
    document = json.loads((project / "build/null/result.json").read_text())
    assert document["exit_code"] == 1
    assert document["chosen"] is None
    assert document["closest"] in done.out
    for part in ("size", "100 bytes", "nothing ships"):
        assert part in done.out
    # What the earlier build handed over must not be taken for this one's.
    assert not (project / "build/null/bundle").exists()
    assert not (project / "build/null/files").exists()


def test_build_with_an_optional_budget_out_of_reach_passes(project: Path, cache: Path) -> None:
    _edit(project, "max_bytes = 1_000_000", "max_bytes = 100\nrequired = false")
    assert edgegen("build", "--target", "null", cache=cache, cwd=project).code == 0


def test_build_prints_one_json_document_and_nothing_else(project: Path, cache: Path) -> None:
    done = edgegen("build", "--target", "null", "--json", "--set", "quality.samples=8", cache=cache, cwd=project)
    assert done.document == json.loads((project / "build/null/result.json").read_text())
    assert "measure" in done.err


def test_build_quiet_says_nothing_on_stderr(project: Path, cache: Path) -> None:
    done = edgegen("build", "--target", "null", "--quiet", "--set", "quality.samples=9", cache=cache, cwd=project)
    assert (done.code, done.err) == (0, "")


def test_build_offline_without_emulator_is_not_judged(project: Path, cache: Path, tmp_path: Path) -> None:
    """No emulator and no network: exit 4, unverified, and no number of another machine in its place."""
    own = tmp_path / "cache"
    shutil.copytree(cache / "store", own / "store")
    (tmp_path / "empty").mkdir()
    _edit(project, "[budgets.size]", "[budgets.instructions]\nmax = 5_000_000\n\n[budgets.size]")
    arguments = ("build", "--target", "raspberrypi4", "--offline", "--json")
    done = edgegen(*arguments, cache=own, cwd=project, PATH=str(tmp_path / "empty"))
    assert done.code == 4, done.err
    document = done.document
    verdicts = {item["budget"]: item for item in document["verdicts"]}
    assert verdicts["instructions"]["status"] == verdicts["psnr_db"]["status"] == "unverified"
    assert verdicts["instructions"]["value"] is None
    for candidate in document["candidates"]:
        assert candidate["status"] == "unmeasured"
        assert candidate["why_rejected"]
        for key in ("counted", "measured", "predicted", "quality", "peak_ram_bytes"):
            assert candidate[key] is None
    assert document["chosen"] is None
    assert not (project / "build/raspberrypi4/bundle").exists()


def test_build_of_several_targets_gives_the_gravest_code(project: Path, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache / "store", own / "store")
    (tmp_path / "empty").mkdir()
    arguments = ("build", "-t", "null", "-t", "raspberrypi4", "--offline", "--json")
    done = edgegen(*arguments, cache=own, cwd=project, PATH=str(tmp_path / "empty"))
    assert done.code == 4
    assert [result["exit_code"] for result in done.document["results"]] == [0, 4]


def test_build_rejects_a_pass_that_changes_nothing(project: Path, cache: Path) -> None:
    _edit(project, '"weight-int8", "static-int8"', '"pruned"')
    _edit(project, "[export]", "[compress.pruned]\nratio = 0.0\nsteps = 0\n\n[export]")
    document = edgegen("build", "--target", "null", "--json", cache=cache, cwd=project).document
    row = next(item for item in document["candidates"] if item["name"] == "pruned@onnx")
    assert row["status"] == "rejected"
    assert "changed nothing" in row["why_rejected"]
    assert document["chosen"]["candidate"] == "float32@onnx"


def test_build_lists_what_is_not_built_with_its_reason(project: Path, cache: Path) -> None:
    _edit(project, '"weight-int8", "static-int8"', '"dynamic-int4"')
    document = edgegen("build", "--target", "null", "--json", cache=cache, cwd=project).document
    row = next(item for item in document["candidates"] if item["name"] == "dynamic-int4@onnx")
    assert row["status"] == "not built"
    assert row["why_rejected"]


def test_build_rejects_a_pass_that_changed_nothing_also_before_one_that_did(project: Path, cache: Path) -> None:
    _edit(project, '"weight-int8", "static-int8"', '"pruned+sparse"')
    settings = ["--set", "compress.pruned.ratio=0", "--set", "compress.sparse.steps=5"]
    document = edgegen("build", "--target", "null", "--json", *settings, cache=cache, cwd=project).document
    row = next(item for item in document["candidates"] if item["name"] == "pruned+sparse@onnx")
    assert row["status"] == "rejected"
    assert "pruned (torch) changed nothing" in row["why_rejected"]
    assert [done["step"] for done in row["passes"]] == ["sparse"]


def test_build_of_images_without_labels_has_no_task_figures(tmp_path: Path, cache: Path) -> None:
    import numpy as np

    folder = write_project(tmp_path / "project")
    with np.load(folder / "digits.npz") as archive:
        images = archive["images"]
    np.savez(folder / "digits.npz", images=images)
    done = edgegen("build", "--target", "null", "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    assert done.document["quality"]["task"] == {}
    assert done.document["quality"]["paired"]
    assert {item["name"] for item in done.document["training"]["figures"]} >= {"loss_nats", "psnr_db"}
    assert done.document["training"]["notes"]


def test_build_tells_what_quantization_looked_at_and_how_much_another_draw_matters(project: Path, cache: Path) -> None:
    document = json.loads((project / "build/null/result.json").read_text())
    assert document["calibration"] == {"set": None, "inputs": 512, "draws": 1, "spread": {}}  # a generator takes noise
    again = edgegen("build", "-t", "null", "--json", "--set", "data.calibration.seeds=3", cache=cache, cwd=project)
    assert again.code == 0, again.err
    jsonschema.validate(again.document, result_schema())
    spread = again.document["calibration"]["spread"]
    assert set(spread) == {"static-int8@onnx"}, "what is not calibrated has no spread"
    ends = spread["static-int8@onnx"]["figures"]["psnr_db_mean"]
    assert 20 < ends["low"] < ends["high"] < 100, "each draw is quantized anew"
    assert "over 3 such draws" in (project / "build/null/report.html").read_text()


def test_build_dry_run_builds_nothing(project: Path, cache: Path) -> None:
    shutil.rmtree(project / "build")
    done = edgegen("build", "--target", "null", "--dry-run", cache=cache, cwd=project)
    assert done.code == 0
    assert "static-int8@onnx" in done.out
    assert not (project / "build").exists()


def test_build_in_a_folder_that_cannot_be_written(project: Path, cache: Path) -> None:
    (project / "occupied").write_text("")
    done = edgegen("build", "--target", "null", "--out", str(project / "occupied" / "deep"), cache=cache, cwd=project)
    assert done.code == 3
    assert "Traceback" not in done.err
    assert "--out" in done.err


def test_build_heals_a_damaged_cache(project: Path, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache / "store", own / "store")
    before = json.loads((project / "build/null/result.json").read_text())["chosen"]["bundle_digest"]
    largest = max((own / "store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    done = edgegen("build", "--target", "null", "--json", cache=own, cwd=project)
    assert done.code == 0, done.err
    assert _ran(done.document)
    assert done.document["chosen"]["bundle_digest"] == before


def test_build_from_scratch_in_another_place_gives_the_same_bundle(built: Path, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "a" / "longer" / "path" / "to" / "the" / "project")
    done = edgegen("build", "--target", "null", "--json", cache=tmp_path / "other-cache", cwd=folder)
    assert done.code == 0, done.err
    first = json.loads((built / "build/null/result.json").read_text())
    assert done.document["chosen"]["bundle_digest"] == first["chosen"]["bundle_digest"]


def test_two_builds_at_once_share_their_work(tmp_path: Path) -> None:
    folder, cache = write_project(tmp_path / "project"), tmp_path / "cache"
    children = [
        subprocess.Popen(
            command("build", "--target", "null", "--json", "--quiet", "--out", str(tmp_path / f"out{index}")),
            cwd=folder,
            env=environment(cache),
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    documents = [json.loads(child.communicate(timeout=300)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert documents[0]["chosen"]["bundle_digest"] == documents[1]["chosen"]["bundle_digest"]
    ran = [name for document in documents for name in _ran(document) if name != "report"]
    assert sorted(ran) == sorted(set(ran)), "a stage was done twice"


@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_build_that_is_stopped_says_so(tmp_path: Path, signal_name: str, code: int) -> None:
    import signal

    text = PROJECT.replace("epochs = 1", "epochs = 100000")
    folder = write_project(tmp_path / "project", text)
    child = subprocess.Popen(
        command("build", "--target", "null"),
        cwd=folder,
        env=environment(tmp_path / "cache"),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "cache" / "checkpoints").glob("*/*")):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(getattr(signal, signal_name))
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in err
    assert "finished stages are kept" in err
    assert not (folder / "build/null/result.json").exists()


def test_cache_ls_and_prune(built: Path, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache / "store", own / "store")
    listed = edgegen("cache", "ls", "--json", cache=own).document
    assert {"train", "feature network", "evaluate"} <= {row["stage"] for row in listed["stages"]}
    assert listed["bytes"] > 0
    pruned = edgegen("cache", "prune", "--max-bytes", "0", "--json", cache=own).document
    assert pruned["freed_bytes"] == listed["bytes"]
    assert edgegen("cache", "ls", "--json", cache=own).document["stages"] == []


def test_cache_prune_refuses_while_a_build_runs(tmp_path: Path) -> None:
    from edgegen.core.cache import Cache

    with Cache(tmp_path / "cache").in_use():
        done = edgegen("cache", "prune", cache=tmp_path / "cache")
    assert done.code == 4
    assert "another edgegen process" in done.err


def test_cache_is_kept_under_its_cap(project: Path, cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache / "store", own / "store")
    done = edgegen("build", "-t", "null", cache=own, cwd=project, EDGEGEN_CACHE_MAX_BYTES="300000")
    assert done.code == 0, done.err
    assert edgegen("cache", "ls", "--json", cache=own).document["bytes"] <= 300_000


def test_api_builds_and_gives_a_frame(project: Path, cache: Path) -> None:
    import edgegen as package
    from edgegen.core.cache import Cache

    result = package.build(project, target="null", cache=Cache(cache))
    assert result.exit_code == 0
    assert list(result.to_frame()["name"]) == [item["name"] for item in result.document["candidates"]]


@pytest.mark.parametrize("arguments", [("--set", "project.sead=1"), ("--device", "nul:")])
def test_build_that_is_refused_leaves_no_earlier_bundle(project: Path, cache: Path, arguments: tuple[str, str]) -> None:
    dry = edgegen("build", "--target", "null", *arguments[:1], arguments[1], "--dry-run", cache=cache, cwd=project)
    assert (project / "build/null/bundle").exists(), "a dry run touches nothing"
    done = edgegen("build", "--target", "null", *arguments, cache=cache, cwd=project)
    assert (dry.code if arguments[0] == "--set" else 2, done.code) == (2, 2)
    left = {path.name for path in (project / "build/null").iterdir()}
    assert left <= {".lock"}
