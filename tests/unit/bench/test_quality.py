"""Quality of outputs: worst of several outputs, refusals, rounding."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.bench.quality import cross_isa_quality, paired_quality, task_quality
from edgegen.core.errors import BuildError

IMAGES = np.random.default_rng(0).random((8, 1, 12, 12)).astype(np.float32)


def test_identical_outputs_reach_the_cap() -> None:
    figures = paired_quality({"image": IMAGES}, {"image": IMAGES})
    assert figures["psnr_db_mean"] == figures["psnr_db_worst5"] == 150.0
    assert figures["cosine_mean"] == 1.0


def test_of_several_outputs_the_worst_counts() -> None:
    noisy = IMAGES + np.float32(0.1)
    both = paired_quality({"a": IMAGES, "b": IMAGES}, {"a": IMAGES, "b": noisy})
    assert both["psnr_db_mean"] == paired_quality({"b": IMAGES}, {"b": noisy})["psnr_db_mean"]
    assert both["mse_mean"] == paired_quality({"b": IMAGES}, {"b": noisy})["mse_mean"]


@pytest.mark.parametrize(
    ("produced", "says"),
    [
        ({}, "no such output"),
        ({"image": IMAGES[:4]}, "does not match"),
        ({"image": IMAGES * np.nan}, "not finite"),
        ({"image": IMAGES + np.float32(np.inf)}, "not finite"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(produced: dict, says: str) -> None:
    with pytest.raises(BuildError, match=says):
        paired_quality({"image": IMAGES}, produced)


def test_task_figures_come_from_the_network() -> None:
    def logits(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1)[:, :10] * 10

    same = task_quality({"image": IMAGES}, {"image": IMAGES}, logits)
    assert same["top1_agreement_ratio_mean"] == 1.0
    assert same["kl_divergence_mean"] == 0.0
    other = task_quality({"image": IMAGES}, {"image": IMAGES[::-1].copy()}, logits)
    assert other["kl_divergence_mean"] > 0


def test_cross_isa_names_the_largest_difference() -> None:
    shifted = IMAGES.copy()
    shifted[3, 0, 5, 5] += 0.25
    figures = cross_isa_quality({"image": IMAGES}, {"image": shifted})
    assert figures["max_abs_difference"] == pytest.approx(0.25, rel=1e-5)
    assert figures["psnr_db_worst5"] < figures["psnr_db_mean"]
