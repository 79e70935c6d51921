"""The step: verifies every rewrite, keeps what the target says is cheaper, and tells of each pass."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from rewrite_models import kinds, samples, saved, weights

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.quantize.settings import StaticInt8
from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, open_graph
from edgegen.compress.rewrite.passes import PASSES
from edgegen.compress.rewrite.settings import Rewritten
from edgegen.compress.steps import STEPS, Applied, apply_step
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load
from edgegen.core.models import FORMATS
from edgegen.core.records import read_record
from edgegen.export.host_runtime import run_on_host

STEP = STEPS["rewritten", "onnx"]
node = helper.make_node
NORM = {
    "g": weights(8) + 2,
    "e": weights(8, seed=1),
    "m": weights(8, seed=2),
    "v": np.abs(weights(8, seed=3)) + 0.5,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of a small generator as others export it: a dead weight, a batch norm, and transposed convolutions."""
    nodes = [
        node("ConvTranspose", ["latent", "w0"], ["a"]),
        node("BatchNormalization", ["a", "g", "e", "m", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("ConvTranspose", ["r", "w1", "b1"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    constants = {**NORM, "w0": weights(6, 8, 3, 3), "w1": weights(8, 4, 4, 4), "b1": weights(4), "dead": weights(50)}
    folder = tmp_path / "source"
    folder.mkdir()
    saved(folder / "model.onnx", nodes, constants, {"latent": [1, 6, 1, 1]}, {"y": [1, 4, 6, 6]})
    return folder


def applied(source: Path, context: StepContext, settings: Rewritten | None = None) -> tuple[Applied, Path]:
    folder = source.with_name("rewritten")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return apply_step(STEP, source, folder, settings or Rewritten(), context), folder


def rows(told: Applied) -> dict[str, Mapping[str, Any]]:
    return {row["pass"]: row for row in told.figures["table"]}


def per_operator(prices: Mapping[str, int]) -> Any:
    """A target on which every operator has its price."""

    def cost(model: Path, runtime: str) -> Mapping[str, int]:
        return {"instructions": sum(prices.get(item.op_type, 1000) for item in open_graph(model).nodes)}

    return cost


def given(source: Path, **more: Any) -> StepContext:
    return StepContext(inputs=samples(source / "model.onnx", 8), runtime="onnxruntime", **more)


def test_every_pass_leads_somewhere_and_names_are_unique() -> None:
    assert len({(one.name, one.form) for one in PASSES}) == len(PASSES)
    for one in PASSES:
        assert callable(load(one.target))


def test_the_cheaper_form_is_kept_and_told(source: Path) -> None:
    told, folder = applied(
        source, given(source, cost=per_operator({"ConvTranspose": 9000, "BatchNormalization": 3000}))
    )
    table = rows(told)
    assert table["batch-norm"]["kept"] == table["batch-norm"]["places"] == 1
    assert table["transposed-convolution"]["kept"] == table["transposed-convolution"]["places"] == 2
    row = table["transposed-convolution"]
    assert row["after"]["instructions"] < row["before"]["instructions"]
    assert 0 < row["largest_deviation_ratio"] < 3e-5
    assert "ConvTranspose" not in kinds(open_graph(folder / "model.onnx"))
    assert "instructions counted on the target" in told.figures["judged_by"]
    inputs = samples(source / "model.onnx", 5)
    first, second = (run_on_host(place / "model.onnx", "onnx", inputs)["y"] for place in (source, folder))
    np.testing.assert_allclose(first, second, rtol=0, atol=3e-5 * np.abs(first).max())


def test_what_costs_more_on_the_target_is_not_kept(source: Path) -> None:
    told, folder = applied(source, given(source, cost=per_operator({"Conv": 50_000, "DepthToSpace": 50_000})))
    row = rows(told)["transposed-convolution"]
    assert row["kept"] == 0
    assert row["places"] == 2
    assert "instructions +" in row["why"]
    assert kinds(open_graph(folder / "model.onnx")).count("ConvTranspose") == 2


def test_places_are_judged_each_alone(source: Path) -> None:
    # A Conv is cheaper than a ConvTranspose, but not with a rearrangement behind it.
    told, folder = applied(source, given(source, cost=per_operator({"ConvTranspose": 9000, "DepthToSpace": 90_000})))
    assert rows(told)["transposed-convolution"]["kept"] == 1
    assert kinds(open_graph(folder / "model.onnx")).count("ConvTranspose") == 1


def test_without_a_device_the_figures_say_so(source: Path) -> None:
    told, _ = applied(source, given(source))
    assert told.figures["judged_by"].startswith("no device was asked")
    row = rows(told)["batch-norm"]
    assert row["kept"] == 1
    assert row["before"]["instructions"] is None
    assert row["after"]["bytes"] < row["before"]["bytes"]


def test_passes_are_judged_by_what_follows_them(source: Path) -> None:
    quantized = (("static-int8", StaticInt8()),)
    asked: list[list[str]] = []

    def cost(model: Path, runtime: str) -> Mapping[str, int]:
        asked.append(kinds(open_graph(model)))
        return {"instructions": 10**6 - 1000 * asked[-1].count("Conv")}

    told, folder = applied(source, given(source, cost=cost, following=quantized))
    assert all("QuantizeLinear" in operators for operators in asked)
    assert told.figures["judged_by"].endswith("after static-int8")
    assert "QuantizeLinear" not in kinds(open_graph(folder / "model.onnx"))


def test_a_rewrite_that_is_wrong_is_found_out(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(graph: Graph, asked: Asked) -> Found:
        found = Found()
        graph.constants["b1"] = graph.constants["b1"] + np.float32(1e-2)
        found.count("y")
        return found

    monkeypatch.setattr("edgegen.compress.rewrite.onnx_affine.fold", spoil)
    told, _ = applied(source, given(source, cost=per_operator({})))
    row = rows(told)["batch-norm"]
    assert row["kept"] == 0
    assert "moves an output" in row["why"]
    assert row["largest_deviation_ratio"] > 3e-5


def test_a_model_with_nothing_to_rewrite_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    saved(tmp_path / "source" / "model.onnx", [node("Relu", ["x"], ["y"])], {}, {"x": [1, 4]}, {"y": [1, 4]})
    with pytest.raises(NothingChanged, match="keeps no pass") as caught:
        applied(tmp_path / "source", given(tmp_path / "source"))
    assert "batch-norm: nothing to rewrite" in str(caught.value.got)


def test_a_pass_that_is_left_out_is_not_tried(source: Path) -> None:
    settings = Rewritten(without=("batch-norm", "transposed-convolution"))
    told, folder = applied(source, given(source), settings)
    assert "BatchNormalization" in kinds(open_graph(folder / "model.onnx"))
    assert "left out" in rows(told)["batch-norm"]["why"]
    with pytest.raises(UsageError, match="no rewriting pass"):
        applied(source, given(source), Rewritten(without=("batch-nrom",)))


def test_a_gain_in_bytes_alone_or_in_instructions_alone(source: Path) -> None:
    cost = per_operator({"ConvTranspose": 1500, "Reshape": 100, "DepthToSpace": 100, "Slice": 100})
    by_bytes, _ = applied(source, given(source, cost=cost), Rewritten(gain="bytes"))
    by_count, _ = applied(source, given(source, cost=cost), Rewritten(gain="instructions"))
    assert rows(by_count)["transposed-convolution"]["kept"] == 2
    assert rows(by_bytes)["transposed-convolution"]["kept"] < 2
    assert by_bytes.after.bytes < by_count.after.bytes


def test_fixed_inputs_must_agree_with_the_calibration_inputs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    nodes = [node("Mul", ["gain", "w"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    saved(source / "model.onnx", nodes, {"w": weights(1, 6)}, {"x": [1, 6], "gain": [1, 1]}, {"y": [1, 6]})
    context = given(source)
    settings = read_record(Rewritten, {"fix": {"gain": [0.5]}}, "compress.rewritten", "edgegen.toml")
    with pytest.raises(BuildError, match="calibration inputs have other values") as caught:
        applied(source, context, settings)
    assert "8 of 8 samples" in str(caught.value.got)
    fixed = replace(context, inputs={**context.inputs, "gain": np.full((8, 1), 0.5, dtype=np.float32)})
    told, folder = applied(source, fixed, settings)
    assert rows(told)["constants"]["kept"] > 0
    assert kinds(open_graph(folder / FORMATS["onnx"])) == ["Mul"]
    for wrong, told_of in (({"gian": [0.5]}, "no input"), ({"gain": [0.5, 0.5]}, "do not fit")):
        with pytest.raises(UsageError, match=told_of):
            applied(source, fixed, read_record(Rewritten, {"fix": wrong}, "compress.rewritten", "edgegen.toml"))


def test_without_inputs_nothing_can_be_verified(source: Path) -> None:
    with pytest.raises(BuildError, match="calibration inputs"):
        applied(source, StepContext(inputs={}))
