"""Models that came as a file, from the command or the call to the bundle, on the null device and on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgegen
from edgegen.bench.result import result_schema
from edgegen.cli.main import _run
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.project import project_of_file
from support.onnx_models import constant, convolutional, image_inputs, write_model

SHORT = ('compress.recipes=["float32", "static-int8", "pruned"]', "quality.samples=8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = convolutional(tmp_path_factory.mktemp("brought") / "net")
    return (folder / "model.onnx").rename(folder / "Small Net.onnx")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("brought") / "cache")


def _found(document: Any, name: str) -> Any:
    return next(item for item in document["candidates"] if item["name"] == name)


def _saved(folder: Path, name: str, **arrays: Any) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def _answers(path: Path, inputs: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {name: array[[row]] for name, array in inputs.items()}) for row in range(8)]
    return np.concatenate([row[0] for row in rows])


def test_file_is_built_with_samples_and_labels(model: Path, kept: Cache, tmp_path: Path) -> None:
    given = image_inputs(8, seed=2)
    right = _answers(model, given).argmax(axis=1)
    result = edgegen.build(
        model=model,
        calibration=_saved(tmp_path, "c.npz", **image_inputs(12)),
        evaluate=_saved(tmp_path, "e.npz", **given, **{"expected/y": right}),
        target="null",
        out=tmp_path / "out",
        overrides=SHORT,
        cache=kept,
    )
    document = result.document
    jsonschema.validate(document, result_schema())
    assert document["name"] == "small-net"
    assert document["model"]["judged_on"] == "evaluation"
    assert _found(document, "float32@onnx")["quality"]["known"]["accuracy_ratio_mean"] == 1
    assert _found(document, "static-int8@onnx")["quality"]["known"]["accuracy_ratio_mean"] > 0.5
    assert "came as ONNX" in _found(document, "float32@litert")["why_rejected"]
    assert "trains a torch model" in _found(document, "pruned@onnx")["why_rejected"]
    assert (result.folder / "bundle" / "index.json").is_file()


def test_file_without_samples_says_so_everywhere(
    model: Path, kept: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(kept.root))
    monkeypatch.chdir(tmp_path)
    settings = [part for text in SHORT for part in ("--set", text)]
    assert _run(["build", "--model", str(model), "--target", "null", *settings]) == 0
    said = capsys.readouterr()
    folder = tmp_path / "build" / "null"
    document = json.loads((folder / "result.json").read_text())
    assert document["model"]["judged_on"] == document["model"]["calibrated_on"] == "generated"
    assert "--calibration" in _found(document, "static-int8@onnx")["why_rejected"]
    told = "8 generated inputs"
    assert told in said.out + said.err
    assert told in (folder / "summary.md").read_text()
    assert told in (folder / "report.html").read_text()


def test_file_without_a_sample_axis_is_given_one(kept: Cache, tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"]), helper.make_node("ReduceSum", ["x"], ["z"], keepdims=0)]
    weight = np.random.default_rng(0).standard_normal((4, 3))
    folder = write_model(tmp_path / "m", nodes, [constant("w", weight)], {"x": [5, 4]}, ["y", "z"])
    x = np.random.default_rng(1).standard_normal((6, 5, 4)).astype(np.float32)
    right = {"expected/y": x @ weight.astype(np.float32), "expected/z": x.sum(axis=(1, 2))}
    result = edgegen.build(
        model=folder / "model.onnx",
        evaluate=_saved(tmp_path, "e.npz", x=x, **right),
        target="null",
        out=tmp_path / "out",
        overrides=('compress.recipes=["float32"]', 'export.formats=["onnx"]'),
        cache=kept,
    )
    assert result.document["model"]["axes_added"] == ["x", "y", "z"]
    assert _found(result.document, "float32@onnx")["quality"]["expected"]["max_abs_error_worst5"] < 1e-4


def test_open_axes_are_asked_for_and_given(kept: Cache, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    folder = write_model(tmp_path / "m", nodes, [], {"x": ["batch", "frames", 4]}, ["y"])
    ask = {"model": folder / "model.onnx", "target": "null", "out": tmp_path / "out", "cache": kept}
    ask["overrides"] = ('compress.recipes=["float32"]', 'export.formats=["onnx"]', "quality.samples=2")
    with pytest.raises(UsageError, match=r"x: batch x frames x 4.*--shape x=1,FRAMES,4"):
        edgegen.build(**ask)
    with pytest.raises(UsageError, match="no input"):
        edgegen.build(**ask, shapes={"x": (1, 7, 4), "z": (1, 7, 4)})
    result = edgegen.build(**ask, shapes={"x": (1, 7, 4)})
    assert [spec["shape"] for spec in result.document["model"]["inputs"]] == [[1, 7, 4]]


def test_integers_several_ends_and_branches(kept: Cache, tmp_path: Path) -> None:
    then, other = (
        helper.make_graph(
            [helper.make_node(operator, ["row"], ["out"])],
            operator,
            [],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 6])],
        )
        for operator in ("Relu", "Neg")
    )
    nodes = [
        helper.make_node("Gather", ["table", "index"], ["row"]),
        helper.make_node("Squeeze", ["flag"], ["yes"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Identity", ["index"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, [1]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6]),
            helper.make_tensor_value_info("z", TensorProto.INT64, [1]),
        ],
        [numpy_helper.from_array(np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32), "table")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    result = edgegen.build(
        model=path,
        target="linux-x86_64",
        out=tmp_path / "out",
        overrides=('compress.recipes=["float32"]', 'export.formats=["onnx"]', "quality.samples=4"),
        cache=kept,
    )
    assert result.exit_code == 0
    assert [spec["dtype"] for spec in result.document["model"]["inputs"]] == ["int64", "bool"]


def _cell(folder: Path) -> Path:
    """s' = tanh(s / 2 + x), y = 3 s': what is remembered is not what is answered."""
    nodes = [
        helper.make_node("Mul", ["state_in", "half"], ["faded"]),
        helper.make_node("Add", ["faded", "x"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["state_out"]),
        helper.make_node("Mul", ["state_out", "three"], ["y"]),
    ]
    constants = [constant("half", 0.5), constant("three", 3.0)]
    ends = {"x": [1, 4], "state_in": [1, 4]}
    return write_model(folder, nodes, constants, ends, ["y", "state_out"]) / "model.onnx"


def test_state_is_rolled_over_whole_sequences(kept: Cache, tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((8, 4)).astype(np.float32)
    state, right = np.zeros(4, np.float32), []
    for number, row in enumerate(x):
        state = np.tanh((state if number % 4 else 0) / 2 + row)
        right.append(3 * state)
    result = edgegen.build(
        model=_cell(tmp_path / "m"),
        evaluate=_saved(tmp_path, "e.npz", x=x, **{"expected/y": np.array(right, np.float32)}),
        states={"state_in": "state_out"},
        target="null",
        out=tmp_path / "out",
        overrides=('compress.recipes=["float32"]', 'export.formats=["onnx"]', "model.sequence=4"),
        cache=kept,
    )
    assert result.document["model"]["state"] == {"state_in": "state_out"}
    assert result.document["model"]["sequence"] == 4
    assert _found(result.document, "float32@onnx")["quality"]["expected"]["max_abs_error_worst5"] < 1e-5


def test_state_that_does_not_fit_is_refused(kept: Cache, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no output 'memory'"):
        edgegen.build(
            model=_cell(tmp_path / "m"), states={"state_in": "memory"}, target="null", out=tmp_path / "o", cache=kept
        )


def test_project_file_names_a_model(kept: Cache, model: Path, tmp_path: Path) -> None:
    (tmp_path / "edgegen.toml").write_text(
        f'[project]\nname = "mine"\n[model]\nfile = "{model}"\ncalibration = "c.npz"\n'
        '[compress]\nrecipes = ["float32"]\n[export]\nformats = ["onnx"]\n[quality]\nsamples = 4\n'
    )
    _saved(tmp_path, "c.npz", **image_inputs(12))
    document = edgegen.build(tmp_path, target="null", cache=kept).document
    assert document["name"] == "mine"
    assert document["model"]["judged_on"] == "held back from calibration"


def test_whole_file_of_no_use_leaves_a_result(kept: Cache, tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(BuildError, match="opset"):
        edgegen.build(model=tmp_path / "m.onnx", target="null", out=tmp_path / "out", cache=kept)
    assert json.loads((tmp_path / "out" / "null" / "result.json").read_text())["exit_code"] == 3


def test_project_that_was_read_takes_no_other_model(model: Path) -> None:
    with pytest.raises(UsageError, match="takes no other model"):
        edgegen.build(project_of_file({"file": str(model)}), model=model, target="null")
