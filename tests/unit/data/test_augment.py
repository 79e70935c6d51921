"""Augmentation: every operation does what it says, by the generator alone, and is refused where it has no sense."""

import math
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.data.augment import augment, augments, check_augment, moved_images
from edgegen.data.settings import AugmentSettings

torch.set_num_threads(1)

SHAPES = {
    "images": (3, 12, 20),
    "waveforms": (1, 400),
    "spectrograms": (1, 20, 16),
    "series": (3, 50),
    "vectors": (7,),
}
FITTING = [
    ("images", "shift_ratio", 0.3),
    ("images", "rotate_degrees", 40.0),
    ("images", "scale_ratio", 0.3),
    ("images", "flip", True),
    ("images", "noise", 0.2),
    ("waveforms", "time_shift_ratio", 0.3),
    ("waveforms", "gain_db", 12.0),
    ("waveforms", "noise", 0.2),
    ("spectrograms", "time_shift_ratio", 0.3),
    ("spectrograms", "mask_ratio", 0.4),
    ("spectrograms", "noise", 0.2),
    ("series", "time_shift_ratio", 0.3),
    ("series", "magnitude_ratio", 0.3),
    ("series", "noise", 0.2),
    ("vectors", "noise", 0.2),
]
VALUES = {name: value for _, name, value in FITTING}
UNFITTING = [(sort, name) for sort in SHAPES for name in VALUES if not any(row[:2] == (sort, name) for row in FITTING)]


def _kind(sort):
    return "audio" if sort in ("waveforms", "spectrograms") else sort


def _batch(sort, samples=16):
    return torch.rand((samples, *SHAPES[sort]), generator=torch.Generator().manual_seed(1))


def _noise(seed=5):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("sort", "name", "value"), FITTING)
def test_augment_changes_samples_by_the_generator_alone(sort, name, value):
    x, settings = _batch(sort), AugmentSettings(**{name: value})
    kept = x.clone()
    first = augment(x, _kind(sort), settings, _noise())
    torch.manual_seed(99)
    assert torch.equal(first, augment(x, _kind(sort), settings, _noise()))
    assert not torch.equal(first, augment(x, _kind(sort), settings, _noise(6)))
    assert torch.equal(x, kept)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    changed = (first - x).flatten(1).abs().amax(1) > 1e-3
    assert 0.25 <= changed.float().mean() <= 1
    if sort == "images":
        assert first.min() >= 0
        assert first.max() <= 1


@pytest.mark.parametrize("sort", SHAPES)
def test_augment_leaves_samples_as_they_are_at_zero(sort):
    x, noise = _batch(sort), _noise()
    before = noise.get_state()
    assert torch.equal(augment(x, _kind(sort), AugmentSettings(), noise), x)
    assert torch.equal(noise.get_state(), before)


@pytest.mark.parametrize(("sort", "name"), UNFITTING)
def test_augment_refuses_an_operation_that_the_kind_cannot_take(sort, name):
    settings = AugmentSettings(**{name: VALUES[name]})
    with pytest.raises(UsageError, match=name):
        augment(_batch(sort), _kind(sort), settings, _noise())
    with pytest.raises(UsageError, match=name):
        check_augment(settings, _kind(sort), SHAPES[sort])


def test_check_augment_refuses_everything_for_tokens():
    check_augment(AugmentSettings(), "tokens")
    with pytest.raises(UsageError, match="not varied"):
        check_augment(AugmentSettings(noise=0.1), "tokens")


def test_check_augment_takes_what_either_sort_of_audio_takes_when_the_shape_is_not_known():
    check_augment(AugmentSettings(gain_db=3, mask_ratio=0.1), "audio")
    with pytest.raises(UsageError, match="flip"):
        check_augment(AugmentSettings(flip=True), "audio")


@pytest.mark.parametrize("name", [item.name for item in fields(AugmentSettings)])
def test_augments_tells_whether_anything_is_asked_for(name):
    assert augments(AugmentSettings(**{name: VALUES[name]}))
    assert not augments(AugmentSettings())


def test_checking_settings_loads_no_torch():
    code = (
        "import sys; from edgegen.data.augment import augments, check_augment\n"
        "from edgegen.data.settings import AugmentSettings\n"
        "check_augment(AugmentSettings(noise=1.0), 'vectors'); sys.exit('torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def _move(x, *, angle=0.0, size=1.0, shift=(0.0, 0.0), mirrored=False):
    many = len(x)
    return moved_images(
        x,
        torch.full((many,), angle),
        torch.full((many,), size),
        torch.tensor([shift] * many),
        torch.full((many,), mirrored),
    )


def test_moved_images_turn_counterclockwise():
    x = torch.rand(2, 1, 9, 9)
    assert torch.allclose(_move(x, angle=math.pi / 2), torch.rot90(x, 1, (2, 3)), atol=1e-5)


def test_moved_images_stay_rigid_where_height_and_width_differ():
    x = torch.rand(2, 3, 8, 14)
    assert torch.allclose(_move(x, angle=math.pi), x.flip(2, 3), atol=1e-5)
    turned = _move(x, angle=math.pi / 2)
    assert torch.allclose(turned[:, :, :, 3:11], torch.rot90(x[:, :, :, 3:11], 1, (2, 3)), atol=1e-5)


def test_moved_images_are_mirrored():
    x = torch.rand(2, 1, 5, 6)
    assert torch.allclose(_move(x, mirrored=True), x.flip(3), atol=1e-6)


def test_moved_images_shift_right_and_down_and_let_black_in():
    x = torch.rand(1, 1, 10, 20)
    moved = _move(x, shift=(0.25, 0.1))
    assert torch.allclose(moved[:, :, 1:, 5:], x[:, :, :-1, :-5], atol=1e-5)
    assert moved[:, :, 0].abs().max() < 1e-5
    assert moved[..., :5].abs().max() < 1e-5


def test_moved_images_shift_after_they_are_turned():
    x = torch.rand(1, 1, 10, 10)
    expected = _move(_move(x, angle=math.pi / 2), shift=(0.2, 0.0))
    assert torch.allclose(_move(x, angle=math.pi / 2, shift=(0.2, 0.0)), expected, atol=1e-5)


def test_moved_images_grow_about_their_middle():
    x = torch.zeros(1, 1, 16, 16)
    x[:, :, 6:10, 6:10] = 1
    grown = _move(x, size=2.0)
    assert grown.sum() == pytest.approx(4 * x.sum().item(), rel=0.01)
    assert grown[0, 0, 5:11, 5:11].min() == 1


@pytest.mark.parametrize(("sort", "edge"), [("waveforms", "silence"), ("spectrograms", "repeat"), ("series", "repeat")])
def test_time_shift_moves_whole_samples_and_fills_the_gap(sort, edge):
    x = _batch(sort, 64) + 1
    length = x.shape[2]
    shifted = augment(x, _kind(sort), AugmentSettings(time_shift_ratio=0.25), _noise())
    seen = set()
    for before, after in zip(x, shifted, strict=True):
        fitting = [step for step in range(-length // 4, length // 4 + 1) if _is_shift(before, after, step, edge)]
        assert len(fitting) == 1
        seen |= set(fitting)
    assert min(seen) < 0 < max(seen)


def _is_shift(before, after, step, edge):
    length = before.shape[1]
    sources = torch.arange(length) - step
    expected = before[:, sources.clamp(0, length - 1)]
    if edge == "silence":
        expected[:, (sources < 0) | (sources >= length)] = 0
    return torch.equal(after, expected)


def test_gain_stays_within_its_decibels_and_is_one_factor_a_clip():
    x = _batch("waveforms", 200) + 0.5
    factors = augment(x, "audio", AugmentSettings(gain_db=6), _noise()) / x
    assert torch.allclose(factors, factors[:, :, :1].expand_as(factors), rtol=1e-5)
    decibels = 20 * torch.log10(factors[:, 0, 0])
    assert -6.001 <= decibels.min() < -5
    assert 5 < decibels.max() <= 6.001


def test_magnitude_is_one_factor_a_channel():
    x = _batch("series", 100) + 0.5
    factors = augment(x, "series", AugmentSettings(magnitude_ratio=0.2), _noise()) / x
    assert torch.allclose(factors, factors[:, :, :1].expand_as(factors), rtol=1e-5)
    assert 0.8 <= factors.min() < 0.83
    assert 1.17 < factors.max() <= 1.2001
    assert factors[:, :, 0].std(1).mean() > 0.05


def test_masks_blank_one_run_of_frames_and_one_of_bands():
    x = _batch("spectrograms", 200)
    masked = augment(x, "audio", AugmentSettings(mask_ratio=0.25), _noise())
    blank = (masked != x)[:, 0]
    frames, bands = blank.all(2), blank.all(1)
    assert torch.equal(blank, frames[:, :, None] | bands[:, None, :])
    assert (frames.sum(1).max(), bands.sum(1).max()) == (5, 4)
    assert (frames.sum(1).min(), bands.sum(1).min()) == (0, 0)
    for run in (*frames.int(), *bands.int()):
        assert run.diff().abs().sum() + run[0] + run[-1] in (0, 2)
    assert frames[:, 0].any()
    assert frames[:, -1].any()


def test_noise_has_the_deviation_that_is_asked_for():
    x = torch.zeros(500, 40)
    assert augment(x, "vectors", AugmentSettings(noise=0.3), _noise()).std().item() == pytest.approx(0.3, rel=0.02)
