"""Targets of a project's own, a profile's default budgets, and a GPU that is not there, through whole builds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.core.share import share_dir
from support.projects import edgegen

LATENCY = "\n[budgets.latency]\nmax_ms = 50\n"


def own_target(project: Path, name: str, more: str = "") -> None:
    text = (share_dir("targets") / "null" / "target.toml").read_text().replace('name = "null"', f'name = "{name}"')
    folder = project / "targets" / name
    folder.mkdir(parents=True)
    (folder / "target.toml").write_text(text + more)


def add(project: Path, text: str) -> None:
    path = project / "edgegen.toml"
    path.write_text(path.read_text() + text)


def test_build_for_a_target_of_the_projects_own(project: Path, cache: Path) -> None:
    own_target(project, "myboard", "\n[budgets]\npeak_ram = { max_bytes = 900_000_000 }\nsize = { max_bytes = 3 }\n")
    done = edgegen("build", "--target", "myboard", "--json", cache=cache, cwd=project)
    assert done.code == 0, done.err
    assert done.document["target"] == "myboard"
    verdicts = {item["budget"]: item for item in done.document["verdicts"]}
    assert (verdicts["peak_ram"]["origin"], verdicts["peak_ram"]["status"]) == ("profile", "pass")
    # The project states a size of its own: the profile's does not apply.
    assert (verdicts["size"]["origin"], verdicts["size"]["limit"]) == ("project", 1_000_000)
    assert "the profile's own" in (project / "build/myboard/summary.md").read_text()


def test_build_fails_a_default_budget_of_the_profile(project: Path, cache: Path) -> None:
    own_target(project, "tiny", "\n[budgets]\npeak_ram = { max_bytes = 1000 }\n")
    done = edgegen("build", "--target", "tiny", "--json", cache=cache, cwd=project)
    assert done.code == 1
    (failed,) = [item for item in done.document["verdicts"] if item["status"] == "fail"]
    assert (failed["budget"], failed["origin"]) == ("peak_ram", "profile")
    assert not (project / "build/tiny/bundle").exists()


def test_build_refuses_an_own_target_of_a_shipped_name(project: Path, cache: Path) -> None:
    own_target(project, "raspberrypi4")
    done = edgegen("build", "--target", "raspberrypi4", "--json", cache=cache, cwd=project)
    assert done.code == 2
    assert "takes the name of one that ships" in done.document["error"]["what"]
    listed = edgegen("targets", "--json", cache=cache, cwd=project)
    assert listed.code == 2


def test_targets_lists_what_is_there_with_what_it_is(project: Path, cache: Path) -> None:
    own_target(project, "myboard")
    done = edgegen("targets", "--json", cache=cache, cwd=project)
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in done.document["targets"]}
    assert rows["myboard"]["own"] is True
    assert rows["raspberrypi"]["alias_of"] == "raspberrypi4"
    assert rows["raspberrypi5"]["core"] == "cortex-a76"
    assert "dotprod" in rows["raspberrypi5"]["features"]
    assert rows["raspberrypi5"]["cost_model"] == "uncalibrated"
    assert rows["raspberrypi2"]["isa"] == "armv7l"
    assert rows["nvidia-gpu"]["device"] == "gpu:"
    assert list(rows["raspberrypi4"]["runtimes"]) == ["onnx", "litert", "ort"]


@pytest.mark.parametrize(("required", "code"), [(True, 4), (False, 0)])
def test_build_without_the_gpu_leaves_latency_unverified(project: Path, cache: Path, required: bool, code: int) -> None:
    add(project, LATENCY + f"required = {str(required).lower()}\n")
    done = edgegen("build", "--target", "nvidia-gpu", "--json", cache=cache, cwd=project)
    assert done.code == code, done.err
    document = done.document
    latency = next(item for item in document["verdicts"] if item["budget"] == "latency")
    assert (latency["status"], latency["value"]) == ("unverified", None)
    assert document["latency"] == {"counted": None, "predicted": None, "measured": None}
    assert all(item["measured"] is None and item["counted"] is None for item in document["candidates"])
    device = document["environment"]["device"]
    assert "no GPU in reach" in device["core"]
    assert any("this host's CPU kernels" in note for note in device["notes"])
    summary = (project / "build/nvidia-gpu/summary.md").read_text()
    assert "not of the GPU's" in summary
    if code == 0:
        golden = json.loads(next((project / "build/nvidia-gpu/files").glob("**/golden.json")).read_text())
        assert "not the device" in golden["origin"]


def test_build_on_an_impossible_gpu_address_is_a_mistake(project: Path, cache: Path) -> None:
    done = edgegen("build", "--target", "nvidia-gpu", "--device", "gpu:cpu", "--json", cache=cache, cwd=project)
    assert done.code == 2
    assert "not the address of a GPU" in done.document["error"]["what"]


def test_build_and_bench_predict_energy_where_the_profile_has_watts(project: Path, cache: Path) -> None:
    own_target(project, "watts", '\n[energy_model]\norigin = "my meter"\nlow_watts = 2\nhigh_watts = 5\n')
    path = project / "targets/watts/target.toml"
    path.write_text(path.read_text().replace('"uncalibrated"', '"7 models of my own"'))
    add(project, '\n[budgets.energy]\nmax_joules = 1e-9\nkind = "predicted"\n')
    done = edgegen("build", "--target", "watts", "--json", cache=cache, cwd=project)
    assert done.code == 1, done.err
    (failed,) = [item for item in done.document["verdicts"] if item["status"] == "fail"]
    assert (failed["budget"], failed["kind"], failed["unit"]) == ("energy", "predicted", "J")
    assert "even the low end of the band" in failed["reason"]
    assert "its predicted figures" in next(item for item in done.document["not_measured"] if item.startswith("energy"))
    told = edgegen("bench", str(project / "build/null"), "--target", "watts", "--json", cache=cache, cwd=project)
    assert told.code == 0, told.err
    predicted = told.document["predicted"]
    assert predicted["energy"]["low_j"] == pytest.approx(predicted["low_ms"] / 1000 * 2)
    assert predicted["energy"]["origin"] == "my meter"
    assert not [item for item in told.document["run"]["figures"] if "joules" in item["metric"]]
    shown = edgegen("bench", str(project / "build/null"), "--target", "watts", cache=cache, cwd=project)
    (line,) = [line.split() for line in shown.out.splitlines() if line.strip().startswith("energy")]
    assert line[-1] == "predicted"
    assert "watts from my meter" in shown.out
