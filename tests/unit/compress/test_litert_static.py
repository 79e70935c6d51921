"""Static quantization of LiteRT files: what computes with integers, what stays in float and why, what helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_quantizer")

from edgegen.compress.context import StepContext
from edgegen.compress.quantize import litert_static, litert_write
from edgegen.compress.quantize.litert_equalize import equalize
from edgegen.compress.quantize.litert_graph import layers, open_litert, stored
from edgegen.compress.quantize.litert_islands import FEW_CHANNELS, REFUSED
from edgegen.compress.quantize.litert_settings import LitertStaticInt8, LitertStaticInt16
from edgegen.compress.quantize.litert_static import apply_int8, apply_int16
from edgegen.compress.quantize.litert_watch import ranges
from edgegen.compress.quantize.litert_write import RefusedModel
from edgegen.core.errors import BuildError
from edgegen.export.census import census
from edgegen.export.host_runtime import run_on_host

HELD_OUT = {"latent": np.random.default_rng(8).standard_normal((32, 8), dtype=np.float32)}


def error(path: Path, parent: Path) -> float:
    """Relative error of the outputs on held-out inputs."""
    reference, given = (run_on_host(file, "litert", HELD_OUT)["image"] for file in (parent, path))
    return float(np.linalg.norm(given - reference) / np.linalg.norm(reference))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LiteRT model with a transposed convolution, a softmax, and a mask of minus infinity."""
    import torch
    from torch import Tensor, nn

    from edgegen.export.quiet import quiet

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spread = nn.Linear(8, 4 * 4 * 8)
            self.enlarge = nn.ConvTranspose2d(8, 4, 4, 2, 1)
            self.last = nn.Linear(64, 64)
            self.mask: Tensor
            self.register_buffer("mask", torch.where(torch.arange(64) % 3 == 0, -torch.inf, 0.0))

        def forward(self, latent: Tensor) -> dict[str, Tensor]:
            x = self.enlarge(torch.relu(self.spread(latent)).reshape(-1, 8, 4, 4)).mean(dim=1).flatten(1)
            return {"image": torch.softmax(torch.tanh(self.last(x)) + self.mask, dim=1)}

    folder = tmp_path_factory.mktemp("odd")
    with torch.random.fork_rng(devices=[]), quiet():
        import litert_torch

        torch.manual_seed(1)
        converted = litert_torch.convert(Odd().eval(), sample_kwargs={"latent": torch.zeros(1, 8)})
        converted.export(str(folder / "model.tflite"))
    return folder


def test_auto_quantizes_what_lies_between_two_layers(forms: Path, context: StepContext, tmp_path: Path) -> None:
    figures = apply_int8(forms / "litert", tmp_path, LitertStaticInt8(), context)
    assert figures["integer_operators"]["CONV_2D"] == 3
    assert figures["integer_operators"]["RESIZE_NEAREST_NEIGHBOR"] == 2
    assert figures["float_operators"]["not between two layers in integers"]["LOGISTIC"] == 1


@pytest.mark.parametrize(("pattern", "kind"), [("CONV_2D", "CONV_2D"), ("*project*", "FULLY_CONNECTED")])
def test_patterns_keep_operators_in_float(
    pattern: str, kind: str, forms: Path, context: StepContext, tmp_path: Path
) -> None:
    figures = apply_int8(forms / "litert", tmp_path, LitertStaticInt8(keep_float=(pattern,)), context)
    assert kind in figures["float_operators"]["kept by keep_float"]
    assert kind not in figures["integer_operators"]


def test_patterns_that_fit_nothing_are_told(forms: Path, context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="keep_float fits no operator"):
        apply_int8(forms / "litert", tmp_path, LitertStaticInt8(keep_float=("nothing*",)), context)
    everything = LitertStaticInt8(keep_float=("*",))
    with pytest.raises(BuildError, match="no operator of the model can compute with integers"):
        apply_int8(forms / "litert", tmp_path, everything, context)


@pytest.mark.parametrize("observer", ["minmax", "percentile", "entropy", "mse"])
def test_observers_give_ranges_within_the_extremes(observer: str, forms: Path, context: StepContext) -> None:
    path = forms / "litert" / "model.tflite"
    found, broken = ranges(path, context.inputs, 16, method=observer, bits=8, symmetric=False)
    widest, _ = ranges(path, context.inputs, 16, method="minmax", bits=8, symmetric=False)
    assert not broken
    assert found.keys() == widest.keys()
    assert all(widest[name][0] <= low <= 0 <= high <= widest[name][1] for name, (low, high) in found.items())


def test_sixteen_bits_are_closer_than_eight(forms: Path, context: StepContext, tmp_path: Path) -> None:
    for name in ("8", "16"):
        (tmp_path / name).mkdir()
    apply_int8(forms / "litert", tmp_path / "8", LitertStaticInt8(), context)
    apply_int16(forms / "litert", tmp_path / "16", LitertStaticInt16(), context)
    parent = forms / "litert" / "model.tflite"
    assert error(tmp_path / "16" / "model.tflite", parent) < error(tmp_path / "8" / "model.tflite", parent)


def test_adaptive_rounding_lessens_the_layers_errors(forms: Path, context: StepContext, tmp_path: Path) -> None:
    figures = apply_int8(forms / "litert", tmp_path, LitertStaticInt8(rounding="adaptive"), context)
    assert figures["layers_rounded"] == 4
    assert figures["rounding_error_ratio"] < 1


def test_corrected_biases_lessen_the_mean_error(forms: Path, context: StepContext, tmp_path: Path) -> None:
    parent, shifts = forms / "litert" / "model.tflite", []
    for correct in (False, True):
        folder = tmp_path / str(correct)
        folder.mkdir()
        figures = apply_int16(forms / "litert", folder, LitertStaticInt16(correct_bias=correct), context)
        assert figures.get("biases_corrected", 0) == (4 if correct else 0)
        reference, given = (
            run_on_host(file, "litert", context.inputs)["image"] for file in (parent, folder / "model.tflite")
        )
        shifts.append(float(np.abs((given - reference).mean(axis=0)).mean()))
    assert shifts[1] < shifts[0]


def test_equalized_channels_leave_the_outputs_alone(forms: Path, tmp_path: Path) -> None:
    parent, path = forms / "litert" / "model.tflite", tmp_path / "model.tflite"
    assert equalize(parent, path) > 0
    reference, given = (run_on_host(file, "litert", HELD_OUT)["image"] for file in (parent, path))
    np.testing.assert_allclose(given, reference, atol=1e-5)
    model = open_litert(path)
    first, second = [stored(model, layer.weights) for layer in layers(model) if layer.kind == "CONV_2D"][:2]
    made = np.abs(first).reshape(len(first), -1).max(axis=1)
    read = np.abs(second).max(axis=(0, 1, 2))
    np.testing.assert_allclose(made, read, rtol=0.02)


def test_masks_and_slow_operators_stay_in_float(odd: Path, context: StepContext, tmp_path: Path) -> None:
    figures = apply_int8(odd, tmp_path, LitertStaticInt8(), context)
    told = figures["float_operators"]
    assert told[FEW_CHANNELS] == {"TRANSPOSE_CONV": 1}
    assert set(told["its values have no bounds"]) == {"ADD", "SOFTMAX"}
    assert figures["integer_operators"]["FULLY_CONNECTED"] == 2
    assert np.isfinite(run_on_host(tmp_path / "model.tflite", "litert", HELD_OUT)["image"]).all()
    assert error(tmp_path / "model.tflite", odd / "model.tflite") < 0.05


def test_a_refused_transposed_convolution_computes_in_float(
    odd: Path, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real: Callable[..., None] = litert_write.write

    def refuses_once(*given: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RefusedModel("the quantizer wrote a model that the LiteRT runtime refuses")
        real(*given)

    monkeypatch.setattr(litert_static, "write", refuses_once)
    figures = apply_int8(odd, tmp_path, LitertStaticInt8(elementwise="int8"), context)
    assert figures["float_operators"][REFUSED] == {"TRANSPOSE_CONV": 1}
    after = census(tmp_path / "model.tflite", "litert")
    assert after.bytes < (odd / "model.tflite").stat().st_size
    assert len(calls) == 2


def test_a_refused_model_without_one_is_an_error(
    forms: Path, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: object) -> None:
        raise RefusedModel("the quantizer wrote a model that the LiteRT runtime refuses")

    monkeypatch.setattr(litert_static, "write", refuses)
    with pytest.raises(RefusedModel):
        apply_int8(forms / "litert", tmp_path, LitertStaticInt8(), replace(context, seed=1))


def test_single_layers_get_wider_activations_and_become_c(forms: Path, context: StepContext, tmp_path: Path) -> None:
    from edgegen.export.c.convert import read_model

    parent, errors = forms / "litert" / "model.tflite", []
    for patterns in ((), ("CONV_2D",)):
        folder = tmp_path / str(len(patterns))
        folder.mkdir()
        figures = apply_int8(
            forms / "litert", folder, LitertStaticInt8(elementwise="int8", keep_int16=patterns), context
        )
        assert figures.get("int16_operators", 0) == 3 * len(patterns)
        kinds = {node.kind for node in read_model(folder / "model.tflite").graph.nodes}
        assert ("conv2d_int16" in kinds) == bool(patterns)
        assert "dense" in kinds, "the layer that no pattern names stays int8"
        given = run_on_host(folder / "model.tflite", "c", HELD_OUT)["image"]
        wanted = run_on_host(parent, "litert", HELD_OUT)["image"]
        errors.append(float(np.linalg.norm(given - wanted)))
    assert errors[1] < errors[0]
    with pytest.raises(BuildError, match="keep_int16 fits no operator"):
        apply_int8(forms / "litert", tmp_path, LitertStaticInt8(keep_int16=("nothing*",)), context)


def test_dense_layers_of_four_bits_take_half_the_room_as_c(forms: Path, context: StepContext, tmp_path: Path) -> None:
    from edgegen.export.c.convert import convert

    constants = []
    for dense in ("int8", "int4"):
        folder, sources = tmp_path / dense, tmp_path / f"{dense}-c"
        folder.mkdir()
        sources.mkdir()
        figures = apply_int8(forms / "litert", folder, LitertStaticInt8(elementwise="int8", dense=dense), context)
        assert figures.get("int4_operators", 0) == (dense == "int4")
        constants.append(convert(folder, sources, "dsp")["figures"]["constant_bytes"])
    project = next(layer for layer in layers(open_litert(forms / "litert" / "model.tflite")))
    weights = open_litert(forms / "litert" / "model.tflite").subgraphs[0].tensors[project.weights].shape
    assert constants[0] - constants[1] == pytest.approx(np.prod(weights) / 2, rel=0.1)
