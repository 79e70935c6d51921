"""Sequences: each file is fed with its own state, and a state begins anew where a sequence does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgegen.pipeline.rolled import as_fed, roll


def _sums(rows: Any) -> dict[str, Any]:
    total = rows["x"] + rows["total"]
    return {"y": 10 * total, "next": total}


@pytest.mark.parametrize(
    ("sequence", "right"),
    [(0, [1, 3, 6, 10, 15]), (2, [1, 3, 3, 7, 5]), (3, [1, 3, 6, 4, 9]), (1, [1, 2, 3, 4, 5]), (9, [1, 3, 6, 10, 15])],
)
def test_roll_feeds_the_state_back_within_a_sequence(sequence: int, right: list[int]) -> None:
    x = np.arange(1.0, 6.0)[:, None]
    given = {"x": x, "total": np.zeros((5, 1))}
    found = roll(_sums, given, {"total": "next"}, sequence)
    assert found["next"][:, 0].tolist() == right
    assert found["y"][:, 0].tolist() == [10 * value for value in right]
    fed = as_fed(given, found, {"total": "next"}, sequence)
    assert np.array_equal(_sums(fed)["next"], found["next"])  # every step alone gives what it gave in its sequence
    assert not given["total"].any()


def test_roll_begins_with_the_state_that_is_given() -> None:
    given = {"x": np.ones((4, 1)), "total": np.full((4, 1), 5.0)}
    assert roll(_sums, given, {"total": "next"}, 2)["next"][:, 0].tolist() == [6, 7, 6, 7]
