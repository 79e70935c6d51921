"""Where two runs begin to differ, told from tensors alone; and the pages made of it."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.bench.layers import Compared, Shared, compare_tensors, first_diverging, layers_document
from edgegen.bench.layers_page import render_layers, tensor_rows
from edgegen.bench.sensitivity import CurvePoint, LayerFigures, by_loss, sensitivity_document
from edgegen.bench.sensitivity_page import curve_rows, facts, layer_rows, render_sensitivity
from edgegen.compress.quantize.variants import Judged

CHAIN = [
    Shared(name="x", kind="", inputs=()),
    Shared(name="a", kind="MatMul", inputs=("x",)),
    Shared(name="b", kind="Relu", inputs=("a",)),
]


def row(name: str, sqnr_db: float, inputs_db: float | None, kind: str = "k") -> Compared:
    return Compared(name=name, kind=kind, sqnr_db=sqnr_db, max_abs_error=0.1, inputs_db=inputs_db, not_finite=0)


def test_ratios_are_of_all_samples_together() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    rows = compare_tensors(CHAIN, {"x": x, "a": x, "b": x}, {"x": x, "a": x + 0.1, "b": x + 0.1})
    assert rows[0].sqnr_db == 150.0
    assert rows[1].sqnr_db == pytest.approx(10 * np.log10(25 / 0.04), abs=1e-6)
    assert rows[1].drop_db == pytest.approx(150 - rows[1].sqnr_db)
    assert rows[2].drop_db == pytest.approx(0.0)


def test_a_tensor_of_zeros_is_compared_with_what_goes_in() -> None:
    x, zero = np.full((1, 4), 2.0), np.zeros((1, 4))
    rows = compare_tensors(CHAIN, {"x": x, "a": zero}, {"x": x, "a": zero + 0.02})
    assert rows[1].sqnr_db == pytest.approx(40.0)


def test_equal_infinities_are_equal_and_others_are_counted() -> None:
    left, right = np.array([[1.0, -np.inf, 2.0]]), np.array([[1.0, -np.inf, np.nan]])
    (found,) = compare_tensors(CHAIN[:1], {"x": left}, {"x": right})
    assert found.not_finite == 1
    assert found.sqnr_db == 150.0
    assert first_diverging([found], 20.0) is not None


def test_tensors_of_other_sizes_are_left_out() -> None:
    assert not compare_tensors(CHAIN[:1], {"x": np.ones((1, 4))}, {"x": np.ones((1, 5))})


@pytest.mark.parametrize(
    ("rows", "name", "why"),
    [
        ([row("a", 60, None), row("b", 15, 22)], "b", "below 20 dB"),
        ([row("a", 60, None), row("b", 30, 60), row("c", 10, 30)], "b", "30.0 dB below"),
        ([row("a", 150, None), row("b", 45, 150)], None, ""),  # rounding to int8 is no divergence
        ([row("a", 150, None), row("b", 22, 25)], None, ""),
        ([row("a", 40, None), row("b", 25, 40, kind="Slice")], None, ""),  # a part of less power is no error
    ],
)
def test_the_first_that_is_off_is_named_with_its_reason(rows: list[Compared], name: str | None, why: str) -> None:
    found = first_diverging(rows, 20.0)
    assert (found and found[0].name) == name
    assert found is None or why in found[1]


def document(rows: list[Compared]) -> dict:
    return layers_document(
        old="a <b>", new="c", old_kernels="host", new_kernels="core", format_name="onnx", samples=2, threshold_db=20.0,
        rows=rows, skipped=1, notes=["a note"],
    )  # fmt: skip


def test_the_page_of_layers_holds_every_tensor_and_escapes_names() -> None:
    found = document([row("x<y", 150, None), row("off", 5, 150)])
    page = render_layers(found)
    assert "x&lt;y" in page
    assert "a &lt;b&gt;" in page
    assert "first that differs" in page
    assert [item["first"] for item in tensor_rows(found)] == [False, True]
    assert found["tensors_not_shared"] == 1


# -- sensitivity -------------------------------------------------------------------------------------------------------


def judged(value: float, instructions: int | None = None, failed: str = "") -> Judged:
    figures = {} if failed else {"sqnr_db_mean": value}
    return Judged(figures=figures, bytes=1000 + (instructions or 0), instructions=instructions, failed=failed)


def layer(name: str, alone: Judged, restored: Judged, weights: float | None = None) -> LayerFigures:
    return LayerFigures(
        name=name, kind="Gemm", operators=1, fragile="", alone=alone, restored=restored, weights=weights
    )


def sensitivity(counted: int | None = 10) -> dict:
    whole = judged(20.0, counted)
    layers = [
        layer("small", judged(60.0, counted), judged(20.1, counted), 61.0),
        layer("large", judged(21.0, counted), judged(30.0, counted and 15)),
        layer("broken", judged(0, failed="refused"), judged(0, failed="refused")),
    ]
    return sensitivity_document(
        name="n", version="1", target="t", target_requested="t", candidate="static-int8@onnx", metric="sqnr_db_mean",
        samples=4, kernels="core", counted=counted is not None, parent=judged(150.0, 40), whole=whole, layers=layers,
        curve=[CurvePoint(layers=(), judged=whole), CurvePoint(layers=("large",), judged=judged(30.0, counted and 15))],
        notes=[],
    )  # fmt: skip


def test_shares_are_of_error_as_a_power() -> None:
    found = sensitivity()
    assert [item["name"] for item in by_loss(found)] == ["large", "small", "broken"]
    assert by_loss(found)[0]["share_of_error"] == pytest.approx(0.9)  # 10 dB less is a tenth
    assert by_loss(found)[0]["added_instructions"] == 5
    assert layer_rows(found)[2]["alone"] == "not possible"
    assert curve_rows(found)[1]["new"] == "large"
    assert any("large: 90.0 %" in value for _, value in facts(found))


@pytest.mark.parametrize("counted", [10, None])
def test_the_page_of_sensitivity_holds_every_layer(counted: int | None) -> None:
    page = render_sensitivity(sensitivity(counted))
    assert page.count("<svg") == 4
    assert all(name in page for name in ("small", "large", "broken"))
    assert ("instructions an inference" in page) == (counted is not None)
