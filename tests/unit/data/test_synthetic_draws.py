"""Sets drawn from a model: the same draw gives the same bytes, and no project can unmark them."""

import numpy as np
import pytest

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.data.synthetic import draw_synthetic
from support.media import gather
from support.told import Told

MODEL = {"model": "digits-vae", "model_sha256": "ab" * 32, "progress": Silent()}


def _latents(samples, seed):
    return {"latent": np.random.Generator(np.random.PCG64(seed)).normal(size=(samples, 4)).astype(np.float32)}


def _decoder(inputs):
    """A small generator: a fixed linear map and a logistic, as a VAE's decoder ends."""
    weights = np.random.Generator(np.random.PCG64(1)).normal(size=(4, 64))
    return (1 / (1 + np.exp(-inputs["latent"] @ weights))).astype(np.float32).reshape(-1, 1, 8, 8)


def _draw(path, *, run=_decoder, samples=30, seed=5, **keys):
    return draw_synthetic(_latents, run, path, samples=samples, seed=seed, **{**MODEL, **keys})


def test_draws_are_read_back_as_synthetic_whatever_the_project_says(tmp_path):
    drawn = _draw(tmp_path / "drawn.npz")
    assert (drawn.samples, drawn.shape, drawn.clipped) == (30, (1, 8, 8), 0)
    collected, arrays = gather(tmp_path, "drawn.npz", synthetic=False)
    assert np.array_equal(arrays["values"], _decoder(_latents(30, 5)))
    assert collected.synthetic
    assert drawn.origin == f"synthetic: drawn from digits-vae (sha256 {'ab' * 32}), seed 5"
    assert collected.origin == f"made up ({drawn.origin})"


def test_draws_of_asked_classes_are_read_back_with_their_labels(tmp_path):
    asked = np.arange(30) % 3 + 4
    _draw(tmp_path / "drawn.npz", labels_of=lambda inputs: asked[: len(inputs["latent"])])
    collected, arrays = gather(tmp_path, "drawn.npz")
    assert collected.classes == ("4", "5", "6")
    assert arrays["labels"].tolist() == [str(label) for label in asked]


@pytest.mark.parametrize("batch", [1, 7, 30, 64])
def test_draws_do_not_depend_on_the_batch(tmp_path, batch):
    _draw(tmp_path / "whole.npz", batch=30)
    _draw(tmp_path / "parts.npz", batch=batch)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "parts.npz") as parts:
        assert np.allclose(whole["images"], parts["images"], atol=1e-6)


def test_equal_draws_give_equal_bytes_and_other_seeds_others(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        _draw(tmp_path / f"{name}.npz", seed=seed)
    a, b, c = (path.read_bytes() for path in sorted(tmp_path.glob("*.npz")))
    assert a == b
    assert a != c


def test_draws_of_sound_are_read_back_as_clips(tmp_path):
    _draw(tmp_path / "a.npz", run=lambda inputs: np.tanh(_decoder(inputs)).reshape(-1, 1, 64), array="values")
    collected, arrays = gather(tmp_path, "a.npz", collect={"rate_hz": 8000})
    assert (collected.kind, collected.synthetic, arrays["values"].shape) == ("audio", True, (30, 1, 64))


def test_values_that_leave_the_range_by_rounding_are_clipped_and_counted(tmp_path):
    told = Told()

    def run(inputs):
        values = _decoder(inputs)
        values[:, 0, 0, 0] = 1.005
        return values

    assert _draw(tmp_path / "a.npz", run=run, progress=told).clipped == 30
    assert "30 of 1920 values were clipped" in told.text
    assert gather(tmp_path, "a.npz")[1]["values"].max() == 1.0


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda inputs: _decoder(inputs) * 2, "leave the range"),
        (lambda inputs: _decoder(inputs) * np.float32(np.nan), "leave the range"),
        (lambda inputs: _decoder(inputs)[:-1], "does not draw"),
        (lambda inputs: _decoder(inputs)[:, 0], "does not draw"),
        (lambda inputs: _decoder(inputs).astype(np.int64), "does not draw"),
        (lambda inputs: _decoder(inputs)[..., : len(inputs["latent"])], "does not draw"),
    ],
)
def test_a_model_that_draws_something_else_leaves_no_file(tmp_path, run, says):
    with pytest.raises(BuildError, match=says):
        _draw(tmp_path / "a.npz", run=run, batch=7)
    assert not list(tmp_path.iterdir())


def test_a_sampler_of_another_number_of_rows_is_refused(tmp_path):
    with pytest.raises(BuildError, match="number of rows"):
        draw_synthetic(
            lambda samples, seed: _latents(samples - 1, seed), _decoder, tmp_path / "a.npz", samples=9, seed=0, **MODEL
        )


@pytest.mark.parametrize("keys", [{"samples": 0}, {"samples": 10**9, "batch": 10}, {"batch": 0}, {"model": "x" * 5000}])
def test_what_cannot_be_drawn_is_refused(tmp_path, keys):
    big = keys.get("samples", 0) == 10**9
    sampler = (lambda samples, seed: {"latent": np.broadcast_to(np.float32(0), (samples, 4))}) if big else _latents
    with pytest.raises(UsageError):
        draw_synthetic(sampler, _decoder, tmp_path / "a.npz", **{"samples": 30, "seed": 0, **MODEL, **keys})
    assert not list(tmp_path.iterdir())
