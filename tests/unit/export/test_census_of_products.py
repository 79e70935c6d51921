"""The work of a matrix product is that of its operands: vectors, and batches that broadcast, included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgegen.export.census import census
from edgegen.export.host_runtime import run_on_host
from edgegen.export.intake import take_in
from support.onnx_cases import node_cases
from support.onnx_models import write_model


def _macs(folder: Path, operator: str, left: list[int], right: list[int], **attributes: int) -> int:
    node = helper.make_node(operator, ["a", "b"], ["y"], **attributes)
    return census(write_model(folder, [node], [], {"a": left, "b": right}, ["y"]) / "model.onnx", "onnx").macs


@pytest.mark.parametrize(
    ("left", "right", "macs"),
    [
        ([3, 4], [4, 5], 3 * 4 * 5),
        ([4], [4], 4),
        ([4], [4, 5], 4 * 5),
        ([3, 4], [4], 3 * 4),
        ([4], [2, 4, 5], 2 * 4 * 5),
        ([2, 3, 4], [4], 2 * 3 * 4),
        ([2, 3, 4], [4, 5], 2 * 3 * 4 * 5),
        ([3, 4], [2, 4, 5], 2 * 3 * 4 * 5),
        ([2, 3, 4], [2, 4, 5], 2 * 3 * 4 * 5),
        ([1, 3, 4], [6, 4, 5], 6 * 3 * 4 * 5),
        ([2, 1, 3, 4], [1, 6, 4, 5], 2 * 6 * 3 * 4 * 5),
    ],
)
def test_census_counts_a_product_of_any_operands(left: list[int], right: list[int], macs: int, tmp_path: Path) -> None:
    assert _macs(tmp_path, "MatMul", left, right) == macs


def test_census_counts_a_product_of_transposed_operands(tmp_path: Path) -> None:
    assert _macs(tmp_path, "Gemm", [4, 3], [5, 4], transA=1, transB=1) == 3 * 4 * 5


def test_census_counts_products_of_a_body_whose_shapes_rest_on_outer_constants(tmp_path: Path) -> None:
    (case,) = [case for case in node_cases() if case.name == "test_linear_attention_linear_expanded"]
    (tmp_path / "case.onnx").write_bytes(case.model)
    given = {name: array if len(array) == 1 else array[None] for name, array in case.inputs.items()}
    np.savez(tmp_path / "samples.npz", **given)
    taken = tmp_path / "taken"
    taken.mkdir()
    take_in(str(tmp_path / "case.onnx"), {}, "onnx", str(taken), samples=str(tmp_path / "samples.npz"))
    batch, heads, width = 2, 4, 8
    # A step of the Scan: the product of a key's column and a value's row, and of the query's row and the state.
    assert census(taken / "model.onnx", "onnx").macs == 2 * batch * heads * width * width
    given = run_on_host(taken / "model.onnx", "onnx", given)
    np.testing.assert_allclose(given["output"][0], case.outputs[0], rtol=case.rtol, atol=case.atol)
