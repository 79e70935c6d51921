"""What a changed model is asked, what is true, and how distances are measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgegen.compress.context import StepContext
from edgegen.compress.lessons import Lessons, Question
from edgegen.core.errors import BuildError
from edgegen.data.dataset import load_dataset
from edgegen.data.settings import AugmentSettings
from edgegen.train.deployed import load_deployed
from support.distilled_parents import PARENTS, parent_of


def lessons_of(name: str, folder: Path, *, validation: int = 8, **more: object) -> tuple[Lessons, StepContext]:
    """Lessons of one of the small parents."""
    context = parent_of(name, folder, validation=validation)
    _, family, settings = load_deployed(context.need_parent())
    return Lessons(family, replace(settings, **more), context.data), context


@pytest.mark.parametrize("name", PARENTS)
def test_questions_are_equal_for_equal_seeds_alone(name: str, tmp_path: Path) -> None:
    lessons, context = lessons_of(name, tmp_path)
    parent = load_deployed(context.need_parent())[0]
    first, again, other = (lessons.ask(5, seed, varied=True) for seed in (3, 3, 4))
    assert all(a.equal(b) for a, b in zip(first.inputs, again.inputs, strict=True))
    assert not first.inputs[0].equal(other.inputs[0])
    assert len(lessons.answer(parent, first)) == 5


def test_the_test_part_is_never_looked_at(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    assert context.data is not None
    for file in ("test-x.npy", "test-y.npy"):
        np.save(context.data[file], np.full_like(np.load(context.data[file]), 0))
    module, family, settings = load_deployed(context.need_parent())
    lessons = Lessons(family, settings, context.data)
    train = load_dataset(context.data).train.x
    asked = torch.cat([lessons.ask(64, seed).inputs[0] for seed in range(3)])
    assert {row.tobytes() for row in asked.numpy()} == {row.tobytes() for row in np.asarray(train)}
    assert lessons.likeness(module, module, 1).mean == 0


def test_likeness_is_judged_on_the_validation_part(tmp_path: Path) -> None:
    lessons, _ = lessons_of("classifier", tmp_path)
    assert lessons.dataset is not None
    held = np.asarray(lessons.dataset.validation.x)
    seen: list[torch.Tensor] = []

    class Watching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return torch.zeros(len(images), 3)

    lessons.likeness(Watching(), Watching(), 1)
    assert {row.tobytes() for row in seen[0].numpy()} == {row.tobytes() for row in held}


def test_temperature_flattens_both_and_is_paid_back(tmp_path: Path) -> None:
    lessons, _ = lessons_of("classifier", tmp_path)
    given, wanted = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 3.0]])
    for temperature in (1.0, 4.0):
        first, second = (functional.softmax(each / temperature, dim=1) for each in (wanted, given))
        expected = temperature**2 * float((first * (first / second).log()).sum())
        assert float(lessons.loss(given, wanted, temperature)) == pytest.approx(expected, rel=1e-5)


def test_predicted_numbers_are_measured_in_their_own_deviation(tmp_path: Path) -> None:
    lessons, _ = lessons_of("regressor", tmp_path)
    assert lessons.part is not None
    assert lessons.part.y is not None
    deviation = torch.from_numpy(np.std(lessons.part.y, axis=0)).float()  # one is a hundred times the other
    given = torch.zeros(4, 2)
    assert float(lessons.loss(given, given + deviation)) == pytest.approx(1.0, rel=1e-4)


def test_truth_of_scores_is_weighed_and_smoothed_as_the_family_does(tmp_path: Path) -> None:
    lessons, _ = lessons_of("classifier", tmp_path, class_weights="balanced", label_smoothing=0.1)
    assert lessons.part is not None
    assert lessons.part.y is not None
    counts = np.bincount(lessons.part.y)
    weights = torch.tensor(len(lessons.part.y) / (3 * counts), dtype=torch.float32)
    assert len(set(weights.tolist())) > 1
    given, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    expected = functional.cross_entropy(given, labels, weight=weights, label_smoothing=0.1)
    assert float(lessons.truth_loss(given, Question(inputs=(), truth=labels))) == pytest.approx(float(expected))


def test_truth_of_reconstructions_is_of_normal_samples_alone(tmp_path: Path) -> None:
    lessons, _ = lessons_of("autoencoder", tmp_path)
    x = torch.randn(4, 6)
    given = x.clone()
    given[2] += 5.0  # the only anomaly
    assert float(lessons.truth_loss(given, Question(inputs=(x,), truth=torch.tensor([0, 0, 1, 0])))) == 0
    assert float(lessons.truth_loss(given, Question(inputs=(x,), truth=torch.tensor([1, 0, 0, 0])))) > 1


def test_samples_vary_as_in_training_and_only_in_lessons(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    _, family, settings = load_deployed(context.need_parent())
    varied = Lessons(family, settings, context.data, augmented=AugmentSettings(noise=0.2))
    plain = Lessons(family, settings, context.data)
    assert varied.ask(8, 1).inputs[0].equal(plain.ask(8, 1).inputs[0])
    lesson, again = varied.ask(8, 1, varied=True), varied.ask(8, 1, varied=True)
    assert lesson.inputs[0].equal(again.inputs[0])
    difference = (lesson.inputs[0] - plain.ask(8, 1).inputs[0]).abs().mean()
    assert 0.05 < float(difference) < 0.3
    assert lesson.truth is not None
    assert lesson.truth.equal(plain.ask(8, 1).truth)


def test_written_rows_are_read_in_their_share(tmp_path: Path) -> None:
    lessons, _ = lessons_of("gru", tmp_path)
    lessons.read_too(torch.full((10, 9), 4), 0.75)
    rows = lessons.ask(8, 2, varied=True).inputs[0]
    assert int((rows == 4).all(dim=1).sum()) == 6
    assert not (lessons.ask(8, 2).inputs[0] == 4).all(dim=1).any()


def test_a_family_that_learns_from_data_needs_them(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    _, family, settings = load_deployed(context.need_parent())
    with pytest.raises(BuildError, match="there are none"):
        Lessons(family, settings, None)


def test_generators_know_no_truth(tmp_path: Path) -> None:
    lessons, context = lessons_of("vae", tmp_path)
    module = load_deployed(context.need_parent())[0]
    assert not lessons.knows_truth
    assert lessons.task(module, 1) is None
