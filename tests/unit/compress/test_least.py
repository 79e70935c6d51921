"""The least that pruning and distillation leave of a model, from settings alone."""

from __future__ import annotations

import pytest

from edgegen.compress.distill.settings import Distilled
from edgegen.compress.least import least_settings
from edgegen.compress.prune.narrow import scaled
from edgegen.compress.prune.settings import Pruned, Sparse
from edgegen.compress.quantize.qat_settings import Qat
from edgegen.core.errors import BuildError
from edgegen.train.vae import VaeSettings

SETTINGS = VaeSettings(latent=8, side=16, image_channels=1, decoder_channels=(32, 16, 8))


def test_steps_that_move_weights_alone_leave_every_channel() -> None:
    assert least_settings("vae", SETTINGS, [Sparse(), Qat()]) == SETTINGS


def test_a_ratio_that_every_layer_loses_is_what_is_left() -> None:
    asked = Pruned(ratio=0.5, scope="layer", multiple=4)
    assert least_settings("vae", SETTINGS, [asked]) == scaled("vae", SETTINGS, 0.5, 4)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_a_ratio_of_the_whole_leaves_no_layer_less_than_half_of_its_share(ratio: float) -> None:
    least = least_settings("vae", SETTINGS, [Pruned(ratio=ratio, multiple=4)]).decoder_channels
    even = scaled("vae", SETTINGS, 1 - ratio, 4).decoder_channels
    assert all(max(4, own // 2) <= channels <= own for channels, own in zip(least, even, strict=True))


def test_layers_with_a_ratio_of_their_own_keep_it() -> None:
    least = least_settings("vae", SETTINGS, [Pruned(ratio=0.5, ratios={"conv1": 0.0})])
    assert least.decoder_channels[1] == 16
    assert least.decoder_channels[0] < 32


def test_a_student_is_its_settings_and_steps_add_up() -> None:
    student = Distilled(student={"decoder_channels": [8, 8, 4]})
    assert least_settings("vae", SETTINGS, [student]).decoder_channels == (8, 8, 4)
    both = least_settings("vae", SETTINGS, [Pruned(ratio=0.5, scope="layer"), Distilled(width=0.5)])
    assert both == scaled("vae", scaled("vae", SETTINGS, 0.5, 4), 0.5, 4)


def test_a_student_that_would_take_other_tensors_is_refused() -> None:
    with pytest.raises(BuildError, match="other tensors"):
        least_settings("vae", SETTINGS, [Distilled(student={"latent": 4})])
