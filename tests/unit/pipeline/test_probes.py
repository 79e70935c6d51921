"""What judges probes where a project has no validation part: held back of the training part, never of the test part."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.data.dataset import Part
from edgegen.pipeline.probes import HELD_BACK_RATIO, _held_back


def part(samples: int, groups: list[str] | None = None) -> Part:
    x = np.arange(samples, dtype=np.float32)[:, None]
    return Part(x=x, y=np.arange(samples), group=None if groups is None else np.array(groups))


@pytest.mark.parametrize("kind", ["images", "vectors", "audio", "series", "tokens"])
def test_every_sample_is_either_learnt_from_or_judges(kind):
    learnt, held = _held_back(part(200), kind, 3)
    assert len(held) == HELD_BACK_RATIO * 200
    assert sorted([*learnt.y, *held.y]) == list(range(200))
    assert np.array_equal(held.x[:, 0], held.y)


def test_neighbours_of_a_series_stay_together():
    _, held = _held_back(part(200), "series", 3)
    assert held.y.tolist() == list(range(180, 200))


def test_samples_in_the_order_of_their_classes_are_drawn():
    _, held = _held_back(part(200), "images", 3)
    assert min(held.y) < 100 < max(held.y)


def test_groups_stay_whole_and_one_is_left_to_learn_from():
    learnt, held = _held_back(part(30, ["a"] * 10 + ["b"] * 10 + ["c"] * 10), "vectors", 3)
    assert len(set(held.group)) == 1
    assert not set(held.group) & set(learnt.group)
    learnt, held = _held_back(part(20, ["a"] * 19 + ["b"]), "vectors", 3)
    assert len(set(learnt.group)) == len(set(held.group)) == 1


def test_a_single_group_is_divided():
    learnt, held = _held_back(part(100, ["train"] * 100), "series", 3)
    assert (len(learnt), len(held)) == (90, 10)
