"""``edgegen advise``: probes of what suits the data, counted on the null device, ranked where that means something."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.projects import PROJECT, edgegen, write_project

# No [model]: that is what is asked for.
IMAGES = PROJECT[: PROJECT.index("[model]")] + PROJECT[PROJECT.index("[data]") :]
TABLE = """
[project]
name = "points"
seed = 3

[data]
source = "points.csv"
origin = "a test"
licence = "none"

[data.columns]
a = {}
b = {}
c = {}

[data.check]
duplicates = "ignore"

[data.clean]
scale = "standard"

[export]
formats = ["onnx"]

[budgets.size]
max_bytes = 60_000
"""


def points(folder: Path, column: str = "") -> Path:
    """600 rows of three numbers that hang together, and what the project asks of a fourth column."""
    import numpy as np

    draw = np.random.Generator(np.random.PCG64(5))
    a, b = draw.standard_normal((2, 600))
    c = a * b + 0.1 * draw.standard_normal(600)
    rows = [
        f"{x:.5f},{y:.5f},{z:.5f},{'high' if z > 0 else 'low'},{2 * x - y:.5f}" for x, y, z in zip(a, b, c, strict=True)
    ]
    folder.mkdir()
    (folder / "points.csv").write_text("\n".join(["a,b,c,class,sum", *rows]) + "\n")
    (folder / "edgegen.toml").write_text(TABLE.replace("c = {}\n", f"c = {{}}\n{column}"))
    return folder


def advise(folder: Path, cache: Path, *arguments: str, target: str = "null"):
    return edgegen("advise", "--target", target, "--epochs", "1", *arguments, cache=cache, cwd=folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """A project of digits without a model, its cache, and the advice on it."""
    base = tmp_path_factory.mktemp("advise")
    folder = write_project(base / "project", IMAGES.replace("max_bytes = 1_000_000", "max_bytes = 300_000"))
    done = advise(folder, base / "cache", "--task", "generate", "--json")
    assert done.code == 0, done.err
    return folder, base / "cache", done.document


def proposals(document: dict) -> dict[str, dict]:
    return {item["name"]: item for group in document["groups"] for item in group["proposals"]}


def check_order(group: dict) -> None:
    """Those that keep the budgets first, and the better figure first among each."""
    kept = [item["keeps_budgets"] for item in group["proposals"]]
    assert kept == sorted(kept, key=("yes", "unverified", "no").index)
    for keeps in set(kept):
        values = [item["figure"]["value"] for item in group["proposals"] if item["keeps_budgets"] == keeps]
        assert values == sorted(values, reverse=group["better"] == "higher")


def test_families_of_the_same_samples_are_ranked_by_a_figure_that_they_share(images) -> None:
    _, _, document = images
    (group,) = document["groups"]
    assert group["figure"] == "fid"
    assert group["better"] == "lower"
    names = [item["name"] for item in group["proposals"]]
    assert {name.partition(" ")[0] for name in names} == {"vae", "gan"}
    check_order(group)
    assert document["advised"] == names[:1]
    left_out = {item["name"]: item["reason"] for item in document["left_out"]}
    assert "vectors" in left_out["flow"]
    assert "tokens" in left_out["autoregressive"]


def test_cost_and_budgets_are_those_of_the_file_that_would_ship(images) -> None:
    _, _, document = images
    for item in proposals(document).values():
        shown = next(each for each in item["candidates"] if each["name"] == item["candidate"])
        assert shown["counted"]["instructions"] > 0
        assert {each["recipe"] for each in item["candidates"]} == {"float32", "weight-int8", "static-int8"}
        size = next(verdict for verdict in item["verdicts"] if verdict["budget"] == "size")
        assert size["value"] == shown["size_bytes"]
        assert (item["keeps_budgets"] == "yes") <= (shown["size_bytes"] <= 300_000)
        assert any("psnr_db" in verdict["metric"] for verdict in item["verdicts"])


def test_probes_never_see_the_test_part(images) -> None:
    _, _, document = images
    assert document["data"][0]["samples"] == {"train": 288, "validation": 32, "test": 32}  # of 400, 80 are test
    assert any("no validation part" in note for note in document["notes"])


def test_a_second_call_runs_nothing_and_says_the_same(images) -> None:
    folder, cache, document = images
    again = advise(folder, cache, "--task", "generate", "--json")
    assert again.document == document
    assert "\ntrain\n" not in again.err


def test_the_lines_for_the_project_file_are_taken_as_they_are(images) -> None:
    folder, cache, document = images
    first = proposals(document)[document["advised"][0]]
    short = ("--set", "train.epochs=1", "--set", "quality.second_training=false", "--json")
    by_flags = edgegen("train", "--set", first["overrides"][0], *short, cache=cache, cwd=folder)
    assert by_flags.code == 0, by_flags.err
    assert by_flags.document["family"] == first["family"]
    written = folder.parent / "written"
    write_project(written, first["toml"] + "\n" + (folder / "edgegen.toml").read_text())
    by_file = edgegen("train", *short, cache=cache, cwd=written)
    assert by_file.document["history"] == by_flags.document["history"]


def test_people_read_a_table_with_reasons(images) -> None:
    folder, cache, document = images
    shown = advise(folder, cache, "--task", "generate")
    assert shown.code == 0
    assert "Ranked by FID-like, lower is better" in shown.out
    assert "Left out" in shown.out
    assert "edgegen build --set 'model={family = " in shown.out
    for name in (*proposals(document), "flow", "autoregressive"):
        assert name in shown.out


def test_what_cannot_fit_is_not_trained(images) -> None:
    folder, cache, _ = images
    done = advise(folder, cache, "--task", "generate", "--set", "budgets.size.max_bytes=20_000", "--json")
    assert done.code == 1, done.err
    assert done.document["advised"] == []
    left_out = {item["name"]: item["reason"] for item in done.document["left_out"]}
    assert "weights take at least as many bytes in int8" in left_out["vae large"]
    assert "20,000" in left_out["vae large"]
    assert "probe vae large" not in done.err
    assert all(item["keeps_budgets"] == "no" for item in proposals(done.document).values())


def test_without_a_device_costs_are_unverified_and_the_rest_is_told(images) -> None:
    folder, cache, document = images
    device = ("--device", "qemu:", "--offline", "--task", "generate", "--json")
    done = edgegen(
        "advise", "--target", "raspberrypi4", "--epochs", "1", *device, cache=cache, cwd=folder, PATH="/none"
    )
    assert done.code == 4, done.err
    found = proposals(done.document)
    assert done.document["advised"] == []
    assert {item["keeps_budgets"] for item in found.values()} <= {"unverified", "no"}
    for name, item in found.items():
        assert item["figure"] == proposals(document)[name]["figure"]
        assert all(each["counted"] is None and each["size_bytes"] for each in item["candidates"])
        said = "unverified" if item["keeps_budgets"] == "unverified" else "breaks the budgets"  # a size is known anyway
        assert any(said in reason for reason in item["reasons"])


def test_time_that_is_over_leaves_the_rest_for_the_next_call(images) -> None:
    folder, cache, _ = images
    done = advise(folder, cache, "--task", "generate", "--seconds", "0", "--json")
    assert done.code == 4
    assert done.document["groups"] == []
    late = [item for item in done.document["left_out"] if item["kind"] == "not probed"]
    assert len(late) == len(proposals(images[2]))
    assert all("repeat the command" in item["reason"] for item in late)


TASKS = {
    "generate": ("", "log_likelihood_nats", {"flow spline small", "flow spline medium", "flow realnvp medium"}),
    "classify": (
        'class = { type = "category", role = "label" }\n', "accuracy_ratio",
        {"classifier mlp small", "classifier mlp medium", "classifier mlp large"},
    ),
    "regress": (
        'sum = { role = "target" }\n', "rmse",
        {"regressor mlp small", "regressor mlp medium", "regressor mlp large"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_data_suggest_the_task_and_its_families(task: str, tmp_path: Path) -> None:
    column, figure, names = TASKS[task]
    done = advise(points(tmp_path / "project", column), tmp_path / "cache", "--json")
    assert done.code == 0, done.err
    document = done.document
    assert document["task"] == task
    ranked = document["groups"][0]
    assert ranked["figure"].startswith(figure)
    assert {item["name"] for item in ranked["proposals"]} | {item["name"] for item in document["left_out"]} >= names
    check_order(ranked)
    assert document["schema_version"] == 1
    assert document["exit_code"] == done.code


def test_the_projects_own_model_is_among_the_proposals_and_its_other_settings_hold(tmp_path: Path) -> None:
    folder = points(tmp_path / "project")
    text = (folder / "edgegen.toml").read_text()
    (folder / "edgegen.toml").write_text(f'[model]\nfamily = "flow"\nlayers = 3\nwidth = 16\nbins = 5\n{text}')
    done = advise(folder, tmp_path / "cache", "--json")
    assert done.code == 0, done.err
    found = proposals(done.document)
    assert found["flow as written"]["settings"] == {"layers": 3, "width": 16, "bins": 5}
    assert {item["settings"]["bins"] for item in found.values()} == {5}


REFUSED = {
    "a target that is not there": (("--target", "raspberrypi9"), "raspberrypi9"),
    "a task that is none": (("--target", "null", "--task", "draw"), "draw"),
    "a task that the data cannot serve": (("--target", "null", "--task", "classify"), "needs labels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_advising_refuses(name: str, tmp_path: Path) -> None:
    arguments, said = REFUSED[name]
    done = edgegen("advise", "--json", *arguments, cache=tmp_path / "cache", cwd=points(tmp_path / "project"))
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err
