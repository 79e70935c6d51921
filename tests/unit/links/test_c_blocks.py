"""Blocks of a compiled model: rounding as TFLite's QUANTIZE, and every tensor at its offset."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.core.c_model import CTensor
from edgegen.links.c_blocks import packed, quantized_array, real, stored, unpacked


def tensor(name: str, dtype: str, shape: tuple[int, ...], offset: int, size: int, scale: float | None) -> CTensor:
    return CTensor(
        name=name,
        dtype=dtype,  # type: ignore[arg-type]
        shape=shape,
        scale=scale,
        zero_point=None if scale is None else -3,
        offset=offset,
        bytes=size,
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.5, 1), (-0.5, -1), (1.49, 1), (2.5, 3), (-2.5, -3), (1e9, 127), (-1e9, -128), (np.inf, 127)],
)
def test_quantizing_rounds_halves_away_from_zero_and_clamps(value: float, wanted: int) -> None:
    assert quantized_array(np.array([value], np.float32), 1.0, 0, "int8").tolist() == [wanted]


def test_number_just_below_a_half_is_not_rounded_up() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert quantized_array(np.array([below], np.float32), 1.0, 0, "int8").tolist() == [0]


def test_stored_numbers_come_back_within_half_a_step() -> None:
    told = tensor("x", "int16", (1, 200), 0, 400, 0.001)
    numbers = np.random.default_rng(2).uniform(-30, 30, (4, 200)).astype(np.float32)
    kept = stored(told, numbers)
    assert kept.dtype == np.int16
    assert np.abs(real(told, kept) - numbers).max() <= 0.0005 + 1e-5


def test_what_is_not_quantized_stays_as_it_is() -> None:
    told = tensor("token", "int32", (1, 1), 0, 4, None)
    assert stored(told, np.array([[70000]])).tolist() == [[70000]]
    assert real(told, np.array([[5]], np.int32)).dtype == np.int32


def test_block_has_every_tensor_at_its_offset() -> None:
    tensors = (tensor("a", "int8", (1, 3), 0, 3, 0.5), tensor("b", "int32", (1, 2), 4, 8, None))
    arrays = {"a": np.array([[1, -2, 3]], np.int8), "b": np.array([[-1, 1 << 20]], np.int32)}
    block = packed(tensors, arrays)
    assert block == bytes([1, 254, 3, 0]) + (-1).to_bytes(4, "little", signed=True) + (1 << 20).to_bytes(4, "little")
    again = unpacked(tensors, block)
    assert {name: array.tolist() for name, array in again.items()} == {k: v.tolist() for k, v in arrays.items()}
