"""Which operators are which, and what a change of a figure is put down to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from example_build import document
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.bench.attribution import attribute
from edgegen.bench.operators_matched import Operator, match_operators, operators_of
from edgegen.bench.sides import Side, side_of_result


def op(name: str, operator: str = "Conv", instructions: int = 100_000) -> Operator:
    return Operator(name=name, operator=operator, instructions=instructions)


OLD = (op("conv_0"), op("relu_1", "Relu", 9_000), op("conv_2", "Conv", 250_000), op("gemm_3", "Gemm", 40_000))


def side(operators: tuple[Operator, ...] = OLD, **changes: object) -> Side:
    rest = 12_000
    made = Side(
        source="result.json",
        name="digits",
        version="0.1.0",
        target="raspberrypi5",
        candidate="float32@onnx",
        runtime="onnxruntime",
        core="cortex-a76",
        model_sha256="ab" * 32,
        figures={"instructions": float(sum(item.instructions for item in operators) + rest), "size_bytes": 1000.0},
        operators=operators,
        tools={"onnxruntime": "1.32.0", "torch": "2.13.0", "qemu": "7.2.22"},
    )
    return replace(made, **changes)


def pairs(old: tuple[Operator, ...], new: tuple[Operator, ...]) -> list[tuple[str | None, str | None]]:
    return [(item.old and item.old.name, item.new and item.new.name) for item in match_operators(old, new)]


@pytest.mark.parametrize(
    ("operator", "family"),
    [
        ("Conv", "Conv"), ("FusedConv", "Conv"), ("QLinearConv", "Conv"), ("ConvInteger", "Conv"),
        ("NhwcMaxPool", "MaxPool"), ("QGemm", "MatMul"), ("FusedGemm", "MatMul"), ("Gemm", "MatMul"),
        ("DynamicQuantizeMatMul", "MatMul"), ("MatMulIntegerToFloat", "MatMul"), ("QuickGelu", "Gelu"),
        ("QuantizeLinear", "QuantizeLinear"), ("Sigmoid", "Sigmoid"), ("QLinearSigmoid", "Sigmoid"),
        ("Convolution (NHWC, QS8, QC8W) IGEMM", "Convolution"), ("Convolution (NHWC, F32) DWConv", "Convolution"),
        ("Fully Connected (NC, F32) GEMM", "Fully Connected"),
    ],
)  # fmt: skip
def test_kernels_of_one_work_are_of_one_family(operator: str, family: str) -> None:
    assert op("x", operator).family == family


def test_operators_that_stayed_are_matched_though_all_are_named_anew() -> None:
    new = (OLD[0], op("erf_1", "Erf", 60_000), op("relu_2", "Relu", 9_100), op("conv_3", "Conv", 250_100),
           op("gemm_4", "Gemm", 40_000))  # fmt: skip
    assert pairs(OLD, new) == [
        ("conv_0", "conv_0"), (None, "erf_1"), ("relu_1", "relu_2"), ("conv_2", "conv_3"), ("gemm_3", "gemm_4"),
    ]  # fmt: skip


def test_litert_operators_without_a_name_are_matched_by_kind_and_cost() -> None:
    kinds = [("Convert (NC)", 900), ("Convolution (NHWC, QS8) IGEMM", 90_000), ("Static Reshape (NC)", 70)]
    old = tuple(op(f"operator {place}", kind, count) for place, (kind, count) in enumerate(kinds))
    kinds.insert(1, ("TanH (NC)", 60_000))
    new = tuple(op(f"operator {place}", kind, count) for place, (kind, count) in enumerate(kinds))
    assert pairs(old, new) == [
        ("operator 0", "operator 0"), (None, "operator 1"), ("operator 1", "operator 2"), ("operator 2", "operator 3"),
    ]  # fmt: skip
    found = attribute(side(old, runtime="litert"), side(new, runtime="litert", model_sha256="cd" * 32), "instructions")
    assert [(cause.name, cause.said) for cause in found.causes] == [("operator 1", "TanH (NC) was added")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["Conv", "Relu", "Gemm", "Erf"]), max_size=12), st.data())
def test_matching_keeps_order_and_loses_nothing(kinds: list[str], data: st.DataObject) -> None:
    old = tuple(op(f"{kind}_{place}", kind, 1000 * place) for place, kind in enumerate(kinds))
    keep = data.draw(st.lists(st.booleans(), min_size=len(old), max_size=len(old)))
    new = tuple(item for item, kept in zip(old, keep, strict=True) if kept)
    found = match_operators(old, new)
    assert [item.old for item in found if item.old] == list(old)
    assert [item.new for item in found if item.new] == list(new)
    assert sum(item.moved for item in found) == sum(i.instructions for i in new) - sum(i.instructions for i in old)


def test_a_graph_too_large_to_align_is_matched_by_name() -> None:
    old = tuple(op(f"conv_{place}") for place in range(2100))
    found = match_operators(old, (*old[:5], op("slow"), *old[5:]))
    assert [item.new.name for item in found if item.old is None] == ["slow"]


def test_what_is_no_operator_in_a_result_is_left_out() -> None:
    assert operators_of([{"name": 3}, {"name": "x", "operator": "Conv", "instructions": "many"}, {}]) == []


def test_an_added_operator_is_the_first_cause_and_the_rest_is_told() -> None:
    new = side((OLD[0], op("erf_1", "Erf", 60_000), *OLD[1:]), model_sha256="cd" * 32)
    new = replace(new, figures={"instructions": new.figures["instructions"] + 500})
    found = attribute(side(), new, "instructions")
    assert [(cause.kind, cause.name, cause.moved) for cause in found.causes] == [
        ("operator", "erf_1", 60_000.0),
        ("runtime", "outside the operators", 500.0),
    ]
    assert found.causes[0].share == pytest.approx(60_000 / 60_500)
    assert found.unexplained == 0


def test_a_layer_in_float_is_one_cause_with_what_carries_its_numbers() -> None:
    before = (
        op("conv_0", "QLinearConv", 50_000),
        op("conv_2", "QLinearConv", 80_000),
        op("conv_4", "QLinearConv", 70_000),
    )
    after = (before[0], op("d", "DequantizeLinear", 8_000), op("conv_2", "FusedConv", 75_000),
             op("q", "QuantizeLinear", 9_000), before[2])  # fmt: skip
    found = attribute(side(before), side(after, model_sha256="cd" * 32), "instructions")
    assert [(cause.name, cause.moved) for cause in found.causes] == [("conv_2", 12_000.0)]
    assert [row["name"] for row in found.causes[0].operators] == ["q", "d", "conv_2"]


def test_a_runtime_is_the_cause_where_the_model_is_the_same_file() -> None:
    slower = tuple(replace(item, instructions=item.instructions * 11 // 10) for item in OLD)
    new = side(slower, tools={**side().tools, "onnxruntime": "1.29.0", "torch": "2.8.0"})
    found = attribute(side(), new, "instructions")
    assert (found.causes[0].kind, found.causes[0].name, found.causes[0].share) == ("tool", "onnxruntime", 1.0)
    assert found.causes[0].operators[0]["name"] == "conv_2"
    assert [(cause.kind, cause.name, cause.moved) for cause in found.causes[1:]] == [("tool", "torch", None)]


def test_model_and_runtime_both_changed_are_told_apart() -> None:
    slower = tuple(replace(item, instructions=item.instructions * 13 // 10) for item in OLD)
    new = side((*slower[:2], op("erf", "Erf", 9_999), *slower[2:]), model_sha256="cd" * 32,
               tools={**side().tools, "onnxruntime": "1.29.0"})  # fmt: skip
    found = attribute(side(), new, "instructions")
    assert [(cause.kind, cause.name) for cause in found.causes] == [("tool", "onnxruntime"), ("operator", "erf")]


def test_operators_that_moved_by_too_little_are_one_cause_together() -> None:
    moved = tuple(replace(item, instructions=item.instructions + 480) for item in OLD)
    found = attribute(side(), side(moved, model_sha256="cd" * 32), "instructions")
    assert [(cause.kind, cause.moved) for cause in found.causes] == [("operators", 4 * 480.0)]
    assert found.unexplained == 0


def test_nothing_is_told_of_what_is_outside_the_operators_where_they_were_not_counted() -> None:
    new = side((), figures={"instructions": side().figures["instructions"] + 9_000}, model_sha256="cd" * 32)
    found = attribute(side(), new, "instructions")
    assert (found.causes, found.unexplained) == ((), 9_000)


def test_another_candidate_is_told_from_what_happened_to_the_old_one() -> None:
    old = side(others={"float32@onnx": 411_000.0})
    new = side(candidate="static-int8@onnx", figures={"instructions": 300_000.0},
               others={"float32@onnx": 431_000.0, "static-int8@onnx": 300_000.0})  # fmt: skip
    found = attribute(old, new, "instructions")
    assert [(cause.name, cause.moved) for cause in found.causes] == [
        ("static-int8@onnx", -131_000.0), ("float32@onnx itself", 20_000.0),
    ]  # fmt: skip
    assert found.unexplained == 0


def test_results_tell_settings_data_passes_and_tools() -> None:
    def told(epochs: int, digest: str) -> dict:
        return {"family": "vae", "settings": {"latent": 8}, "training": {"epochs": epochs},
                "steps": {"prepare": digest, "train": digest}}  # fmt: skip

    old = json.loads(json.dumps(document(made_from=told(1, "aa"))))
    new = json.loads(json.dumps(document(made_from=told(2, "bb"))))
    new["environment"]["tools"]["torch"] = "2.14.0"
    name = new["chosen"]["candidate"]
    candidate = next(item for item in new["candidates"] if item["name"] == name)
    candidate["passes"][0]["after"]["macs"] = 7
    candidate["sha256"] = "99" * 32
    found = attribute(side_of_result(old, "old"), side_of_result(new, "new"), "size_bytes")
    assert {(cause.kind, cause.name) for cause in found.causes} == {
        ("setting", "train.epochs"), ("data", "prepare"), ("tool", "torch"), ("step", candidate["passes"][0]["step"]),
    }  # fmt: skip
    assert found.unexplained is None


def test_a_line_of_a_history_is_not_taken_for_a_build_without_settings_and_passes() -> None:
    run_side = replace(side_of_result(json.loads(json.dumps(document())), "bench.jsonl"), settings={}, passes=(),
                       build_told=False)  # fmt: skip
    found = attribute(side_of_result(json.loads(json.dumps(document())), "build"), run_side, "size_bytes")
    assert found.causes == ()
    assert "a run does not tell them (bench.jsonl)" in found.notes[-1]
    other = replace(run_side, model_sha256="0" * 64)
    notes = attribute(side_of_result(json.loads(json.dumps(document())), "build"), other, "size_bytes").notes
    assert notes[-1] == "the model file is not the same"


def test_counts_of_two_cores_are_told_to_be_that() -> None:
    found = attribute(side(), side(core="cortex-a53"), "instructions")
    assert any("two cores, cortex-a76 and cortex-a53" in note for note in found.notes)


def test_settings_that_an_older_result_does_not_tell_are_no_difference() -> None:
    old = json.loads(json.dumps(document()))
    told = {"family": "vae", "settings": {}, "training": {"epochs": 2}, "steps": {}}
    new = json.loads(json.dumps(document(made_from=told)))
    assert attribute(side_of_result(old, "old"), side_of_result(new, "new"), "size_bytes").causes == ()
