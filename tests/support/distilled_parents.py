"""Small parents of every family with sets to learn from, for the tests of distillation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgegen.compress.context import StepContext
from edgegen.data.dataset import DataSet, Form, Part, save_dataset
from edgegen.train.deployed import save_deployed, save_model
from edgegen.train.families import Batch, find_family
from support.datasets import image_form, token_form, vector_form

PARENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {"latent": 4, "decoder_channels": (16, 8, 8), "encoder_channels": (4, 8)}),
    "gan": ("gan", {"latent": 4, "generator_channels": (16, 8, 8), "critic_channels": (4, 8), "conditional": True}),
    "flow": ("flow", {"layers": 2, "width": 16, "kind": "realnvp"}),
    "gru": ("autoregressive", {"cell": "gru", "layers": 2, "width": 16}),
    "transformer": ("autoregressive", {"cell": "transformer", "layers": 2, "width": 16, "heads": 4}),
    "classifier": ("classifier", {"architecture": "cnn1d", "widths": (8, 16)}),
    "regressor": ("regressor", {"architecture": "mlp", "widths": (32, 16)}),
    "autoencoder": ("autoencoder", {"kind": "dense", "widths": (16, 16), "bottleneck": 4}),
}
"""Name -> family and settings."""


def parent_of(name: str, folder: Path, *, validation: int = 8) -> StepContext:
    """Writes a parent and its set into ``folder``; gives the context of a step on it.

    Parents with batch norms are trained for a moment, so that they have something to say; others have strong weights.
    """
    family, settings = PARENTS[name]
    kind = find_family(family)
    dataset = _dataset(name, validation)
    complete = kind.complete(kind.settings(**settings), dataset.form)
    (folder / "parent").mkdir()
    (folder / "data").mkdir()
    save_dataset(dataset, folder / "data")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = kind.build(complete)
        if hasattr(kind, "prepare"):
            kind.prepare(model, complete, dataset.train)
        strength = 0.3 if family == "regressor" else 1.0
        with torch.no_grad():
            for tensor_name, tensor in kind.deployed(model).named_parameters():
                if tensor.ndim > 1 and "distances" not in tensor_name:
                    tensor.add_(torch.randn(tensor.shape) * strength / tensor[0].numel() ** 0.5)
    if name in ("classifier", "autoencoder"):
        _train(kind, model, complete, dataset)
    model.eval()
    save_model(model, family, complete, folder / "parent")
    save_deployed(kind.deployed(model), family, complete, folder / "parent")
    files = {path.name: path for path in (folder / "data").iterdir()}
    return StepContext(inputs={}, seed=9, parent=folder / "parent", data=files)


def _train(kind: Any, model: torch.nn.Module, settings: Any, dataset: DataSet) -> None:
    batch = Batch(x=torch.from_numpy(dataset.train.x), y=torch.from_numpy(dataset.train.y))
    optimizer, noise = torch.optim.Adam(model.parameters(), lr=0.01), torch.Generator().manual_seed(1)
    for _ in range(30):
        optimizer.zero_grad()
        kind.loss(model, settings, batch, noise)["loss"].backward()
        optimizer.step()


def _dataset(name: str, validation: int) -> DataSet:
    form, draw = _form(name), np.random.default_rng(5)
    parts = {}
    for part, samples in (("train", 64), ("validation", validation), ("test", 8)):
        if form.kind == "tokens":
            x: Any = draw.integers(0, len(form.vocabulary), (samples, *form.shape))
        elif form.kind == "images":
            x = draw.random((samples, *form.shape), dtype=np.float32)
        else:
            x = draw.standard_normal((samples, *form.shape)).astype(np.float32)
        y: Any = None
        if form.classes:
            y = np.arange(samples) % len(form.classes)
            if form.kind != "images":
                x = (x + y.reshape(-1, *[1] * (x.ndim - 1))).astype(np.float32)
        if form.targets:
            y = (x[:, :2] * np.float32([1, 100]) + 3).astype(np.float32)
        parts[part] = Part(x=x, y=y)
    return DataSet(form=replace(form, samples={part: len(parts[part]) for part in parts}), **parts)


def _form(name: str) -> Form:
    if name == "classifier":
        return replace(vector_form(classes=3, kind="series"), shape=(3, 16), features=("a", "b", "c"))
    if name in ("vae", "gan"):
        return image_form(side=8, classes=3)
    if name in ("gru", "transformer"):
        return token_form(context=8, vocabulary="abcde")
    return vector_form(features=6, classes=2 if name == "autoencoder" else 0, targets=2 if name == "regressor" else 0)
