"""A project whose model is a class of its own, built through the command line on the fake device."""

import json

import pytest

from edgegen.core.errors import ExitCode
from support.projects import PROJECT, edgegen, write_project

CLASSIFIER = """
from layers import block
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(block(1, width), block(width, 2 * width), nn.Flatten())
        self.head = nn.Linear(2 * width * 49, 10)

    def forward(self, x):
        return self.head(self.body(x))
"""

LAYERS = """
from torch import nn


def block(narrow, wide):
    return nn.Sequential(nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU())
"""

GENERATOR = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 784), nn.Unflatten(1, (1, 28, 28)), nn.Sigmoid())

    def deployed(self):
        return self.decoder

    def loss(self, x, y, noise):
        latent = self.encoder(x)
        drawn = self.decoder(latent + torch.randn(latent.shape, generator=noise))
        missed = (drawn - x).square().mean()
        return {"loss": missed + 0.01 * latent.square().mean(), "missed": missed}
"""


def _project(folder, model, files, *extra):
    start, end = PROJECT.index("[model]"), PROJECT.index("[data]")
    text = PROJECT[:start] + f"[model]\n{model}\n\n" + PROJECT[end:]
    text = text.replace("[budgets.psnr_db]\nmin = 20\n", "").replace(', "static-int8"', "")
    write_project(folder, text)
    for name, source in files.items():
        (folder / name).write_text(source)
    return folder


def _classifier(folder, text=CLASSIFIER):
    model = 'module = "mymodel:Net"\noutput = "logits"\nsettings = { width = 4 }'
    return _project(folder, model, {"mymodel.py": text, "layers.py": LAYERS})


def _build(folder, cache):
    return edgegen("build", "--project", str(folder), "--target", "null", "--json", cache=cache)


def _trained_anew(document):
    return not next(stage["cached"] for stage in document["stages"] if stage["name"] == "train")


def test_a_class_of_ones_own_is_built_cached_and_trained_anew_after_an_edit(tmp_path):
    folder, cache = _classifier(tmp_path / "project"), tmp_path / "cache"
    first = _build(folder, cache)
    assert first.code == ExitCode.OK, first.err
    assert _trained_anew(first.document)
    chosen = first.document["chosen"]
    assert chosen["candidate"] == "weight-int8@onnx"
    assert "accuracy_ratio_mean" in first.document["candidates"][0]["quality"]["known"]
    assert not _trained_anew(_build(folder, cache).document)
    (folder / "layers.py").write_text(LAYERS.replace("nn.ReLU()", "nn.Hardswish()"))
    again = _build(folder, cache)
    assert again.code == ExitCode.OK, again.err
    assert _trained_anew(again.document)
    assert sorted(path.name for path in folder.iterdir()) == [
        "build",
        "digits.npz",
        "edgegen.toml",
        "layers.py",
        "mymodel.py",
    ]


def test_a_generator_of_ones_own_deploys_its_decoder_alone(tmp_path):
    model = 'module = "mymodel:Net"\noutput = "image"\nlatent = 6'
    folder = _project(tmp_path / "project", model, {"mymodel.py": GENERATOR})
    built = _build(folder, tmp_path / "cache")
    assert built.code == ExitCode.OK, built.err
    whole = next(item for item in built.document["candidates"] if item["name"] == "float32@onnx")
    assert 4 * 784 * 7 < whole["size_bytes"] < 4 * 784 * 9  # without the encoder's 784 x 6
    contract = json.loads((folder / "build" / "null" / "files" / "preprocessing.json").read_text())
    assert [spec["name"] for spec in contract["inputs"]] == ["latent"]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (CLASSIFIER.replace("from layers", "from leyers"), ExitCode.USAGE, "mymodel.py, line 2"),
        (CLASSIFIER.replace("class Net(", "class Net2("), ExitCode.USAGE, "no such class"),
        (CLASSIFIER.replace("self.head(self.body(x))", "self.body(x)"), ExitCode.USAGE, "another form"),
        (CLASSIFIER + "\n    def loss(self, x, y, noise):\n        return self.lots\n", ExitCode.BUILD, "'lots'"),
    ],
)
def test_a_class_that_does_not_do_ends_the_build_in_one_paragraph(tmp_path, text, code, message):
    built = _build(_classifier(tmp_path / "project", text), tmp_path / "cache")
    assert built.code == code
    assert message in built.err
    assert "Traceback" not in built.err
    assert "[model] module" in built.err
