"""Fine-tuning through the command: from another project's bundle or folder, frozen, of low rank, on less data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.projects import LETTERS, PROJECT, digits, edgegen, write_project

TEXT = f"""{LETTERS}
[model]
family = "autoregressive"
cell = "transformer"
layers = 1
width = 16
heads = 2

[quality]
samples = 4
second_training = false

[export]
formats = ["onnx"]
"""


def weights(folder: Path) -> dict:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def bundled_weights(folder: Path) -> dict:
    """The trained float model that a build's bundle holds."""
    from safetensors.numpy import load_file

    from edgegen.artifacts.verify import training_files

    return load_file(training_files(folder / "build/null/bundle")["model.safetensors"])


@pytest.fixture
def smaller(built: Path, tmp_path: Path) -> Path:
    """Another project beside the built one, with 60 digits that the first never saw."""
    import numpy as np

    shutil.copytree(built, tmp_path / "first")
    text = PROJECT.replace("[train]\nepochs = 1", '[train]\nepochs = 2\nstart = "../first/build/null"')
    text = text.replace("[quality]\nsamples = 16", "[quality]\nsamples = 16\nsecond_training = false")
    folder = write_project(tmp_path / "second", text)
    images, _ = digits()
    np.savez(folder / "digits.npz", images=images[1000:1060])
    return folder


def test_a_bundle_is_gone_on_from_and_that_is_worth_more_than_beginning_afresh(
    smaller: Path, cache: Path, tmp_path: Path
) -> None:
    tuned = edgegen("train", "--json", cache=cache, cwd=smaller)
    assert tuned.code == 0, tuned.err
    first = bundled_weights(tmp_path / "first")
    assert f"beginning with {len(first)} of {len(first)} weights" in tuned.err
    after = weights(smaller / "build/train")
    assert set(after) == set(first)
    assert any((after[name] != first[name]).any() for name in first)
    again = edgegen("train", "--json", cache=cache, cwd=smaller)
    assert again.document == tuned.document
    assert "beginning with" not in again.err  # nothing ran
    text = (smaller / "edgegen.toml").read_text()
    (smaller / "edgegen.toml").write_text(text.replace('start = "../first/build/null"\n', ""))
    fresh = edgegen("train", "--json", cache=cache, cwd=smaller)
    assert tuned.document["history"][0]["loss"] < 0.9 * fresh.document["history"][0]["loss"]


def test_another_start_of_the_same_name_is_another_training(smaller: Path, cache: Path, tmp_path: Path) -> None:
    """A folder with a model's two files will do, too; what counts is what they hold."""
    there = tmp_path / "elsewhere"
    trained = edgegen("train", "--out", str(there), cache=cache, cwd=tmp_path / "first")
    assert trained.code == 0, trained.err
    arguments = ("--set", 'train.start="../elsewhere"', "--json")
    once = edgegen("train", *arguments, cache=cache, cwd=smaller)
    assert once.code == 0, once.err
    other = ("--set", "train.epochs=2", "--out", str(there))
    assert edgegen("train", *other, cache=cache, cwd=tmp_path / "first").code == 0
    twice = edgegen("train", *arguments, cache=cache, cwd=smaller)
    assert "beginning with" in twice.err
    assert twice.document["history"] != once.document["history"]


def test_frozen_parts_are_those_of_the_bundle_to_the_bit(smaller: Path, cache: Path, tmp_path: Path) -> None:
    done = edgegen("train", "--set", 'train.freeze=["encoder.*"]', cache=cache, cwd=smaller)
    assert done.code == 0, done.err
    first, after = bundled_weights(tmp_path / "first"), weights(smaller / "build/train")
    moved = {name.partition(".")[0] for name in first if (after[name] != first[name]).any()}
    assert moved == {"decoder"}


def test_a_fine_tuned_model_is_built_and_can_be_begun_from_in_turn(smaller: Path, cache: Path, tmp_path: Path) -> None:
    done = edgegen("build", "--target", "null", "--json", cache=cache, cwd=smaller)
    assert done.code == 0, done.err
    third = tmp_path / "third"
    shutil.copytree(smaller, third)
    text = (third / "edgegen.toml").read_text().replace("../first/build/null", "../second/build/null")
    (third / "edgegen.toml").write_text(text)
    again = edgegen("train", cache=cache, cwd=third)
    assert again.code == 0, again.err
    assert "beginning with" in again.err


def test_a_transformer_is_fine_tuned_by_low_rank_updates_on_another_text(cache: Path, tmp_path: Path) -> None:
    import numpy as np

    first = tmp_path / "first"
    first.mkdir()
    (first / "edgegen.toml").write_text(TEXT)
    (first / "letters.txt").write_text("abcd efgh abcd hgfe dcba\n" * 120)
    done = edgegen("build", "--target", "null", cache=cache, cwd=first)
    assert done.code == 0, done.err
    second = tmp_path / "second"
    second.mkdir()
    tuning = 'start = "../first/build/null"\nlora_rank = 2\nlora = ["*.weight"]\nlearning_rate = 0.01'
    (second / "edgegen.toml").write_text(TEXT.replace("epochs = 2", f"epochs = 2\n{tuning}"))
    (second / "letters.txt").write_text("hgfe dcba abcd efgh hgfe\n" * 40)
    tuned = edgegen("build", "--target", "null", cache=cache, cwd=second)
    assert tuned.code == 0, tuned.err
    before, after = bundled_weights(first), bundled_weights(second)
    assert set(after) == set(before)
    changed = {name for name in before if not np.array_equal(after[name], before[name])}
    assert changed
    for name in changed:
        assert before[name].ndim == 2
        assert np.linalg.matrix_rank(after[name] - before[name], tol=1e-4) <= 2
    assert all(name in changed or before[name].ndim != 2 or min(before[name].shape) <= 2 for name in before)


def altered(folder: Path) -> None:
    """One bit of the largest blob: the trained weights."""
    blob = max((folder / "bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)


def test_a_bundle_that_was_tampered_with_is_not_begun_from(smaller: Path, cache: Path, tmp_path: Path) -> None:
    altered(tmp_path / "first/build/null")
    done = edgegen("train", cache=cache, cwd=smaller)
    assert done.code == 5, done.err
    assert "Traceback" not in done.err


def test_a_bundle_without_its_training_says_how_to_get_one(smaller: Path, cache: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert edgegen("build", "--target", "null", "--set", "export.training=false", cache=cache, cwd=first).code == 0
    done = edgegen("train", cache=cache, cwd=smaller)
    assert done.code == 2
    assert "training = true" in done.err


def test_a_bundle_of_another_family_is_refused(smaller: Path, cache: Path) -> None:
    text = (smaller / "edgegen.toml").read_text()
    model = 'family = "gan"\ngenerator_channels = [16, 16, 8]\ncritic_channels = [4, 8]'
    before = 'family = "vae"\ndecoder_channels = [16, 16, 8]\nencoder_channels = [8, 8]'
    assert before in text
    (smaller / "edgegen.toml").write_text(text.replace(before, model))
    done = edgegen("train", cache=cache, cwd=smaller)
    assert done.code == 2, done.err
    assert "another family" in done.err
