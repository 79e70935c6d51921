"""LiteRT graphs: rewrites run in the runtime, stay exact, and give transposed convolutions a static int8 form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.compress.context import StepContext
from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.settings import Rewritten
from edgegen.compress.steps import STEPS, apply_step
from edgegen.core.errors import BuildError
from edgegen.export.host_runtime import run_on_host
from edgegen.export.litert_file import operator_names, read_litert

pytest.importorskip("litert_torch")

from edgegen.compress.rewrite import litert_constants, litert_transposed
from edgegen.compress.rewrite.litert_biases import flatten
from edgegen.compress.rewrite.litert_graph import open_graph, schema_value
from edgegen.compress.rewrite.litert_padding import fuse
from edgegen.compress.rewrite.litert_sharing import share, shorten_names

ROUNDING = 3e-6
Named = dict[str, "np.ndarray[Any, Any]"]


def converted(build: Callable[[Any], Any], path: Path, **examples: Any) -> Path:
    """A torch module as ``model.tflite``; ``build`` gets ``torch.nn``."""
    import litert_torch
    import torch

    from edgegen.export.quiet import quiet

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build(torch.nn)

        def forward(self, **tensors: Any) -> Any:
            return {"y": self.inner(*(tensors[name] for name in examples))}

    with torch.random.fork_rng(devices=[]), torch.no_grad(), quiet():
        torch.manual_seed(0)
        module = Outer().eval()
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
        litert_torch.convert(module, sample_kwargs=examples).export(str(path))
    return path


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DCGAN in small: a latent of one pixel, a batch norm, and kernels with and without an overlap."""
    import torch

    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.ConvTranspose2d(6, 8, 3, 1, 0, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 4, 2, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 2, 2, 2, 0),
            nn.Tanh(),
        )

    folder = tmp_path_factory.mktemp("generator")
    return converted(build, folder / "model.tflite", latent=torch.zeros(1, 6, 1, 1))


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Doubled pixels and a convolution, twice."""
    import torch

    def build(nn: Any) -> Any:
        return nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(6, 3, 5),
        )  # fmt: skip

    folder = tmp_path_factory.mktemp("doubled")
    return converted(build, folder / "model.tflite", latent=torch.zeros(1, 8, 4, 3))


def inputs_of(path: Path, count: int = 3) -> Named:
    from edgegen.export.signature import read_signature

    draw = np.random.default_rng(4)
    return {
        spec.name: draw.standard_normal((count, *spec.shape[1:])).astype(spec.dtype)
        for spec in read_signature(path, "litert")[0]
    }


def after(run: Any, path: Path, folder: Path, asked: Asked | None = None, **variant: Any) -> tuple[Path, Found, float]:
    graph = open_graph(path)
    found = run(graph, asked or Asked(), **variant)
    written = folder / "after.tflite"
    graph.write(written)
    inputs = inputs_of(path)
    for name, values in (asked or Asked()).fixed.items():
        inputs[name] = np.repeat(values, 3, axis=0)
    wanted, given = (run_on_host(one, "litert", inputs)["y"] for one in (path, written))
    return written, found, float(np.abs(given - wanted).max() / np.abs(wanted).max())


def kinds(path: Path) -> list[str]:
    return [name for _, _, name in operator_names(read_litert(path))]


@pytest.mark.parametrize("crops", ["fewest", "none"])
def test_transposed_convolutions_become_convolutions(crops: str, generator: Path, tmp_path: Path) -> None:
    assert "TRANSPOSE_CONV" in kinds(generator)
    path, found, moved = after(litert_transposed.transposed, generator, tmp_path, crops=crops)
    assert len(found.places) == kinds(generator).count("TRANSPOSE_CONV")
    assert "TRANSPOSE_CONV" not in kinds(path)
    assert {"CONV_2D", "DEPTH_TO_SPACE"} <= set(kinds(path))
    assert moved < ROUNDING


@pytest.mark.parametrize("into", ["fewest", "none", "transposed"])
def test_repeated_pixels_are_convolved_as_they_were(into: str, doubled: Path, tmp_path: Path) -> None:
    assert "RESIZE_NEAREST_NEIGHBOR" in kinds(doubled)
    path, found, moved = after(litert_transposed.repeated_pixels, doubled, tmp_path, into=into)
    assert len(found.places) + len(found.refused) == 2
    assert len(found.places) == 2 or into == "transposed"
    assert kinds(path).count("RESIZE_NEAREST_NEIGHBOR") == len(found.refused)
    assert moved < ROUNDING


def test_a_convolution_of_one_padded_pixel_multiplies_no_zeros(generator: Path, tmp_path: Path) -> None:
    from edgegen.export.census import census

    path, found, moved = after(litert_transposed.one_pixel, generator, tmp_path)
    assert len(found.places) == 1
    assert "PAD" not in kinds(path)[:2]
    assert census(path, "litert").macs < census(generator, "litert").macs
    assert moved < ROUNDING


def test_a_pad_that_is_same_goes_into_the_convolution(tmp_path: Path) -> None:
    import torch

    path = converted(
        lambda nn: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ZeroPad2d((2, 0, 2, 0)), nn.Conv2d(3, 2, 3)),
        tmp_path / "converted.tflite",
        latent=torch.zeros(1, 2, 5, 5),
    )
    assert kinds(path).count("PAD") == 1
    graph = open_graph(path)
    first = graph.of_kind("CONV_2D")[0]
    assert first.builtinOptions.padding == schema_value("Padding", "SAME")
    inputs = graph.inputs(first)
    pads = graph.add_constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], dtype=np.int32), "pads")
    pad = graph.operator("PAD", [inputs[0], pads], (1, 7, 7, 2), "padded", {})
    first.inputs = np.array([pad.outputs[0], *inputs[1:]], dtype=np.int32)
    first.builtinOptions.padding = schema_value("Padding", "VALID")
    graph.operators.insert(graph.operators.index(first), pad)
    graph.write(tmp_path / "model.tflite")
    written, found, moved = after(fuse, tmp_path / "model.tflite", tmp_path)
    assert kinds(written) == kinds(path)
    assert len(found.places) == 1
    assert "SAME would pad" in found.refused[0]
    assert moved < ROUNDING


def test_a_fixed_input_leaves_the_graph_and_not_the_signature(tmp_path: Path) -> None:
    import torch

    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = torch.nn.Linear(4, 8)
            self.body = torch.nn.Linear(8, 8)

        def forward(self, x: Any, condition: Any) -> Any:
            return self.body(x * torch.sigmoid(self.gate(condition)))

    path = converted(lambda nn: Gated(), tmp_path / "model.tflite", x=torch.zeros(1, 8), condition=torch.zeros(1, 4))
    asked = Asked(fixed={"condition": np.array([[1, 0, 0, 0]], dtype=np.float32)})
    written, found, moved = after(litert_constants.fold, path, tmp_path, asked)
    assert "LOGISTIC" not in kinds(written)
    assert kinds(written).count("FULLY_CONNECTED") == 1
    assert set(inputs_of(written)) == {"x", "condition"}
    assert found.places
    assert moved < ROUNDING


def test_equal_buffers_are_stored_once_under_short_names(tmp_path: Path) -> None:
    import torch

    def build(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))

    graph = open_graph(converted(build, tmp_path / "converted.tflite", x=torch.zeros(1, 32)))
    dense = graph.of_kind("FULLY_CONNECTED")
    weight = graph.constant(graph.inputs(dense[0])[1])
    assert weight is not None
    for operator in dense:  # two constants of equal bytes: the converter itself would have stored them once
        inputs = graph.inputs(operator)
        inputs[1] = graph.add_constant(weight.copy(), "an/equal/weight")
        operator.inputs = np.array(inputs, dtype=np.int32)
    path = tmp_path / "model.tflite"
    graph.write(path)
    graph = open_graph(path)
    shared, named = share(graph, Asked()), shorten_names(graph, Asked())
    graph.write(tmp_path / "after.tflite")
    assert shared.places
    assert named.places
    assert (tmp_path / "after.tflite").stat().st_size < path.stat().st_size - 32 * 32 * 4
    wanted, given = (run_on_host(one, "litert", inputs_of(path))["y"] for one in (path, tmp_path / "after.tflite"))
    np.testing.assert_array_equal(wanted, given)


def _static(source: Path, folder: Path, context: StepContext) -> Named:
    folder.mkdir()
    step = STEPS["static-int8", "litert"]
    apply_step(step, source, folder, step.settings(), context)
    return run_on_host(folder / "model.tflite", "litert", inputs_of(source / "model.tflite"))


def test_a_generator_gets_a_static_int8_form(generator: Path, tmp_path: Path) -> None:
    context = StepContext(inputs=inputs_of(generator, 32))
    following = (("static-int8", STEPS["static-int8", "litert"].settings()),)
    (tmp_path / "rewritten").mkdir()
    step = STEPS["rewritten", "litert"]
    told = apply_step(
        step,
        generator.parent,
        tmp_path / "rewritten",
        Rewritten(),
        StepContext(inputs=context.inputs, following=following),
    )
    assert "after static-int8" in told.figures["judged_by"]
    given = _static(tmp_path / "rewritten", tmp_path / "int8", context)["y"]
    wanted = run_on_host(generator, "litert", inputs_of(generator))["y"]
    assert -10 * np.log10(np.square(given - wanted).mean() / np.square(wanted).mean()) > 20


def test_biases_become_vectors(generator: Path, tmp_path: Path) -> None:
    path, found, moved = after(flatten, generator, tmp_path)
    graph = open_graph(path)
    for operator in graph.of_kind("TRANSPOSE_CONV"):
        inputs = graph.inputs(operator)
        assert len(inputs) < 4 or len(graph.shape(inputs[3])) == 1
    assert found.places
    assert moved < ROUNDING


def test_equal_models_give_equal_bytes(generator: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path, _, _ = after(litert_transposed.transposed, generator, tmp_path / name, crops="fewest")
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_models_of_several_graphs_are_refused(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_litert(generator)
    model.subgraphs = [*model.subgraphs, *model.subgraphs]
    monkeypatch.setattr("edgegen.compress.rewrite.litert_graph.read_litert", lambda path: model)
    with pytest.raises(BuildError, match="more than one graph"):
        open_graph(generator)
