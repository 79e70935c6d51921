"""Fronts: coordinates, dominance, hypervolume, and what is ended before it is measured to the end."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from edgegen.bench.front import (
    ALLOWANCE,
    SMALLEST,
    allowed,
    cost_objective,
    dominates,
    front_of,
    hypervolume,
    place,
    quality_objective,
    task_objective,
)
from edgegen.bench.front_screen import Seen, ended, expected_instructions, screened

PARENTS = (
    {
        "instructions": 1000,
        "size_bytes": 400,
        "peak_ram_bytes": 900,
        "quality": {"known": {"accuracy_ratio_mean": 0.8}},
    },
    {"instructions": 800, "size_bytes": 500, "peak_ram_bytes": 700, "quality": {"known": {"accuracy_ratio_mean": 0.9}}},
)


def figures(instructions=1000, size=400, ram=700, **quality):
    part = {name: value for name, value in quality.items() if name.startswith("accuracy")}
    rest = {name: value for name, value in quality.items() if name not in part}
    return {
        "instructions": instructions,
        "size_bytes": size,
        "peak_ram_bytes": ram,
        "quality": {"paired": rest, "known": part},
    }


def test_a_cost_is_one_at_the_reference_and_each_halving_is_worth_the_same():
    cost = cost_objective("instructions", PARENTS)
    assert cost.worst == ALLOWANCE * 1000
    assert cost.best == SMALLEST * 800
    assert cost.coordinate(figures(1100)) == pytest.approx(1.0)
    assert cost.coordinate(figures(1200)) > 1.0
    steps = [cost.coordinate(figures(cells)) for cells in (800, 400, 200, 100)]
    assert [one - other for one, other in itertools.pairwise(steps)] == pytest.approx([steps[0] - steps[1]] * 3)
    assert cost.coordinate(figures(1)) == 0.0
    assert cost.coordinate({"quality": {}}) is None
    assert cost_objective("latency", PARENTS) is None


@pytest.mark.parametrize(
    ("figure", "worst", "values", "coordinates"),
    [
        ("psnr_db_mean", 15.0, (15.0, 37.5, 60.0, 150.0, 10.0), (1.0, 0.5, 0.0, 0.0, 10 / 9)),
        ("kl_divergence_mean", 1.0, (1.0, 0.01, 1e-4, 0.0), (1.0, 0.5, 0.0, 0.0)),
        ("cosine_mean", 0.8, (0.8, 0.9, 1.0), (1.0, 0.5, 0.0)),
    ],
)
def test_closeness_has_its_ends(figure, worst, values, coordinates):
    objective = quality_objective(figure, worst)
    found = [objective.coordinate(figures(**{figure: value})) for value in values]
    assert found == pytest.approx(coordinates)


def test_a_loss_of_the_task_is_relative_and_told_in_half_percents():
    task = task_objective("accuracy_ratio_mean", "higher", 0.1, PARENTS)
    assert task.parent == 0.9
    at = {value: task.coordinate(figures(accuracy_ratio_mean=value)) for value in (0.95, 0.9, 0.898, 0.891, 0.81)}
    assert at[0.95] == at[0.9] == at[0.898] == 0.0
    assert at[0.891] == pytest.approx(0.1)
    assert at[0.81] == pytest.approx(1.0)
    assert task_objective("rmse_mean", "lower", 0.1, PARENTS) is None


def test_the_front_holds_what_no_other_beats_within_the_reference_point():
    points = {
        "a": (0.2, 0.8),
        "b": (0.8, 0.2),
        "worse than a": (0.3, 0.8),
        "as a": (0.2, 0.8),
        "beyond": (0.1, 1.01),
        "between": (0.5, 0.5),
    }
    assert front_of(points) == ["a", "b", "between"]
    assert not allowed(points["beyond"])
    assert not dominates(points["a"], points["as a"])


def _by_inclusion(points):
    """The volume by inclusion and exclusion: exact, and slow."""
    total = 0.0
    for count in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, count):
            corner = [max(values) for values in zip(*chosen, strict=True)]
            total -= (-1) ** count * math.prod(1 - value for value in corner)
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("axes", [2, 4, 5])
def test_the_hypervolume_is_that_of_inclusion_and_exclusion(seed, axes):
    dice = random.Random(seed)
    points = [tuple(dice.random() for _ in range(axes)) for _ in range(9)]
    assert hypervolume(points) == pytest.approx(_by_inclusion(points), abs=1e-12)
    assert hypervolume([*points, points[0], (1.2,) * axes]) == pytest.approx(hypervolume(points))


def test_the_hypervolume_of_a_large_front_is_quick_and_never_falls_by_a_point():
    dice = random.Random(1)
    front, before = [], 0.0
    for _ in range(60):
        # Near a plane, so that hardly any point beats another.
        cut = [dice.expovariate(1) for _ in range(5)]
        front.append(tuple(value / sum(cut) for value in cut))
    for count in (1, 20, 60):
        now = hypervolume(front[:count])
        assert now > before
        before = now
    assert hypervolume([]) == 0.0
    assert hypervolume([(0.0, 0.0)]) == 1.0


OBJECTIVES = (
    cost_objective("instructions", PARENTS),
    cost_objective("size", PARENTS),
    quality_objective("psnr_db_mean", 15.0),
)


def seen(name, instructions, size, here, there, macs=100, kind=("onnx", "static-int8")):
    return Seen(
        name=name,
        kind=kind,
        size_bytes=size,
        macs=macs,
        host=figures(psnr_db_mean=here),
        few=None if instructions is None else figures(instructions, size, psnr_db_mean=there),
    )


DONE = [seen("done", 200, 100, 50.0, 50.0), seen("dear", 900, 300, 55.0, 55.0, macs=100)]


@pytest.mark.parametrize(
    ("item", "is_screened"),
    [
        (seen("beaten", None, 150, 30.0, None, macs=150), True),
        (seen("smaller", None, 90, 30.0, None, macs=150), False),
        (seen("fewer MACs", None, 150, 30.0, None, macs=100), False),
        (seen("not clearly worse", None, 150, 42.0, None, macs=150), False),
        (seen("of a kind that never ran", None, 150, 30.0, None, macs=150, kind=("onnx",)), False),
    ],
)
def test_a_file_is_screened_only_if_it_is_clearly_beaten_in_all_that_is_known(item, is_screened):
    assert bool(screened(item, DONE, OBJECTIVES)) == is_screened
    assert not screened(item, [], OBJECTIVES)


def test_expected_instructions_are_those_of_the_best_of_its_kind():
    assert expected_instructions(seen("x", None, 1, 1.0, None, macs=300), DONE) == 600
    assert expected_instructions(seen("x", None, 1, 1.0, None, kind=("litert",)), DONE) is None


@pytest.mark.parametrize(
    ("item", "is_ended"),
    [
        (seen("beaten", 300, 150, 0.0, 40.0), True),
        (seen("as cheap", 205, 150, 0.0, 40.0), False),
        (seen("a little worse", 300, 150, 0.0, 48.0), False),
        (seen("better than anybody can tell", 300, 150, 0.0, 80.0), False),
        (seen("never ran", None, 150, 0.0, None), False),
    ],
)
def test_a_file_is_ended_after_few_inputs_only_if_it_is_clearly_beaten(item, is_ended):
    reason = ended(item, DONE, OBJECTIVES)
    assert bool(reason) == is_ended
    assert not is_ended or "done" in reason


def test_what_is_told_apart_by_its_task_alone_is_followed():
    objectives = (*OBJECTIVES, task_objective("accuracy_ratio_mean", "higher", 0.1, PARENTS))
    other = Seen(
        name="other",
        kind=(),
        size_bytes=100,
        macs=1,
        host={},
        few=figures(200, 100, psnr_db_mean=50.0, accuracy_ratio_mean=0.8),
    )
    mine = figures(300, 150, psnr_db_mean=40.0, accuracy_ratio_mean=0.85)
    assert not ended(Seen(name="x", kind=(), size_bytes=150, macs=1, host={}, few=mine), [other], objectives)


def test_points_without_a_figure_have_no_place():
    assert place({"instructions": 5}, OBJECTIVES) is None
    assert len(place(figures(psnr_db_mean=30.0), OBJECTIVES)) == 3
