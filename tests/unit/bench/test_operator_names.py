"""Counted operators by the names of the file, and their place under the core's roof."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.bench import operator_names
from edgegen.bench.cost import counted_cost
from edgegen.bench.operator_names import name_operators, short_name
from edgegen.bench.roofline import position
from edgegen.core.errors import UsageError
from edgegen.core.targets import load_target
from edgegen.devices.device import Counted, OperatorCost, Reading
from edgegen.export.census import LitertOperator

PI5 = load_target("raspberrypi5")
WAY = "edgegen.export.litert.Named/torch.nn.modules.container.Sequential_inner/torch.nn.modules"


def reading(*operators: tuple[str, str]) -> Reading:
    costs = tuple(
        OperatorCost(name=name, operator=kind, instructions=1000, by_class={"fma": 400, "integer": 600})
        for name, kind in operators
    )
    counted = Counted(
        instructions=10_000, instructions_median=10_000, by_class={}, bytes_loaded=None, bytes_stored=None, runs=8,
        per_operator=costs, unexplained_ratio=0.1,
    )  # fmt: skip
    return Reading(counted=counted, clocked=None, peak_ram_bytes=None)


def named(
    monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, str]], given: list[tuple[str, str, int]]
) -> list[tuple[str, int | None]]:
    """Names and MACs of what ran, by a file of (name, kind, MACs)."""
    listed = [LitertOperator(name=name, kind=kind, macs=macs) for name, kind, macs in given]
    monkeypatch.setattr(operator_names, "macs_of_litert", lambda path: listed)
    found = name_operators(reading(*ran), Path("model"), "litert").counted
    assert found is not None
    return [(item.name, item.macs) for item in found.per_operator or ()]


def test_litert_operators_have_the_files_names_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [
        ("operator 0", "Static Reshape (NC)"),
        ("operator 1", "Convolution (NHWC, QS8, QC8W) IGEMM"),
        ("node 2", "TRANSPOSE_CONV"),
        ("operator 3", "Convolution (NHWC, QS8, QC8W) DWConv"),
        ("operator 4", "TanH (NC)"),
    ]
    given = [
        ("first", "CONV_2D", 900),
        ("flat", "RESHAPE", 0),
        ("wide", "TRANSPOSE_CONV", 700),
        ("deep", "DEPTHWISE_CONV_2D", 90),
        ("out", "TANH", 0),
    ]
    assert named(monkeypatch, ran, given) == [
        ("operator 0", None), ("first", 900), ("wide", 700), ("deep", 90), ("out", 0),
    ]  # fmt: skip


def test_litert_operators_of_which_the_file_has_another_number_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [("operator 0", "Fully Connected (NC, F32) GEMM"), ("node 9", "GATHER"), ("node 1", "FULLY_CONNECTED")]
    given = [("a", "FULLY_CONNECTED", 5), ("b", "FULLY_CONNECTED", 6), ("c", "FULLY_CONNECTED", 7)]
    assert named(monkeypatch, ran, given) == [("operator 0", None), ("node 9", None), ("b", 6)]


def test_two_operators_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [("operator 0", "Convolution (NHWC, F32) IGEMM"), ("operator 1", "Convolution (NHWC, F32) IGEMM")]
    given = [(f"{WAY}.conv.Conv2d_conv1;1", "CONV_2D", 5), (f"{WAY}.conv.Conv2d_conv1;2", "CONV_2D", 6)]
    assert named(monkeypatch, ran, given) == [("Conv2d_conv1", 5), ("Conv2d_conv1 (2)", 6)]


@pytest.mark.parametrize(
    ("name", "layer", "short"),
    [
        (f"{WAY}.activation.ReLU_relu2;;{WAY}.conv.Conv2d_conv2;1", True, "Conv2d_conv2"),
        (f"{WAY}.activation.ReLU_relu2;;{WAY}.conv.Conv2d_conv2;1", False, "ReLU_relu2"),
        (f"{WAY}.activation.ReLU_relu2;", True, "ReLU_relu2"),
        ("1_deep", True, "1_deep"),
        ("model/dense.1/BiasAdd", True, "BiasAdd"),
        ("", False, ""),
        (";;", True, ";;"),
    ],
)
def test_short_name_is_the_modules_own(name: str, layer: bool, short: str) -> None:
    assert short_name(name, layer=layer) == short


def test_onnx_operators_have_the_files_products_whatever_the_optimizer_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_names, "macs_of_nodes", lambda path: {"conv_0": 64, "gemm": 8})
    ran = reading(("conv_0_token_1", "QLinearConv"), ("fused gemm", "FusedGemm"), ("Transpose", "Transpose"))
    found = name_operators(ran, Path("model"), "onnxruntime").counted
    assert found is not None
    assert [(item.name, item.macs) for item in found.per_operator or ()] == [
        ("conv_0_token_1", 64), ("fused gemm", 8), ("Transpose", None),
    ]  # fmt: skip


def test_file_that_this_machine_cannot_read_leaves_the_operators_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> dict[str, int]:
        raise UsageError("not a model")

    monkeypatch.setattr(operator_names, "macs_of_nodes", refuse)
    before = reading(("conv", "Conv"))
    assert name_operators(before, Path("model"), "onnxruntime") is before


@pytest.mark.parametrize(
    ("by_class", "operator", "peak"),
    [
        ({"fma": 100}, "Conv", 4),
        ({"dot": 100, "fma": 3}, "Convolution (NHWC, QS8, QC8W) IGEMM", 16),
        ({"fma": 100, "mlal": 3}, "QLinearConv", 4),
        ({}, "QLinearConv", 16),
        ({}, "Conv", 4),
    ],
)
def test_roof_is_that_of_the_instructions_that_the_operator_ran(
    by_class: dict[str, int], operator: str, peak: int
) -> None:
    found = position("x", operator, 1000, 1600, PI5, by_class)
    assert found is not None
    assert (found.peak_macs, found.roof_ratio) == (peak, 1600 / peak / 1000)
    assert found.arithmetic_ratio == (sum(by_class.values()) / 1000 if by_class else None)


def test_rows_of_a_result_say_what_is_known_of_an_operator() -> None:
    taken = reading(("conv", "Conv"), ("relu", "Relu"))
    assert taken.counted is not None
    with_macs = OperatorCost(name="conv", operator="Conv", instructions=1000, by_class={"fma": 400}, macs=1600)
    found = counted_cost(
        Reading(
            counted=Counted(
                instructions=10_000, instructions_median=10_000, by_class={}, bytes_loaded=None, bytes_stored=None,
                runs=8, per_operator=(with_macs, *taken.counted.per_operator[1:]), unexplained_ratio=0.8,
            ),
            clocked=None,
            peak_ram_bytes=None,
        ),
        None,
        PI5,
    )  # fmt: skip
    assert found is not None
    assert found.per_operator == (
        {"name": "conv", "operator": "Conv", "instructions": 1000, "by_class": {"fma": 400}, "macs": 1600,
         "roof_ratio": 0.4},
        {"name": "relu", "operator": "Relu", "instructions": 1000, "by_class": {"fma": 400, "integer": 600}},
    )  # fmt: skip
