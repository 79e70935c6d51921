"""The extent of untrained models: layers with weights, what they read and make, nothing that could be merged away."""

import textwrap

import pytest
import torch

from edgegen.core.errors import BuildError
from edgegen.train.autoregressive import AUTOREGRESSIVE
from edgegen.train.classifier import CLASSIFIER
from edgegen.train.extent import extent_of
from edgegen.train.families import read_family
from edgegen.train.flow import FLOW
from edgegen.train.own_module import OWN_MODULE
from edgegen.train.vae import VAE
from support.datasets import image_form, token_form, vector_form


def weights_of(family, settings):
    """Numbers of the deployed part's weights of two axes or more: biases and norms are folded or small."""
    deployed = family.deployed(family.build(settings))
    return sum(tensor.numel() for tensor in deployed.parameters() if tensor.dim() > 1)


def test_extent_of_a_vae_is_its_decoder():
    settings = VAE.complete(
        VAE.settings(latent=3, encoder_channels=(4, 8), decoder_channels=(8, 8, 4)), image_form(side=8, classes=2)
    )
    found = extent_of("vae", settings)
    assert sum(item.weights for item in found.products) == weights_of(VAE, settings)
    assert (found.takes, found.gives) == (3, 64)
    assert found.products[0].reads == 0, "the latent lies in the input block"
    assert found.products[-1].makes == 0, "the image goes to the output block"
    # Between them an upsampling may be merged into the convolution behind it: what it is made from counts.
    assert [item.reads for item in found.products[1:]] == [item.makes for item in found.products[:-1]]
    assert [item.dense for item in found.products] == [True, False, False, False]


def test_a_convolution_of_every_channel_by_itself_may_work_in_place():
    form = image_form(side=12, classes=3)
    settings = CLASSIFIER.complete(CLASSIFIER.settings(architecture="ds-cnn", widths=(8, 8)), form)
    found = extent_of("classifier", settings)
    depthwise = [item for item in found.products if "depthwise" in item.name]
    assert depthwise
    assert all(item.reads == 0 for item in depthwise)
    assert any(item.reads > 0 for item in found.products)
    assert sum(item.weights for item in found.products) == weights_of(CLASSIFIER, settings)


def test_what_a_model_of_sequences_remembers_counts_once():
    settings = AUTOREGRESSIVE.complete(
        AUTOREGRESSIVE.settings(cell="transformer", layers=1, width=16, heads=2), token_form()
    )
    found = extent_of("autoregressive", settings)
    takes, gives = AUTOREGRESSIVE.signature(settings)
    assert found.takes == sum(torch.Size(spec.shape).numel() for spec in takes)
    assert found.gives == torch.Size(gives[0].shape).numel()
    assert "head" in {item.name for item in found.products}


def test_constants_alone_are_no_layer():
    settings = FLOW.complete(FLOW.settings(kind="realnvp", layers=2, width=8), vector_form())
    found = extent_of("flow", settings)
    assert all(item.weights > 0 for item in found.products)
    assert sum(item.weights for item in found.products) <= weights_of(FLOW, settings)


def _own(folder, text):
    (folder / "mymodel.py").write_text(textwrap.dedent(text))
    _, settings = read_family("module", {"module": "mymodel:Net", "output": "logits"}, "edgegen.toml")
    return OWN_MODULE.complete(OWN_MODULE.locate(settings, folder), vector_form())


def test_shared_weights_of_an_own_module_count_once(tmp_path):
    text = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 6)
            self.last = nn.Linear(6, 3)

        def forward(self, x):
            y = torch.relu(self.body(torch.relu(self.body(x))))
            if float(self.last.bias.sum()) > 1e9:   # looks at values: no run on shapes alone could do that
                return y
            return self.last(y)
    """
    state = torch.random.get_rng_state()
    found = extent_of("module", _own(tmp_path, text))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [(item.name, item.weights) for item in found.products] == [("body", 36), ("body", 0), ("last", 18)]
    assert [(item.reads, item.makes) for item in found.products] == [(0, 6), (6, 6), (6, 0)]


def test_an_own_module_that_cannot_run_is_one_paragraph(tmp_path):
    text = """
    from torch import nn

    class Net(nn.Module):
        def forward(self, x):
            return x.nothing()
    """
    with pytest.raises(BuildError, match="cannot be run on one sample"):
        extent_of("module", _own(tmp_path, text))
