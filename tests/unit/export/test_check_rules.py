"""Preflight rules: each says what it should of a model that has the fault, and nothing of one that has not."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgegen.bench.sarif import sarif
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.targets import load_target
from edgegen.export.check.finding import SEVERITIES
from edgegen.export.check.rules import RULES, checked
from edgegen.export.opened import open_model
from support.onnx_cases import light_models, node_cases, simple_cases
from support.onnx_models import constant

F = TensorProto.FLOAT
SOUND = {"nodes": [("Relu", ["x"], ["y"], {})]}


def write(
    folder: Path,
    *,
    nodes: list[Any],
    constants: tuple[TensorProto, ...] = (),
    x: tuple[Any, ...] | None = (1, 4),
    kinds: tuple[int, int] = (F, F),
    opset: int = 17,
    outputs: tuple[str, ...] = ("y",),
    more: tuple[Any, ...] = (),
    y: tuple[int, ...] | None = None,
) -> Path:
    """A model of these nodes, each operator, inputs, outputs and attributes."""
    made = [
        helper.make_node(kind, given, gives, name=f"n{number}", **told)
        for number, (kind, given, gives, told) in enumerate(nodes)
    ]
    inputs = [helper.make_tensor_value_info("x", kinds[0], x), *more]
    ends = [helper.make_tensor_value_info(name, kinds[1], y) for name in outputs]
    domains = {node.domain for node in made if node.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    graph = helper.make_graph(made, "g", inputs, ends, list(constants))
    path = folder / "model.onnx"
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return path


def external(folder: Path) -> Path:
    path = write(folder, nodes=[("Add", ["x", "w"], ["y"], {})], constants=(constant("w", np.ones((1, 4))),))
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def weights(folder: Path) -> Path:
    path = folder / "w.safetensors"
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.ones(2, np.float32).tobytes())
    return path


BIG = np.arange(1024, dtype=np.float32).reshape(256, 4)
CONV = ("Conv", ["x", "w"], ["c"], {})
STATE = helper.make_tensor_value_info("h_in", F, (1, 4))
BODY = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["b"])], "b", [], [helper.make_tensor_value_info("b", F, (1, 4))]
)

FAULTS: dict[str, Any] = {
    "EG101": {**SOUND, "opset": 9},
    "EG102": {**SOUND, "opset": 9999},
    "EG104": {**SOUND, "x": ("batch", 4)},
    "EG105": {**SOUND, "x": (0, 4)},
    "EG106": {"nodes": [], "outputs": ()},
    "EG107": weights,
    "EG111": external,
    "EG112": {**SOUND, "constants": (constant("w", np.ones(4)),)},
    "EG113": {"nodes": [("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], {}),
                        ("DequantizeLinear", ["q", "s", "z"], ["y"], {})]},
    "EG114": {"nodes": [("Add", ["x", "h_in"], ["y"], {}), ("Relu", ["y"], ["h_out"], {})],
              "outputs": ("y", "h_out"), "more": (STATE,)},
    "EG201": {"nodes": [("GRU", ["x", "w", "r"], ["y"], {"hidden_size": 2, "layout": 1})], "x": (1, 3, 4),
              "constants": (constant("w", np.ones((1, 6, 4))), constant("r", np.ones((1, 6, 2))))},
    "EG202": {"nodes": [("Wave", ["x"], ["y"], {"domain": "com.example"})], "y": (1, 4)},
    "EG203": {"nodes": [("Cast", ["x"], ["d"], {"to": TensorProto.BFLOAT16}), ("Add", ["d", "d"], ["e"], {}),
                        ("Cast", ["e"], ["y"], {"to": F})]},
    "EG204": {"nodes": [("RandomNormalLike", ["x"], ["y"], {})]},
    "EG205": {"nodes": [("Dropout", ["x", "r", "t"], ["y"], {})],
              "constants": (constant("r", 0.5), constant("t", True, bool))},
    "EG206": {"nodes": [("Cast", ["x"], ["y"], {"to": TensorProto.STRING})], "kinds": (F, TensorProto.STRING)},
    "EG208": {**SOUND, "outputs": ("y", "x"), "y": (1, 4)},
    "EG211": {"nodes": [("NonZero", ["x"], ["n"], {}), ("Cast", ["n"], ["y"], {"to": F})]},
    "EG301": {"nodes": [("Add", ["x", "w"], ["y"], {})], "constants": (constant("w", [1, 2, np.nan, 4]),)},
    "EG302": {"nodes": [("Add", ["x", "w"], ["y"], {})], "constants": (constant("w", [1, 2, -np.inf, 4]),)},
    "EG303": {**SOUND, "kinds": (TensorProto.DOUBLE, TensorProto.DOUBLE)},
    "EG304": {**SOUND, "kinds": (TensorProto.FLOAT16, TensorProto.FLOAT16)},
    "EG401": {"nodes": [("Expand", ["x", "s"], ["e"], {}), ("ReduceMean", ["e"], ["y"], {})],
              "constants": (constant("s", [70_000, 70_000, 4], np.int64),)},
    "EG501": {"nodes": [("ConvTranspose", ["x", "w"], ["y"], {})], "x": (1, 2, 5, 5),
              "constants": (constant("w", np.ones((2, 3, 3, 3))),)},
    "EG502": {"nodes": [CONV, ("Relu", ["c"], ["y"], {})], "x": (1, 2, 5, 5),
              "constants": (constant("w", np.ones((3, 2, 3, 3))),)},
    "EG503": {"nodes": [("If", ["t"], ["y"], {"then_branch": BODY, "else_branch": BODY})],
              "constants": (constant("t", True, bool),)},
    "EG504": {"nodes": [CONV, ("BatchNormalization", ["c", "a", "a", "a", "a"], ["y"], {})], "x": (1, 2, 5, 5),
              "constants": (constant("w", np.ones((3, 2, 3, 3))), constant("a", np.ones(3)))},
    "EG505": {"nodes": [("MatMul", ["x", "v"], ["a"], {}), ("MatMul", ["x", "w"], ["b"], {}),
                        ("Add", ["a", "b"], ["y"], {})],
              "constants": (constant("v", BIG.T), constant("w", BIG.T))},
}  # fmt: skip
"""Rule -> a model that has the fault, or a function that writes one."""

ELSEWHERE = ("EG213", "EG305", "EG402", "EG403")  # faults that take another format or another target: below
BY_RUNNING = ("EG207", "EG212", "EG306")  # tests/pipeline/test_rules_of_a_build.py


def found(path: Path, target: str = "raspberrypi4") -> list[str]:
    return [finding.rule for finding in checked(open_model(path), load_target(target))]


@pytest.mark.parametrize("rule", FAULTS)
def test_a_rule_finds_its_fault(rule: str, tmp_path: Path) -> None:
    fault = FAULTS[rule]
    path = fault(tmp_path) if callable(fault) else write(tmp_path, **fault)
    assert rule in found(path)


def test_nothing_is_found_in_a_sound_model(tmp_path: Path) -> None:
    assert found(write(tmp_path, **SOUND)) == []


def test_every_rule_is_tried_and_ids_are_in_order() -> None:
    ids = [rule.id for rule in RULES]
    assert sorted(ids) == sorted({*FAULTS, *ELSEWHERE, *BY_RUNNING})
    assert ids == sorted(ids)


def test_rules_of_the_target(tmp_path: Path) -> None:
    path = write(tmp_path, **SOUND)
    model, profile = open_model(path), load_target("raspberrypi4")
    rules = {finding.rule for finding in checked(model, replace(profile, runtimes={"litert": "litert"}))}
    assert rules == {"EG403"}
    rules = {finding.rule for finding in checked(model, replace(profile, flash_bytes=10))}
    assert rules == {"EG402"}
    convolution = write(tmp_path, **FAULTS["EG502"])
    assert found(convolution, "raspberrypi5") == []  # it has the dot product


def test_rules_of_a_microcontroller(litert_folder: Path, tmp_path: Path) -> None:
    model, profile = open_model(litert_folder / "model.tflite"), load_target("nucleo-l4r5zi")
    assert checked(model, profile) == []
    for small in ({"flash_bytes": 500}, {"memory_bytes": 100}):
        rules = {finding.rule for finding in checked(model, replace(profile, **small))}
        assert rules == {"EG402" if "flash_bytes" in small else "EG401"}
    (graph, *_) = model.graphs
    odd = replace(model, graphs=(replace(graph, nodes=(replace(graph.nodes[0], operator="WHILE"), *graph.nodes[1:])),))
    assert [finding.rule for finding in checked(odd, profile)] == ["EG213"]
    sound = open_model(write(tmp_path, **SOUND))
    assert checked(sound, profile) == []
    (graph, *_) = sound.graphs
    odd = replace(sound, graphs=(replace(graph, nodes=(*graph.nodes, replace(graph.nodes[0], operator="CumSum"))),))
    assert "EG213" in {finding.rule for finding in checked(odd, profile)}


def test_litert_ends(litert_folder: Path) -> None:
    model = open_model(litert_folder / "model.tflite")
    assert checked(model, load_target("raspberrypi4")) == []
    wide = replace(model, inputs=(replace(model.inputs[0], dtype="int64"),))
    assert [finding.rule for finding in checked(wide, load_target("raspberrypi4"))] == ["EG305"]


def test_litert_samples_may_be_open(litert_folder: Path) -> None:
    model, target = open_model(litert_folder / "model.tflite"), load_target("raspberrypi4")
    first, *inner = model.inputs[0].dims or ()
    assert inner, "the case needs an axis behind that of samples"

    def opened(*dims: Any) -> Any:
        return checked(replace(model, inputs=(replace(model.inputs[0], dims=dims),)), target)

    assert opened("?", *inner) == []
    (finding,) = opened(first, *inner[:-1], "?")
    assert finding.rule == "EG104"
    assert "convert it again" in finding.fix  # --shape is refused for this format


def test_shapes_that_are_given_close_open_axes(tmp_path: Path) -> None:
    path = write(tmp_path, **FAULTS["EG104"])
    assert "--shape x=1,4" in checked(open_model(path), load_target("raspberrypi4"))[0].fix
    assert checked(open_model(path, {"x": (1, 4)}), load_target("raspberrypi4")) == []


def test_a_rule_does_not_drown_the_others(tmp_path: Path) -> None:
    many = tuple(constant(f"w{number}", np.ones(4)) for number in range(50))
    assert found(write(tmp_path, **{**SOUND, "constants": many})).count("EG112") == 20


def test_a_shape_that_is_an_input_is_a_size_that_depends_on_data(tmp_path: Path) -> None:
    shape = helper.make_tensor_value_info("s", TensorProto.INT64, (2,))
    fault = {"nodes": [("Reshape", ["x", "s"], ["r"], {}), ("ReduceSum", ["r"], ["y"], {})], "more": (shape,)}
    assert found(write(tmp_path, **fault)) == ["EG211"]
    fixed = {**fault, "more": (), "constants": (constant("s", [2, 2], np.int64),)}
    assert found(write(tmp_path, **fixed)) == []


def test_findings_come_the_gravest_first(tmp_path: Path) -> None:
    path = write(tmp_path, **{**FAULTS["EG502"], "opset": 9, "x": (1, 2, "high", 5)})
    severities = [finding.severity for finding in checked(open_model(path), load_target("raspberrypi4"))]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert {"error", "note"} <= set(severities)


def test_sarif_names_every_rule_and_place(tmp_path: Path) -> None:
    path = write(tmp_path, **FAULTS["EG505"])
    findings = checked(open_model(path), load_target("raspberrypi4"))
    log = sarif(findings, RULES, path="model.onnx", version="1")
    run = log["runs"][0]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.id for rule in RULES]
    result = run["results"][0]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "EG505"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "model.onnx"
    assert "v, w" in result["locations"][0]["logicalLocations"][0]["name"]


UNUSABLE = {"EG201", "EG202", "EG203"}
EXPECTED_OTHERWISE = {"test_swish", "test_swiglu", "test_swiglu_alpha", "test_swiglu_float16"}
"""Cases of an operator that the runtime takes in some places alone."""


def test_the_rules_know_what_onnxruntime_has(tmp_path: Path) -> None:
    """Of every seventh case of the onnx package: the runtime makes a session exactly where no rule says it cannot."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    path, profile, wrong, refused = tmp_path / "case.onnx", load_target("raspberrypi4"), [], 0
    for case in node_cases()[::7]:
        path.write_bytes(case.model)
        findings = checked(open_model(path), profile)
        says = {finding.rule for finding in findings if finding.severity == "error"}
        try:
            onnxruntime.InferenceSession(case.model, providers=["CPUExecutionProvider"])
        except (onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
                onnxruntime.capi.onnxruntime_pybind11_state.Fail):  # fmt: skip
            refused += 1
            if not says and case.name not in EXPECTED_OTHERWISE:
                wrong.append(case.name)
        else:
            if says & UNUSABLE and "EG206" not in says and case.name not in EXPECTED_OTHERWISE:
                wrong.append(case.name)
    assert refused > 3
    assert wrong == []


def test_every_model_of_the_onnx_package_is_read(tmp_path: Path) -> None:
    profile = load_target("raspberrypi4")
    for model in light_models():
        assert "EG101" in {finding.rule for finding in checked(open_model(model), profile)}
    path = tmp_path / "case.onnx"
    for case in simple_cases():
        path.write_bytes(case.model)
        with suppress(UsageError, BuildError):
            checked(open_model(path), profile)
