"""Classifiers and regressors: every architecture learns, exports, is quantized, and goes on to the bit when killed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Form, Part
from edgegen.train import epochs
from edgegen.train.classifier import CLASSIFIER, REGRESSOR, ClassifierSettings, RegressorSettings
from edgegen.train.deployed import load_model, save_deployed
from edgegen.train.families import Batch, find_family
from edgegen.train.label_architectures import LAYOUTS
from edgegen.train.label_models import label_network
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from support.datasets import image_form, token_form, vector_form

SHAPES = {
    "mlp": ("vectors", (6,), (64, 64)),
    "cnn1d": ("series", (3, 32), (32, 32)),
    "ds-cnn": ("audio", (1, 21, 12), (32, 32, 32)),
    "resnet8": ("images", (3, 16, 16), (16, 16, 32)),
    "mobilenet-v1-0.25": ("images", (1, 64, 64), ()),
}
"""Architecture -> kind of sample, shape, and widths: small ones, yet such that eight bits a weight save bytes."""

MLPERF = {
    "ds-cnn": ((1, 49, 10), 12, 53_936),
    "resnet8": ((3, 32, 32), 10, 98_496),
    "mobilenet-v1-0.25": ((3, 96, 96), 2, 333_288),
}
"""Architecture -> MLPerf Tiny's shape, classes, and bytes of its int8 file."""


def make_form(kind: str, shape: tuple[int, ...], *, classes: int = 3, targets: int = 0) -> Form:
    return replace(vector_form(classes=classes, targets=targets), kind=kind, shape=shape)  # type: ignore[arg-type]


def patterned(architecture: str, samples: int = 96, *, targets: int = 0, seed: int = 5) -> DataSet:
    """Samples with a mean of their class, or with targets that follow from them, in far units."""
    kind, shape, _ = SHAPES[architecture]
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, samples)
    x = draw.standard_normal((samples, *shape)).astype(np.float32)
    x += (labels - 1).reshape(-1, *(1 for _ in shape)).astype(np.float32)
    y = labels if not targets else 1000 + 50 * x.reshape(samples, -1).mean(axis=1, keepdims=True).repeat(targets, 1)
    y = y.astype(np.float32) if targets else y.astype(np.int64)
    cut = samples * 2 // 3
    parts = {"train": slice(0, cut), "validation": slice(0, 0), "test": slice(cut, samples)}
    form = make_form(kind, shape, classes=0 if targets else 3, targets=targets)
    return DataSet(form=form, **{name: Part(x=x[rows], y=y[rows]) for name, rows in parts.items()})


def small(architecture: str, dataset: DataSet, **more):
    """The completed settings of a small network."""
    record = RegressorSettings if dataset.form.targets else ClassifierSettings
    family = REGRESSOR if dataset.form.targets else CLASSIFIER
    return family.complete(record(architecture=architecture, widths=SHAPES[architecture][2], **more), dataset.form)


def fit(folder, dataset, settings, *, training=None, checkpoint=None, seed=7, progress=None):
    folder.mkdir(parents=True, exist_ok=True)
    return train(
        "regressor" if dataset.form.targets else "classifier",
        settings,
        training or TrainSettings(epochs=3, batch_size=20, learning_rate=0.01),
        dataset,
        digest="patterns",
        seed=seed,
        folder=folder,
        checkpoint=checkpoint,
        progress=progress or Silent(),
    )


@pytest.mark.parametrize("architecture", SHAPES)
def test_every_architecture_learns(tmp_path, architecture):
    dataset = patterned(architecture)
    history = fit(tmp_path, dataset, small(architecture, dataset))["history"]
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_regressor_learns_and_answers_in_the_targets_unit(tmp_path, loss):
    dataset = patterned("mlp", 300, targets=2)
    training = TrainSettings(epochs=20, batch_size=20, learning_rate=0.01)
    fit(tmp_path, dataset, small("mlp", dataset, loss=loss), training=training)
    model, _, _ = load_model(tmp_path)
    with torch.no_grad():
        found = REGRESSOR.deployed(model)(torch.from_numpy(dataset.test.x)).numpy()
    error = np.sqrt(np.mean((found - dataset.test.y) ** 2))
    assert error < 0.2 * dataset.test.y.std()
    assert 800 < found.mean() < 1200


@pytest.mark.parametrize("architecture", MLPERF)
def test_the_reference_shapes_give_the_sizes_of_mlperf_tiny(architecture):
    """An int8 file holds a byte a weight; for every output channel an int32 bias, and of weights and of bias a float32
    scale and an int64 zero point, with the weights' float32 minimum and maximum: 36 bytes; and about 1,000 bytes a
    layer of names, shapes and operators. What the references' files hold beside that is known only by their size.
    """
    shape, classes, reference = MLPERF[architecture]
    network = label_network(architecture, shape, LAYOUTS[architecture].widths, classes)
    layers = [module for module in network.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    weights = sum(layer.weight.numel() for layer in layers)
    channels = sum(layer.weight.shape[0] for layer in layers)
    assert weights + 36 * channels + 1000 * len(layers) == pytest.approx(reference, rel=0.03)


def test_the_first_ds_cnn_map_is_the_references():
    network = label_network("ds-cnn", (1, 49, 10), LAYOUTS["ds-cnn"].widths, 12)
    assert network.body.pool.kernel_size == (25, 5)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (make_form("vectors", (6,)), "mlp"),
        (make_form("series", (3, 100)), "cnn1d"),
        (make_form("audio", (1, 49, 20)), "ds-cnn"),
        (make_form("audio", (1, 8000)), "cnn1d"),
        (image_form(), "resnet8"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_the_data_choose_the_architecture(form, expected):
    settings = CLASSIFIER.complete(ClassifierSettings(), form)
    assert (settings.architecture, settings.input_shape, settings.classes) == (expected, form.shape, len(form.classes))
    inputs, outputs = CLASSIFIER.signature(settings)
    assert [(spec.name, spec.shape) for spec in inputs + outputs] == [
        ("input", (1, *form.shape)),
        ("logits", (1, len(form.classes))),
    ]


REFUSED = {
    "no labels": (ClassifierSettings(), make_form("vectors", (6,), classes=0), "at least two classes"),
    "one class": (ClassifierSettings(), make_form("vectors", (6,), classes=1), "at least two classes"),
    "tokens": (ClassifierSettings(), replace(token_form(), classes=("a", "b")), "no architecture"),
    "vectors for a cnn": (
        ClassifierSettings(architecture="cnn1d"),
        make_form("vectors", (6,)),
        "'cnn1d' does not take",
    ),
    "images for an mlp": (ClassifierSettings(architecture="mlp"), image_form(), "'mlp' does not take"),
    "series for a resnet": (ClassifierSettings(architecture="resnet8"), make_form("series", (3, 50)), "does not take"),
    "too small an image": (ClassifierSettings(architecture="mobilenet-v1-0.25"), image_form(side=32), "too small"),
    "too short a window": (ClassifierSettings(), make_form("series", (3, 15)), "too small"),
    "widths": (ClassifierSettings(architecture="resnet8", widths=(8, 8)), image_form(), "'model.widths'"),
    "other classes": (ClassifierSettings(classes=4), make_form("vectors", (6,)), "do not fit"),
    "no targets": (RegressorSettings(), make_form("vectors", (6,)), "numbers to predict"),
    "other shape": (
        RegressorSettings(input_shape=(5,)),
        make_form("vectors", (6,), classes=0, targets=1),
        "do not fit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_do_not_fit_are_refused(case):
    settings, form, match = REFUSED[case]
    family = REGRESSOR if isinstance(settings, RegressorSettings) else CLASSIFIER
    with pytest.raises(UsageError, match=match):
        family.complete(settings, form)


def test_a_target_that_never_varies_is_refused(tmp_path):
    dataset = patterned("mlp", targets=1)
    dull = replace(dataset, train=Part(x=dataset.train.x, y=np.ones_like(dataset.train.y)))
    with pytest.raises(UsageError, match="never varies"):
        fit(tmp_path, dull, small("mlp", dull))


def test_settings_that_data_did_not_complete_build_nothing():
    with pytest.raises(UsageError, match="complete the settings"):
        CLASSIFIER.build(ClassifierSettings())


def test_draw_takes_each_row_once_in_an_order_of_the_seed_that_grows_at_the_end():
    part = patterned("mlp").train
    settings = ClassifierSettings()
    few, many, all_rows = (CLASSIFIER.draw(settings, samples, 3, part=part) for samples in (10, 40, 1000))
    assert np.array_equal(few.inputs["input"], many.inputs["input"][:10])
    assert np.array_equal(few.targets, many.targets[:10])
    assert len(all_rows.inputs["input"]) == len(part)
    assert sorted(map(tuple, all_rows.inputs["input"])) == sorted(map(tuple, part.x))
    assert not np.array_equal(few.inputs["input"], CLASSIFIER.draw(settings, 10, 4, part=part).inputs["input"])
    rows = [int(np.flatnonzero((part.x == row).all(axis=1))[0]) for row in few.inputs["input"]]
    assert np.array_equal(part.y[rows], few.targets)
    assert (few.inputs["input"].dtype, few.targets.dtype) == (np.float32, np.int64)


def test_balanced_weights_make_classes_count_the_same():
    settings = small("mlp", patterned("mlp"), class_weights="balanced")
    model = CLASSIFIER.build(settings)
    labels = np.array([0] * 80 + [1] * 15 + [2] * 5)
    CLASSIFIER.prepare(model, settings, Part(x=np.zeros((100, 6), np.float32), y=labels))
    assert np.allclose(model.class_weights.numpy() * [80, 15, 5], 100 / 3)
    batch = Batch(x=torch.randn(100, 6), y=torch.from_numpy(labels))
    loss = CLASSIFIER.loss(model, settings, batch, torch.Generator())["loss"]
    logs = torch.log_softmax(model(batch.x), 1)[torch.arange(100), batch.y]
    by_hand = -torch.stack([logs[batch.y == label].mean() for label in range(3)]).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert not any("class_weights" in name for name in model.state_dict())


def test_dropout_draws_from_the_noise_alone_and_ends_with_training():
    settings = small("mlp", patterned("mlp"), dropout=0.5)
    model = CLASSIFIER.build(settings)
    batch = Batch(x=torch.randn(8, 6), y=torch.zeros(8, dtype=torch.int64))

    def loss(seed):
        return CLASSIFIER.loss(model, settings, batch, torch.Generator().manual_seed(seed))["loss"].item()

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)
    model.eval()
    assert loss(1) == loss(2)


class Killed(Exception):
    """Stands for a signal in the middle of a run."""


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_batch_norm_network_goes_on_to_the_same_bits_when_it_was_killed(tmp_path, monkeypatch, ema):
    dataset = patterned("ds-cnn")
    settings = small("ds-cnn", dataset, dropout=0.3)
    training = TrainSettings(epochs=3, batch_size=20, learning_rate=0.01, ema=ema)
    whole = fit(tmp_path / "whole", dataset, settings, training=training, checkpoint=tmp_path / "none")
    write, written = epochs.write_checkpoint, []

    def write_then_die(path, key, state):
        write(path, key, state)
        written.append(state)
        if len(written) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(epochs, "write_checkpoint", write_then_die)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", dataset, settings, training=training, checkpoint=tmp_path / "shared")
    moved = written[-1]["model"]
    assert any(name.endswith("running_mean") and value.abs().sum() > 0 for name, value in moved.items())
    resumed = fit(tmp_path / "resumed", dataset, settings, training=training, checkpoint=tmp_path / "shared")
    assert resumed == whole
    for name in ("model.safetensors", "deployed.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_average_that_is_deployed_holds_the_averaged_statistics(tmp_path):
    dataset = patterned("ds-cnn")
    settings = small("ds-cnn", dataset)
    states = []
    for ema in (0.0, 0.95):
        folder = tmp_path / str(ema)
        fit(folder, dataset, settings, training=TrainSettings(epochs=2, batch_size=20, ema=ema))
        states.append(load_model(folder)[0].state_dict())
    plain, averaged = states
    name = "network.body.first.norm.running_mean"
    assert not torch.equal(plain[name], averaged[name])
    assert averaged[name].abs().sum() > 0


@pytest.fixture(scope="module", params=[*SHAPES, "regressor"])
def exported(request, tmp_path_factory):
    """A trained network of each architecture and its ONNX and LiteRT forms: (folder, dataset, family, settings)."""
    pytest.importorskip("litert_torch")
    from edgegen.export.formats import convert

    architecture = "mlp" if request.param == "regressor" else request.param
    dataset = patterned(architecture, targets=2 if request.param == "regressor" else 0)
    settings = small(architecture, dataset)
    root = tmp_path_factory.mktemp("exported")
    fit(root / "torch", dataset, settings)
    for form in ("onnx", "litert"):
        (root / form).mkdir()
        convert(root / "torch", root / form, form="torch", to=form)
    name = "regressor" if dataset.form.targets else "classifier"
    return root, dataset, name, settings


def ask(root, form, inputs):
    from edgegen.core.models import FORMATS
    from edgegen.export.host_runtime import run_on_host

    (found,) = run_on_host(root / form / FORMATS[form], form, inputs).values()
    return found


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_the_exported_network_gives_what_torch_gives(exported, form):
    root, dataset, name, _ = exported
    family = find_family(name)
    model, _, _ = load_model(root / "torch")
    with torch.no_grad():
        expected = family.deployed(model)(torch.from_numpy(dataset.test.x)).numpy()
    found = ask(root, form, {"input": dataset.test.x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["onnx", "litert"])
@pytest.mark.parametrize("step", ["weight-int8", "static-int8"])
def test_the_quantized_network_agrees_with_the_float_one(exported, form, step, tmp_path):
    from edgegen.compress.context import StepContext
    from edgegen.compress.steps import apply_step, find_step

    root, dataset, _, _ = exported
    (tmp_path / form).mkdir()
    found = find_step(step, form)
    context = StepContext(inputs={"input": dataset.train.x}, seed=9)
    apply_step(found, root / form, tmp_path / form, found.settings(), context)
    inputs = {"input": dataset.test.x}
    plain, quantized = ask(root, form, inputs), ask(tmp_path, form, inputs)
    noise = np.mean((quantized - plain) ** 2) / np.var(plain)
    assert noise < (0.001 if step == "weight-int8" else 0.05)
    if not dataset.form.targets:
        assert np.mean(quantized.argmax(axis=1) == plain.argmax(axis=1)) > 0.9


def test_an_exported_network_holds_no_batch_norm_of_its_own(exported):
    from edgegen.export.onnx_file import nodes, read_onnx

    root, *_ = exported
    kinds = {node.op_type for node in nodes(read_onnx(root / "onnx" / "model.onnx"))}
    assert "BatchNormalization" not in kinds


def test_a_deployed_network_is_saved_and_read_with_its_statistics(tmp_path):
    from edgegen.train.deployed import load_deployed

    dataset = patterned("resnet8")
    settings = small("resnet8", dataset)
    fit(tmp_path, dataset, settings)
    model, _, _ = load_model(tmp_path)
    deployed, family, found = load_deployed(tmp_path)
    assert (family, found) == ("classifier", settings)
    x = torch.from_numpy(dataset.test.x)
    with torch.no_grad():
        assert torch.equal(deployed(x), CLASSIFIER.deployed(model)(x))
    save_deployed(deployed, family, found, tmp_path)
    assert torch.equal(load_deployed(tmp_path)[0](x), deployed(x))
