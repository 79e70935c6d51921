"""``edgegen sensitivity``, ``edgegen compare --layers`` and ``edgegen compress`` on a small project, and what they
refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, UsageError
from edgegen.pipeline.files_alone import compress_project
from edgegen.pipeline.layers import compare_layers
from edgegen.pipeline.sensitivity import measure_sensitivity
from support.projects import command, edgegen, environment


@pytest.fixture(scope="module")
def sensitivity(built: Path, cache: Path) -> dict:
    """What the command found out on the null device, which invents counts."""
    done = edgegen(
        "sensitivity", "--target", "null", "--by", "block", "--samples", "4", "--json", cache=cache, cwd=built
    )
    assert done.code == 0, done.err
    return done.document


# -- sensitivity -------------------------------------------------------------------------------------------------------


def test_every_layer_is_judged_alone_and_left_out_alone(sensitivity: dict, built: Path) -> None:
    assert sensitivity["counted"]
    assert sensitivity["metric"] == "psnr_db_mean"
    assert len(sensitivity["layers"]) >= 3
    whole = sensitivity["int8"]["value"]
    for layer in sensitivity["layers"]:
        assert layer["alone"]["value"] >= whole - 0.5  # one layer's error is less than all together
        assert layer["added_instructions"] is not None
    assert {layer["fragile"] for layer in sensitivity["layers"]} >= {"output"}
    assert any(layer["weights"] is not None for layer in sensitivity["layers"])
    assert json.loads((built / "build/null/sensitivity.json").read_text()) == sensitivity


def test_the_curve_begins_with_int8_and_gets_better(sensitivity: dict) -> None:
    curve = sensitivity["curve"]
    assert curve[0]["float_layers"] == 0
    assert curve[0]["value"] == sensitivity["int8"]["value"]
    assert curve[-1]["value"] > curve[0]["value"]
    assert [point["float_layers"] for point in curve] == sorted(point["float_layers"] for point in curve)


def test_the_page_is_whole_and_loads_nothing(sensitivity: dict, built: Path) -> None:
    page = (built / "build/null/sensitivity.html").read_text()
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    for layer in sensitivity["layers"]:
        assert layer["name"] in page


def test_a_second_run_finds_everything_and_the_table_names_the_worst(
    sensitivity: dict, built: Path, cache: Path
) -> None:
    done = edgegen("sensitivity", "--target", "null", "--by", "block", "--samples", "4", cache=cache, cwd=built)
    assert done.code == 0, done.err
    assert "sensitivity variant" not in done.err
    worst = max(sensitivity["layers"], key=lambda layer: layer["share_of_error"])
    assert worst["name"] in done.out


def test_a_killed_run_goes_on_where_it_was(built: Path, tmp_path: Path, cache: Path) -> None:
    arguments = ("sensitivity", "--target", "linux-x86_64", "--samples", "3", "--by", "layer", "--json")
    child = subprocess.Popen(
        command(*arguments), cwd=built, env=environment(cache), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.strip().startswith("layers:"):
            break
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 143
    kept = stages(cache)
    done = edgegen(*arguments, cache=cache, cwd=built)
    assert done.code == 0, done.err
    assert kept <= stages(cache)
    assert not done.document["counted"]
    assert "nothing was counted" in done.document["notes"][0]


def stages(cache: Path) -> set[str]:
    index = json.loads((cache / "store/index.json").read_text())
    return {item["annotations"]["org.opencontainers.image.ref.name"] for item in index["manifests"]}


def test_what_sensitivity_cannot_do_is_refused(built: Path, cache: Path) -> None:
    known = {"target": "linux-x86_64", "cache": Cache(cache)}
    with pytest.raises(UsageError, match="does not build litert"):
        measure_sensitivity(built, format_name="litert", **known)
    with pytest.raises(UsageError, match="cannot keep single layers in float"):
        measure_sensitivity(built, step="float16", **known)
    with pytest.raises(UsageError, match="cannot keep single layers in float"):
        measure_sensitivity(built, step="mixed-int8", **known)
    with pytest.raises(BuildError, match="no kl_divergence of this model"):
        measure_sensitivity(built, metric="kl_divergence", samples=3, **known)


# -- compare -----------------------------------------------------------------------------------------------------------


def test_candidates_by_name_are_compared_tensor_by_tensor(built: Path, cache: Path, tmp_path: Path) -> None:
    arguments = ("compare", "float32@onnx", "static-int8@onnx", "--layers", "--target", "null", "--host")
    done = edgegen(*arguments, "--out", str(tmp_path), "--json", cache=cache, cwd=built)
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in done.document["tensors"]}
    assert rows["latent"]["kind"] == ""
    assert 20 < rows["image"]["sqnr_db"] < 100
    assert all(row["not_finite"] == 0 for row in rows.values())
    assert len(rows) > 4
    assert "<svg" in (tmp_path / "layers.html").read_text()
    assert json.loads((tmp_path / "layers.json").read_text()) == done.document


def test_a_builds_folder_and_its_bundle_are_the_same_model(built: Path, cache: Path, tmp_path: Path) -> None:
    found = compare_layers(
        str(built / "build/null"), str(built / "build/null/bundle"), out=tmp_path, cache=Cache(cache)
    )
    assert found.document["first_diverging"] is None
    assert {row["sqnr_db"] for row in found.document["tensors"]} == {150.0}


def spoilt(path: Path, folder: Path) -> tuple[Path, str]:
    """The model with one inner weight changed, and the tensor that its operator makes."""
    model = onnx.load(path)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    node = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")][1]
    weight = stored[node.input[1]]
    values = onnx.numpy_helper.to_array(weight) * 3
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, folder / "spoilt.onnx")
    return folder / "spoilt.onnx", node.output[0]


def test_the_first_layer_that_differs_is_found(built: Path, cache: Path, tmp_path: Path) -> None:
    made = compress_project(
        built, target="null", recipes=("float32",), format_name="onnx", out=tmp_path / "made", cache=Cache(cache)
    )
    model = Path(made.document["folder"]) / "float32@onnx" / "model.onnx"
    other, tensor = spoilt(model, tmp_path)
    found = compare_layers(str(model), str(other), out=tmp_path, cache=Cache(cache)).document
    assert found["first_diverging"]["tensor"] == tensor
    before = found["tensors"][: [row["name"] for row in found["tensors"]].index(tensor)]
    assert {row["sqnr_db"] for row in before} == {150.0}


def test_one_file_is_compared_between_this_host_and_the_target(built: Path, cache: Path, tmp_path: Path) -> None:
    model = str(built / "build/null/files/model.onnx")
    found = compare_layers(model, target="null", out=tmp_path, samples=2, cache=Cache(cache)).document
    assert found["old"]["kernels"].startswith("host ")
    assert found["new"]["kernels"] == "null, emulated"
    assert {row["sqnr_db"] for row in found["tensors"]} == {150.0}  # the null device runs this host's kernels


def test_what_compare_cannot_do_is_refused(built: Path, cache: Path, tmp_path: Path) -> None:
    known = {"out": tmp_path, "cache": Cache(cache)}
    model = str(built / "build/null/files/model.onnx")
    alone = tmp_path / "model.onnx"
    alone.write_bytes(Path(model).read_bytes())
    with pytest.raises(UsageError, match="nothing of that name"):
        compare_layers(model, "nowhere.onnx", **known)
    with pytest.raises(UsageError, match="needs a target"):
        compare_layers(model, "static-int8@onnx", **known)
    with pytest.raises(UsageError, match="no such candidate"):
        compare_layers(model, "static-int9@onnx", target="null", project=built, **known)
    with pytest.raises(UsageError, match="one file alone"):
        compare_layers(model, **known)
    with pytest.raises(UsageError, match="no inputs to run"):
        compare_layers(str(alone), str(alone), **known)
    with pytest.raises(UsageError, match="not a model file"):
        compare_layers(model, str(built / "edgegen.toml"), **known)
    with pytest.raises(UsageError, match="holds no model"):
        compare_layers(model, str(built / "build"), **known)
    done = edgegen("compare", model, model, "--json", cache=cache, cwd=built)
    assert done.code == 2
    assert "neither a result nor a file of runs" in done.err


def test_inputs_of_a_file_are_used_in_place_of_golden_ones(built: Path, cache: Path, tmp_path: Path) -> None:
    model = built / "build/null/files/model.onnx"
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    name = onnx.load(model).graph.input[0].name
    shape = [axis.dim_value for axis in onnx.load(model).graph.input[0].type.tensor_type.shape.dim]
    np.savez(tmp_path / "x.npz", **{name: np.zeros((5, *shape[1:]), np.float32)})
    found = compare_layers(
        str(tmp_path / "model.onnx"), str(model), inputs=tmp_path / "x.npz", out=tmp_path, cache=Cache(cache)
    )
    assert found.document["samples"] == 5


# -- compress ----------------------------------------------------------------------------------------------------------


def test_compress_makes_files_and_tells_of_every_pass(built: Path, cache: Path, tmp_path: Path) -> None:
    arguments = ("compress", "--target", "null", "-r", "static-int8", "-r", "mixed-int8", "--format", "onnx")
    done = edgegen(*arguments, "--set", "compress.mixed-int8.float_ratio=0.3", "--out", str(tmp_path), "--json",
                   cache=cache, cwd=built)  # fmt: skip
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in done.document["candidates"]}
    assert set(rows) == {"static-int8@onnx", "mixed-int8@onnx"}
    for name, row in rows.items():
        assert (tmp_path / name / "model.onnx").stat().st_size == row["size_bytes"]
        assert row["passes"][0]["after"]["bytes"] == row["size_bytes"]
        assert row["passes"][0]["changed"]
    figures = rows["mixed-int8@onnx"]["passes"][0]["figures"]
    assert figures["decided_by"].startswith("the target's kernels")
    assert figures["float_layers"]
    assert figures["mixed"] > figures["int8"]


def test_compress_prints_a_table(built: Path, cache: Path, tmp_path: Path) -> None:
    done = edgegen("compress", "--target", "null", "-r", "static-int8", "--out", str(tmp_path), cache=cache, cwd=built)
    assert done.code == 0, done.err
    assert "static-int8@onnx" in done.out
    assert "parameters" in done.out


def test_a_named_recipe_that_is_not_made_fails_the_command(built: Path, cache: Path, tmp_path: Path) -> None:
    known = {"target": "null", "out": tmp_path, "cache": Cache(cache)}
    limited = compress_project(
        built, recipes=("mixed-int8",), overrides=('compress.mixed-int8.metric="kl_divergence"',), **known
    )
    assert limited.document["exit_code"] == 3
    (row,) = limited.document["candidates"]
    assert row["status"] == "failed"
    assert "no kl_divergence" in row["reason"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="unknown step 'statc-int8'"):
        compress_project(built, recipes=("statc-int8",), **known)
    with pytest.raises(UsageError, match="does not build litert"):
        compress_project(built, format_name="litert", **known)


def test_a_folder_that_cannot_be_written_is_told(built: Path, cache: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("in the way")
        place = tmp_path / "file"
    else:
        place = tmp_path / "locked"
        place.mkdir(mode=0o500)
    with pytest.raises(BuildError, match="cannot"):
        compress_project(built, target="null", recipes=("float32",), out=place, cache=Cache(cache))
