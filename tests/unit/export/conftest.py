"""One small generator with random weights, exported once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = {"latent": 8, "side": 16, "image_channels": 1, "decoder_channels": (16, 8, 8)}


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a generator in the torch form."""
    import torch

    from edgegen.train.deployed import save_deployed
    from edgegen.train.vae import VAE, VaeSettings

    settings = VaeSettings(**SMALL)
    folder = tmp_path_factory.mktemp("generator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = VAE.deployed(VAE.build(settings))
    save_deployed(module, "vae", settings, folder)
    return folder


@pytest.fixture(scope="session")
def onnx_folder(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgegen.export.formats import convert

    folder = tmp_path_factory.mktemp("onnx")
    convert(generator, folder, form="torch", to="onnx")
    return folder


@pytest.fixture(scope="session")
def litert_folder(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("litert_torch")
    from edgegen.export.formats import convert

    folder = tmp_path_factory.mktemp("litert")
    convert(generator, folder, form="torch", to="litert")
    return folder


@pytest.fixture(scope="session")
def latents():  # type: ignore[no-untyped-def]
    """12 inputs of the small generator."""
    import numpy as np

    return {"latent": np.random.default_rng(5).standard_normal((12, 8), dtype=np.float32)}
