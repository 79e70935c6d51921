"""Autoencoders: what they consist of, whom they learn from, and what is drawn to judge them."""

import dataclasses

import numpy as np
import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Part
from edgegen.train.autoencoder import AUTOENCODER, AutoencoderSettings
from edgegen.train.deployed import load_deployed
from edgegen.train.families import Batch
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from support.datasets import image_form, token_form, vector_form

CLASSES = ("anomaly", "normal")


def _form(*, shape=(6,), kind="vectors", classes=CLASSES):
    return dataclasses.replace(vector_form(), kind=kind, shape=shape, classes=classes)


def _settings(form=None, **table):
    return AUTOENCODER.complete(AutoencoderSettings(**table), form or _form())


def _part(labels, *shape):
    x = np.random.Generator(np.random.PCG64(1)).normal(size=(len(labels), *shape)).astype(np.float32)
    return Part(x=x, y=np.array(labels, np.int64))


@pytest.mark.parametrize(
    ("form", "table"),
    [
        (_form(), {}),
        (_form(shape=(640,)), {"widths": (32, 16), "bottleneck": 4}),
        (_form(kind="series", shape=(2, 24)), {}),
        (_form(kind="series", shape=(1, 24)), {"kind": "conv"}),
        (_form(kind="series", shape=(3, 24)), {"kind": "conv", "widths": (4, 6, 8)}),
        (image_form(side=12, channels=3), {"kind": "conv", "widths": (4, 8)}),
        (image_form(side=8, width=12), {"kind": "conv", "widths": (4,)}),
        (image_form(side=8), {}),
    ],
)
def test_the_model_gives_what_it_takes(form, table):
    settings = _settings(form, **table)
    module = AUTOENCODER.deployed(AUTOENCODER.build(settings)).eval()
    (taken,), (given,) = AUTOENCODER.signature(settings)
    assert (taken.name, given.name) == ("input", "reconstruction")
    assert taken.shape == given.shape == (1, *form.shape)
    x = torch.randn(3, *form.shape)
    assert module(x).shape == x.shape
    assert torch.allclose(module(x)[:1], module(x[:1]), atol=1e-5)


def test_the_dense_model_is_that_of_mlperf_tiny():
    model = AUTOENCODER.build(_settings(_form(shape=(640,))))
    widths = [layer.out_features for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [128] * 4 + [8] + [128] * 4 + [640]
    assert sum(isinstance(layer, torch.nn.BatchNorm1d) for layer in model.modules()) == 9


def test_normal_is_the_class_that_is_called_so_or_named_or_first():
    assert (_settings().normal, _settings().normal_label) == ("normal", 1)
    assert _settings(normal="anomaly").normal_label == 0
    assert _settings(_form(classes=("a", "b"))).normal == "a"
    assert _settings(_form(classes=())).normal_label is None


@pytest.mark.parametrize(
    ("form", "table", "message"),
    [
        (_form(), {"normal": "nromal"}, "did you mean 'normal'"),
        (_form(classes=()), {"normal": "normal"}, "no 'normal' at all"),
        (_form(), {"shape": (7,)}, r"model\.shape"),
        (_form(), {"normal_label": 0}, r"model\.normal_label"),
        (token_form(), {}, "redraws numbers"),
        (_form(shape=(20_000,)), {}, "16384"),
        (_form(), {"kind": "conv"}, "cannot halve"),
        (_form(kind="series", shape=(1, 30)), {"kind": "conv"}, "multiples of 4"),
        (image_form(side=8, width=10), {"kind": "conv"}, "multiples of 4"),
    ],
)
def test_data_and_settings_that_do_not_fit_are_refused(form, table, message):
    with pytest.raises(UsageError, match=message):
        _settings(form, **table)


def test_settings_without_widths_or_with_too_many_are_refused():
    for widths in ((), (4,) * 17):
        with pytest.raises(UsageError, match="widths"):
            AutoencoderSettings(widths=widths)


def test_the_loss_is_of_normal_samples_alone():
    settings = _settings()
    torch.manual_seed(0)
    model = AUTOENCODER.build(settings).eval()
    x, y = torch.randn(6, 6), torch.tensor([1, 0, 1, 1, 0, 1])
    noise = torch.Generator()
    found = AUTOENCODER.loss(model, settings, Batch(x=x, y=y), noise)["loss"]
    normal = x[y == 1]
    assert torch.equal(found, (model(normal) - normal).square().mean())
    everything = dataclasses.replace(settings, normal_label=None)
    assert torch.equal(AUTOENCODER.loss(model, everything, Batch(x=x), noise)["loss"], (model(x) - x).square().mean())


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 0]])
def test_a_batch_without_two_normal_samples_moves_nothing(labels):
    settings = _settings()
    model = AUTOENCODER.build(settings).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = Batch(x=torch.randn(3, 6), y=torch.tensor(labels))
    loss = AUTOENCODER.loss(model, settings, batch, torch.Generator())["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def _train(folder, labels):
    form = _form()
    rows = dataclasses.replace(form, samples={"train": len(labels), "validation": 0, "test": 4})
    dataset = DataSet(form=rows, train=_part(labels, 6), validation=_part([], 6), test=_part([0, 1, 0, 1], 6))
    settings = _settings(form, widths=(8,), bottleneck=2)
    folder.mkdir()
    return (
        dataset,
        settings,
        train(
            "autoencoder",
            settings,
            TrainSettings(epochs=2, batch_size=8),
            dataset,
            digest="x",
            seed=1,
            folder=folder,
            progress=Silent(),
        ),
    )


def test_anomalies_of_the_training_part_leave_no_trace(tmp_path):
    labels = [1] * 20
    dataset, settings, _ = _train(tmp_path / "a", labels)
    loaded, _, found = load_deployed(tmp_path / "a")
    assert found == settings
    x = torch.from_numpy(np.array(dataset.test.x))
    assert torch.isfinite(loaded(x)).all()
    model = AUTOENCODER.build(settings).train()
    mixed = Batch(x=torch.cat([x[:3], 1000 * x[:1]]), y=torch.tensor([1, 1, 1, 0]))
    AUTOENCODER.loss(model, settings, mixed, torch.Generator())
    assert model.norm1.running_var.max() < 100


@pytest.mark.parametrize("labels", [[0] * 20, [0] * 19 + [1]])
def test_a_training_part_without_normal_samples_is_refused(tmp_path, labels):
    with pytest.raises(UsageError, match="too few normal samples"):
        _train(tmp_path / "a", labels)


def test_a_draw_has_both_kinds_in_turns_and_grows_at_the_end():
    part = _part([1] * 40 + [0] * 5, 6)
    settings = _settings()
    few, many = (AUTOENCODER.draw(settings, samples, 3, part=part) for samples in (12, 100))
    assert few.targets.tolist() == [0, 1] * 5 + [0, 0]
    assert len(many.targets) == 45
    assert many.targets.sum() == 5
    assert np.array_equal(many.inputs["input"][:12], few.inputs["input"])
    assert not np.array_equal(few.inputs["input"], AUTOENCODER.draw(settings, 12, 4, part=part).inputs["input"])
    assert few.inputs["input"].dtype == np.float32
    unlabelled = AUTOENCODER.draw(_settings(_form(classes=())), 4, 3, part=Part(x=part.x))
    assert unlabelled.targets is None
    assert len(unlabelled.inputs["input"]) == 4


def test_the_default_model_for_640_numbers_has_as_many_as_mlperf_tiny_s():
    model = AUTOENCODER.build(_settings(_form(shape=(640,))))
    numbers = [tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point()]
    assert sum(numbers) == 269_992  # weights, and the running figures of batch norm
