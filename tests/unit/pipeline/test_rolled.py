"""Sequences rolled out by whoever runs a step, and the inputs that were really fed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgegen.pipeline.rolled import as_fed, roll

STATE = {"s": "t"}


def _step(rows: dict[str, Any]) -> dict[str, Any]:
    """t = s + x, y = 2 t: rows know nothing of each other."""
    following = rows["s"] + rows["x"]
    return {"y": 2 * following, "t": following}


@pytest.mark.parametrize(
    ("sequence", "sums"),
    [
        (0, [1, 3, 6, 10, 15]),
        (2, [1, 3, 3, 7, 5]),  # the last is shorter
        (1, [1, 2, 3, 4, 5]),
        (9, [1, 3, 6, 10, 15]),
    ],
)
def test_roll_feeds_every_sequence_its_own_state(sequence: int, sums: list[int]) -> None:
    inputs = {"x": np.arange(1, 6, dtype=np.float32)[:, None], "s": np.zeros((5, 1), np.float32)}
    outputs = roll(_step, inputs, STATE, sequence)
    assert outputs["t"].ravel().tolist() == sums
    assert outputs["y"].ravel().tolist() == [2 * value for value in sums]
    fed = as_fed(inputs, outputs, STATE, sequence)
    # Each row alone, with what was fed to it, gives the same again: so golden vectors hold.
    assert _step(fed)["t"].ravel().tolist() == sums


def test_roll_begins_with_the_state_that_is_given() -> None:
    inputs = {"x": np.ones((4, 1), np.float32), "s": np.array([[5], [9], [7], [9]], np.float32)}
    assert roll(_step, inputs, STATE, 2)["t"].ravel().tolist() == [6, 7, 8, 9]
