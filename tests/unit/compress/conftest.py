"""One small generator and its ONNX and LiteRT forms for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.compress.context import StepContext


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a generator in the torch form; its channels differ in importance."""
    import torch

    from edgegen.train.deployed import save_deployed
    from edgegen.train.vae import VAE, VaeSettings

    settings = VaeSettings(latent=8, side=16, image_channels=1, decoder_channels=(32, 16, 8))
    folder = tmp_path_factory.mktemp("generator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = VAE.deployed(VAE.build(settings))
        with torch.no_grad():
            for layer in module:
                if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                    layer.weight.mul_(2.0)
            module.conv1.weight[::4].mul_(0.1)
    save_deployed(module, "vae", settings, folder)
    return folder


@pytest.fixture(scope="session")
def forms(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sub-folders torch, onnx and litert (the last only where the extra is installed)."""
    from importlib.util import find_spec

    from edgegen.export.formats import convert

    root = tmp_path_factory.mktemp("forms")
    (root / "torch").symlink_to(generator)
    for form in ("onnx", "litert") if find_spec("litert_torch") else ("onnx",):
        (root / form).mkdir()
        convert(generator, root / form, form="torch", to=form)
    return root


@pytest.fixture(scope="session")
def context(generator: Path) -> StepContext:
    draw = np.random.default_rng(2)
    return StepContext(inputs={"latent": draw.standard_normal((64, 8), dtype=np.float32)}, seed=9, parent=generator)
