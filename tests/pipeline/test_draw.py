"""Sets drawn from a project's own generator: labelled where a class was asked for, and synthetic for ever after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.projects import PROJECT, Ran, edgegen, write_project

CONDITIONAL = PROJECT.replace('family = "vae"', 'family = "vae"\nconditional = true').replace(
    'recipes = ["float32", "weight-int8", "static-int8"]',
    'recipes = ["float32", "pruned"]\n\n[compress.pruned]\nsteps = 20',
)
AGAIN = """
[project]
name = "drawn-digits"
seed = 3

[model]
family = "gan"
generator_channels = [16, 8, 4]
critic_channels = [4, 8]
conditional = true

[data]
source = "drawn.npz"
origin = "drawn"
licence = "MIT"

[data.split]
by = "random"
test_ratio = 0.2

[data.check]
duplicates = "say"

[train]
epochs = 1

[compress]
recipes = ["float32", "pruned", "static-int8"]

[compress.pruned]
steps = 20

[export]
formats = ["onnx"]

[quality]
samples = 16
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A conditional project with ``drawn.npz``: 300 draws of its own generator."""
    folder = write_project(tmp_path_factory.mktemp("draw") / "project", CONDITIONAL)
    done = edgegen("data", "draw", "drawn.npz", "--samples", "300", "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    return folder


def _build(folder: Path, cache: Path, *more: str) -> Ran:
    return edgegen("build", "--target", "null", "--json", *more, cache=cache, cwd=folder)


def test_a_conditional_project_builds_with_pruning(drawn: Path, cache: Path) -> None:
    built = _build(drawn, cache)
    assert built.code == 0, built.err
    candidates = {item["name"]: item for item in built.document["candidates"]}
    assert candidates["pruned@onnx"]["size_bytes"] < candidates["float32@onnx"]["size_bytes"]


def test_draws_of_a_conditional_model_come_with_the_classes_that_were_asked_for(drawn: Path) -> None:
    with np.load(drawn / "drawn.npz") as arrays:
        assert arrays["images"].shape == (300, 1, 28, 28)
        assert np.array_equal(np.bincount(arrays["labels"]), [30] * 10)
        assert int(arrays["synthetic"]) == 1


def test_a_longer_draw_begins_with_the_shorter_one(drawn: Path, cache: Path) -> None:
    done = edgegen("data", "draw", "longer.npz", "--samples", "310", cache=cache, cwd=drawn)
    assert done.code == 0, done.err
    with np.load(drawn / "longer.npz") as longer, np.load(drawn / "drawn.npz") as arrays:
        assert np.array_equal(longer["labels"][:300], arrays["labels"])
        assert np.allclose(longer["images"][:300], arrays["images"], atol=1e-6)


def test_a_model_of_drawn_samples_is_synthetic_whatever_its_project_says(
    drawn: Path, cache: Path, tmp_path: Path
) -> None:
    """A GAN learns from the VAE's draws, is built, and its bundle's contract says what it learned from."""
    (tmp_path / "edgegen.toml").write_text(AGAIN)
    (tmp_path / "drawn.npz").write_bytes((drawn / "drawn.npz").read_bytes())
    built = _build(tmp_path, cache, "--set", "data.synthetic=false")
    assert built.code == 0, built.err
    contract = json.loads((tmp_path / "build" / "null" / "files" / "preprocessing.json").read_text())
    assert contract["data"]["synthetic"] is True
    assert contract["data"]["classes"] == [str(digit) for digit in range(10)]
    assert {item["status"] for item in built.document["candidates"]} <= {"chosen", "eligible"}


def test_only_generators_of_images_are_drawn_from(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "edgegen.toml").write_text(AGAIN.replace('"gan"', '"classifier"').split("generator_channels")[0])
    done = edgegen("data", "draw", "x.npz", cache=cache, cwd=tmp_path)
    assert done.code == 2
    assert not (tmp_path / "x.npz").exists()
