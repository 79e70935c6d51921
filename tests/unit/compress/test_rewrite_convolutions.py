"""Transposed convolutions and their kin say the same in every geometry, or say why they stay."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from rewrite_models import after, kinds, saved, weights

from edgegen.compress.rewrite.found import Asked
from edgegen.compress.rewrite.onnx_neighbours import widen
from edgegen.compress.rewrite.onnx_transposed import few_outputs, repeated_pixels, transposed
from edgegen.compress.rewrite.transposed import Stretch, layouts

ROUNDING = 3e-6
axes = st.fixed_dictionaries(
    {
        "length": st.integers(1, 6),
        "taps": st.integers(1, 5),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "front": st.integers(0, 4),
        "behind": st.integers(0, 4),
        "more": st.integers(0, 3),
    }
)


def _transposed_model(path: Path, sides: list[dict[str, int]], group: int, bias: bool, **given: Any) -> Path | None:
    """A ConvTranspose, or None where its output would be empty or the runtime refuses its output padding."""
    spans = [side["dilation"] * (side["taps"] - 1) + 1 for side in sides]
    lengths = [
        side["stride"] * (side["length"] - 1) + side["more"] + span - side["front"] - side["behind"]
        for side, span in zip(sides, spans, strict=True)
    ]
    if min(lengths) < 1 or any(side["more"] >= side["stride"] for side in sides):
        return None
    shape = [1, 2 * group, *(side["length"] for side in sides)]
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"] if bias else ["x", "w"],
        ["y"],
        group=group,
        strides=[side["stride"] for side in sides],
        dilations=[side["dilation"] for side in sides],
        pads=[*(side["front"] for side in sides), *(side["behind"] for side in sides)],
        output_padding=[side["more"] for side in sides],
        **given,
    )
    constants = {"w": weights(2 * group, 3, *(side["taps"] for side in sides)), "b": weights(3 * group)}
    if not bias:
        del constants["b"]
    return saved(path, [node], constants, {"x": shape}, {"y": [1, 3 * group, *lengths]})


@settings(max_examples=60, deadline=None)
@given(st.lists(axes, min_size=1, max_size=2), st.integers(1, 2), st.booleans(), st.sampled_from(["none", "fewest"]))
def test_a_transposed_convolution_equals_its_rearranged_convolution(
    sides: list[dict[str, int]], group: int, bias: bool, crops: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = _transposed_model(Path(name) / "model.onnx", sides, group, bias)
        if path is None:
            return
        graph, found, moved = after(transposed, path, crops=crops)
        assert found.places == ["y"]
        assert "ConvTranspose" not in kinds(graph)
        assert moved < ROUNDING


@settings(max_examples=200, deadline=None)
@given(axes)
def test_the_layout_with_fewest_products_wastes_none_of_a_plain_kernel(side: dict[str, int]) -> None:
    span = side["dilation"] * (side["taps"] - 1) + 1
    output = side["stride"] * (side["length"] - 1) + span
    axis = Stretch(
        length=side["length"],
        taps=side["taps"],
        stride=side["stride"],
        dilation=side["dilation"],
        before=0,
        output=output,
    )
    whole, fewest = (laid[0] for laid in layouts([axis]))
    for laid in (whole, fewest):
        assert laid.positions * laid.block >= laid.output + laid.crop
        assert min(laid.pads) >= 0
    assert fewest.positions * fewest.taps <= whole.positions * whole.taps
    if side["length"] > 1:
        assert fewest.taps <= -(-span // side["stride"])


def test_a_transposed_convolution_in_three_directions(tmp_path: Path) -> None:
    side = {"length": 2, "taps": 3, "stride": 2, "dilation": 1, "front": 1, "behind": 1, "more": 1}
    path = _transposed_model(tmp_path / "model.onnx", [side] * 3, 1, True)
    assert path is not None
    graph, found, moved = after(transposed, path, crops="fewest")
    assert found.places
    assert moved < ROUNDING
    assert "Transpose" in kinds(graph)


@pytest.mark.parametrize("kind", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_that_the_runtime_finds_itself(kind: str, tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], auto_pad=kind)
    path = saved(tmp_path / "model.onnx", [node], {"w": weights(2, 3, 3, 4)}, {"x": [1, 2, 5, 4]}, {"y": [1, 3, 10, 8]})
    _, found, moved = after(transposed, path, crops="fewest")
    assert found.places
    assert moved < ROUNDING


def test_an_activation_moves_before_the_rearrangement(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    path = saved(tmp_path / "model.onnx", nodes, {"w": weights(4, 3, 4, 4)}, {"x": [1, 4, 5, 5]}, {"y": [1, 3, 10, 10]})
    graph, _, moved = after(transposed, path, crops="fewest")
    assert kinds(graph) == ["Conv", "Relu", "DepthToSpace", "Slice"]
    assert moved < ROUNDING


def test_weights_that_are_computed_stay(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
    path = saved(tmp_path / "model.onnx", [node], {}, {"x": [1, 1, 3, 3], "w": [1, 2, 2, 2]}, {"y": [1, 2, 4, 4]})
    graph, found, _ = after(transposed, path, crops="fewest")
    assert not found.places
    assert found.refused == ["y: its weights are no constant"]
    assert kinds(graph) == ["ConvTranspose"]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(0, 2),
    st.sampled_from(["none", "fewest", "transposed"]),
    st.integers(1, 2),
)
def test_a_convolution_of_repeated_pixels_equals_one_of_the_pixels(
    lengths: tuple[int, int], scales: tuple[int, int], kernel: tuple[int, int], pad: int, into: str, group: int
) -> None:
    middle = [length * scale for length, scale in zip(lengths, scales, strict=True)]
    output = [side + 2 * pad - taps + 1 for side, taps in zip(middle, kernel, strict=True)]
    if min(output) < 1:
        return
    nodes = [
        helper.make_node(
            "Resize",
            ["x", "", "s"],
            ["h"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Conv", ["h", "w", "b"], ["y"], pads=[pad] * 4, group=group),
    ]
    constants = {
        "s": np.array([1, 1, *scales], dtype=np.float32),
        "w": weights(3 * group, 2, *kernel),
        "b": weights(3 * group),
    }
    with tempfile.TemporaryDirectory() as name:
        path = saved(
            Path(name) / "model.onnx", nodes, constants, {"x": [1, 2 * group, *lengths]}, {"y": [1, 3 * group, *output]}
        )
        graph, found, moved = after(repeated_pixels, path, into=into)
        if into == "transposed" and any(pad > taps - 1 for taps in kernel):
            assert found.refused
            return
        assert found.places == ["y"]
        assert "Resize" not in kinds(graph)
        assert moved < ROUNDING


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, "interpolates"),
        ({"coordinate_transformation_mode": "align_corners"}, "rounds otherwise"),
        ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, "rounds otherwise"),
    ],
)
def test_a_resize_that_does_not_repeat_stays(more: dict[str, str], told: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["h"], **{"mode": "nearest"} | more),
        helper.make_node("Conv", ["h", "w"], ["y"]),
    ]
    constants = {"s": np.array([1, 1, 2, 2], dtype=np.float32), "w": weights(2, 2, 3, 3)}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 2, 3, 3]}, {"y": [1, 2, 4, 4]})
    _, found, _ = after(repeated_pixels, path, into="fewest")
    assert not found.places
    assert told in found.refused[0]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(3, 7),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2]),
)
def test_few_outputs_say_the_same_as_a_transposed_convolution(
    length: int, taps: int, dilation: int, pad: int, group: int, rank: int
) -> None:
    span = dilation * (taps - 1)
    output = length + 2 * pad - span
    if output < 1 or taps == 1:
        return
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], pads=[pad] * 2 * rank, dilations=[dilation] * rank, group=group
    )
    constants = {"w": weights(group, 4, *[taps] * rank), "b": weights(group)}
    with tempfile.TemporaryDirectory() as name:
        path = saved(
            Path(name) / "model.onnx",
            [node],
            constants,
            {"x": [1, 4 * group, *[length] * rank]},
            {"y": [1, group, *[output] * rank]},
        )
        graph, found, moved = after(few_outputs, path)
        if pad > span:
            assert "pads more" in found.refused[0]
            return
        assert kinds(graph) == ["ConvTranspose"]
        assert moved < ROUNDING


def test_few_outputs_stay_where_integers_come_and_nobody_counts(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    path = saved(tmp_path / "model.onnx", [node], {"w": weights(1, 8, 3, 3)}, {"x": [1, 8, 6, 6]}, {"y": [1, 1, 6, 6]})
    graph, found, _ = after(few_outputs, path, Asked(unseen_integers=True))
    assert kinds(graph) == ["Conv"]
    assert "in float" in found.refused[0]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(8, 13),
    st.integers(1, 5),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 2),
    st.sampled_from([2, 4]),
)
def test_neighbours_computed_at_once_are_the_same(
    length: int, taps: int, stride: int, dilation: int, pad: int, block: int
) -> None:
    output = (length + 2 * pad - dilation * (taps - 1) - 1) // stride + 1
    if output < 2 * block:
        return
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], pads=[pad] * 4, strides=[stride] * 2, dilations=[dilation] * 2, group=3
    )
    constants = {"w": weights(3, 1, taps, taps), "b": weights(3)}
    with tempfile.TemporaryDirectory() as name:
        path = saved(
            Path(name) / "model.onnx", [node], constants, {"x": [1, 3, length, length]}, {"y": [1, 3, output, output]}
        )
        _, found, moved = after(widen, path, block=block)
        assert found.places == ["y"]
        assert moved < ROUNDING
