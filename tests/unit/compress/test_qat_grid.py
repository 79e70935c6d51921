"""Fake quantization: the grid of the deployed quantizers, and gradients that pass through it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edgegen.compress.quantize.onnx_weights import Weight, quantized
from edgegen.compress.quantize.qat_grid import ActivationGrid, WeightGrid
from edgegen.compress.quantize.rounding import block_scales, nearest


def _weight(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).standard_normal(shape, dtype=np.float32))


def _grid(weight: Tensor, **settings: object) -> WeightGrid:
    known = {"bits": 4, "axis": 0, "block": 0, "per_tensor": False, "norm": None}
    return WeightGrid(weight, **{**known, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("per_tensor", [False, True])
def test_grid_at_8_bits_is_that_of_the_onnx_quantizer(per_tensor: bool) -> None:
    weight = _weight(6, 3, 3, 3)
    grid = _grid(weight, bits=8, per_tensor=per_tensor)
    grid.plain()
    tensor = numpy_helper.from_array(weight.numpy(), "w")
    integers, scale, axis = quantized(Weight(tensor=tensor, axis=0), 10**6 if per_tensor else 1)
    expected = integers * (scale if axis is None else scale.reshape(-1, 1, 1, 1))
    assert grid.scales == (1 if per_tensor else 6)
    np.testing.assert_allclose(grid(weight).detach().numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("block", [8, 12, 0])
def test_rounding_once_more_changes_nothing(block: int) -> None:
    """Whatever was learned, a quantizer that looks at the largest weight of a block finds the same grid."""
    weight = _weight(5, 20)
    grid = _grid(weight, block=block)
    with torch.no_grad():
        grid.share.uniform_(0.5, 1.1, generator=torch.Generator().manual_seed(1))
        rounded = grid(weight).numpy()
    padded = np.pad(rounded, ((0, 0), (0, -20 % block if block else 0)))
    scales = block_scales(padded, 4, block or 20, search=True)
    integers = nearest(padded, scales, 4)
    again = (integers.reshape(5, -1, block or 20) * scales[:, :, None]).reshape(padded.shape)
    np.testing.assert_allclose(again, padded, rtol=1e-5, atol=1e-7)
    assert len(np.unique(np.abs(integers))) == 8


def test_the_start_is_no_worse_than_the_largest_weights_scale() -> None:
    weight = _weight(4, 64)
    grid = _grid(weight)
    searched = float((grid(weight) - weight).detach().square().sum())
    grid.plain()
    plain = float((grid(weight) - weight).detach().square().sum())
    assert searched < 0.9 * plain


def test_gradients_pass_to_weights_and_scales() -> None:
    weight = nn.Parameter(torch.tensor([[0.9, 0.3, -1.0, 0.05]]))
    grid = _grid(weight)
    with torch.no_grad():
        grid.share.fill_(0.5)  # 0.9 and -1.0 lie outside
    grid(weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[0.0, 1.0, 0.0, 1.0]]
    # Esser et al., equation 3: the integer where it was cut off, else the integer less what was rounded; times the
    # scale that a share of one has, 1 / 7.
    steps = weight.detach() * 14
    inside = (steps.round() - steps)[0, [1, 3]].sum()
    assert float(grid.share.grad) == pytest.approx(float(7 - 7 + inside) / 7, abs=1e-5)


def test_weights_that_were_pruned_stay_zero() -> None:
    weight = _weight(4, 16)
    weight[:, ::2] = 0
    grid = _grid(weight)
    moved = grid(weight + 0.3)
    assert not moved[:, ::2].any()
    assert moved[:, 1::2].any()


def test_a_norm_behind_decides_what_is_rounded() -> None:
    """With one scale for all channels the product with the norm's factor lies on the grid, not the weight."""
    weight, norm = _weight(4, 1, 3, 3), nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        norm.running_var.copy_(torch.tensor([0.01, 1.0, 4.0, 100.0]))
        norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
    factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
    grid = _grid(weight, bits=8, per_tensor=True, norm=norm)
    grid.plain()
    folded = (grid(weight).detach() * factor.reshape(-1, 1, 1, 1))[:3].numpy()
    scale = float((weight[:3].movedim(0, -1) * factor[:3]).abs().max()) / 127
    np.testing.assert_allclose(folded / scale, np.rint(folded / scale), atol=1e-3)
    assert np.isfinite(grid(weight).detach().numpy()).all()  # the silenced channel too
    grid(weight).square().sum().backward()
    assert norm.weight.grad is not None
    assert norm.weight.grad.isfinite().all()


def test_activations_are_rounded_within_what_was_seen() -> None:
    grid, x = ActivationGrid(), torch.linspace(-1, 3, 1001)
    grid.watching = True
    rounded = grid(x)
    grid.watching = False
    assert len(rounded.unique()) == 256
    assert float((rounded - x).abs().max()) <= 4 / 255 / 2 + 1e-6
    assert 0.0 in rounded.tolist()
    with torch.no_grad():
        assert float(grid(torch.tensor([9.0]))) == pytest.approx(3.0, abs=4 / 255)
    assert grid(torch.tensor([3, 4])).tolist() == [3, 4]


def test_a_range_widens_at_once_and_narrows_slowly() -> None:
    grid = ActivationGrid()
    grid(torch.tensor([-1.0, 1.0]))
    grid(torch.tensor([-1.0, 5.0]))
    assert float(grid.high) == 5.0
    grid(torch.tensor([-1.0, 1.0]))
    assert 4.5 < float(grid.high) < 5.0
    with torch.no_grad():
        grid(torch.tensor([-9.0, 9.0]))
    assert float(grid.low) == -1.0
