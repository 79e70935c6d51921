"""Whole quantized ONNX networks: edgegen's recipe, onnxruntime's quantizer, parts left in float, layouts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import BuildError
from edgegen.export.c.convert import read_model
from edgegen.export.c.emit import emit
from edgegen.export.c.reference import run
from support.c_models import built, inferred
from support.onnx_models import convolutional, image_inputs
from support.qdq_models import Qdq, by_onnxruntime, given, steps_apart

Samples = list[dict[str, Any]]


def _kinds(path: Path) -> list[str]:
    return [node.kind for node in read_model(path).graph.nodes]


def _rows(inputs: dict[str, Any], count: int) -> Samples:
    return [{name: array[place : place + 1] for name, array in inputs.items()} for place in range(count)]


def _compiled_alike(path: Path, folder: Path, samples: Samples) -> None:
    """The program for this host gives the reference's bytes."""
    read = read_model(path)
    emitted = emit(read.graph, "mve")
    stored = [given(read.graph, sample) for sample in samples]
    for sample, outputs in zip(stored, inferred(built(emitted, folder), emitted.interface, stored), strict=True):
        for name, array in run(read.graph, sample).items():
            assert outputs[name].tobytes() == array.tobytes(), name


def _quantized(source: Path, folder: Path, inputs: dict[str, Any], elementwise: str) -> Path:
    """The file of the recipe static-int8@onnx."""
    from edgegen.compress.context import StepContext
    from edgegen.compress.steps import apply_step, find_step

    step = find_step("static-int8", "onnx")
    folder.mkdir()
    apply_step(step, source, folder, step.settings(elementwise=elementwise), StepContext(inputs=inputs, seed=1))
    return folder / "model.onnx"


def test_decoder_of_the_recipe_gives_the_pixels_of_onnxruntime(onnx_folder: Path, latents: Any, tmp_path: Path) -> None:
    path = _quantized(onnx_folder, tmp_path / "quantized", latents, "auto")
    read = read_model(path)
    kinds = Counter(node.kind for node in read.graph.nodes)
    assert not kinds["transpose"]
    assert kinds["resize"] == 2
    assert any("steps of 0.00391" in line for line in read.told)
    apart = steps_apart(path, _rows(latents, 6), read)
    assert max(map(abs, apart)) <= 1
    assert sum(map(bool, apart)) <= len(apart) // 100
    _compiled_alike(path, tmp_path / "c", _rows(latents, 2))


@pytest.mark.parametrize("architecture", ["ds-cnn", "resnet8"])
def test_classifier_of_the_recipe_gives_the_scores_of_onnxruntime(architecture: Any, tmp_path: Path) -> None:
    import torch

    from edgegen.export.formats import convert
    from edgegen.train.classifier import CLASSIFIER, ClassifierSettings
    from edgegen.train.deployed import save_deployed

    settings = ClassifierSettings(architecture=architecture, input_shape=(16, 16, 3), classes=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = CLASSIFIER.deployed(CLASSIFIER.build(settings))
    (tmp_path / "onnx").mkdir()
    save_deployed(module, "classifier", settings, tmp_path)
    convert(tmp_path, tmp_path / "onnx", form="torch", to="onnx")
    draw = np.random.default_rng(5)
    name = _input_of(tmp_path / "onnx" / "model.onnx")
    inputs = {name: draw.standard_normal((8, 16, 16, 3), dtype=np.float32)}
    path = _quantized(tmp_path / "onnx", tmp_path / "quantized", inputs, "int8")
    kinds = Counter(_kinds(path))
    assert kinds["dense_float"] == 1  # the recipe leaves the last product real
    assert kinds["transpose"] <= 1
    assert kinds["add"] == (3 if architecture == "resnet8" else 0)
    read = read_model(path)
    for sample in _rows(inputs, 4):
        (theirs,) = by_onnxruntime(path, sample).values()
        (ours,) = run(read.graph, given(read.graph, sample)).values()
        assert np.abs(ours - theirs).max() <= 0.03 * np.abs(theirs).max()
    _compiled_alike(path, tmp_path / "c", _rows(inputs, 1))


def _input_of(path: Path) -> str:
    import onnx

    return str(onnx.load(path).graph.input[0].name)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("types", ["QInt8", "QUInt8"])
def test_file_of_onnxruntimes_quantizer_is_compiled(form: str, types: str, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter(_rows(image_inputs(8), 8))

        def get_next(self) -> Any:
            return next(self._rows, None)

    folder = convolutional(tmp_path / "net")
    path = folder / "quantized.onnx"
    quantize_static(
        folder / "model.onnx",
        path,
        Reader(),
        quant_format=QuantFormat[form],
        per_channel=form == "QDQ",
        activation_type=QuantType[types],
        weight_type=QuantType.QInt8,
    )
    read = read_model(path)
    assert [node.kind for node in read.graph.nodes if node.kind not in ("transpose", "reshape")] == [
        *("conv2d", "conv2d", "max_pool", "dense")
    ]
    apart = steps_apart(path, _rows(image_inputs(6, seed=9), 6), read)
    assert max(map(abs, apart)) <= 1
    assert sum(map(bool, apart)) <= 2
    _compiled_alike(path, tmp_path / "c", _rows(image_inputs(2, seed=9), 2))


def _residual(net: Qdq) -> str:
    """A block whose input is added to its output, twice, then a head."""
    y = net.input([1, 4, 8, 8])
    for _ in range(2):
        z = net.quantized(
            net.plain("Relu", [net.plain("Conv", [y, net.weights([4, 4, 3, 3]), net.bias(4)], pads=[1] * 4)])
        )
        z = net.op("Conv", [z, net.weights([4, 4, 3, 3]), net.bias(4)], pads=[1] * 4)
        y = net.quantized(net.plain("Relu", [net.plain("Add", [y, z])]))
    y = net.op("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])
    y = net.op("Reshape", [y, net.constant(np.array([1, -1], np.int64))])
    return str(net.op("Gemm", [y, net.weights([64, 5], 1), net.bias(5)]))


def _depthwise(net: Qdq) -> str:
    """Two depthwise blocks with joins and a resize, channels first at the end."""
    y = net.input([1, 3, 8, 8])
    y = net.op("Conv", [y, net.weights([8, 3, 3, 3]), net.bias(8)], strides=[2, 2], pads=[1] * 4)
    first = y
    for _ in range(2):
        y = net.quantized(
            net.plain(
                "Clip",
                [
                    net.plain("Conv", [y, net.weights([8, 1, 3, 3]), net.bias(8)], pads=[1] * 4, group=8),
                    net.constant(np.float32(0)),
                    net.constant(np.float32(6)),
                ],
            )
        )
        y = net.op("HardSwish", [net.op("Conv", [y, net.weights([8, 8, 1, 1]), net.bias(8)])])
    y = net.op("Concat", [y, first], axis=1)
    made = net.op("Resize", [y, "", net.constant(np.array([1, 1, 2, 2], np.float32))], mode="nearest")
    return str(net.op("Conv", [made, net.weights([2, 16, 1, 1])]))


@pytest.mark.parametrize(("make", "transposes"), [(_residual, 1), (_depthwise, 2)])
def test_network_keeps_channels_last_throughout(make: Any, transposes: int, tmp_path: Path) -> None:
    for number in range(3):
        net = Qdq(number, dtype=("int8", "uint8")[number % 2])
        path = net.save(tmp_path / f"model{number}.onnx", [make(net)])
        kinds = _kinds(path)
        assert kinds.count("transpose") == transposes  # where the file's own order comes in, and goes out
        apart = steps_apart(path, net.samples(5))
        assert max(map(abs, apart)) <= 2
        assert sum(map(bool, apart)) <= 2 + len(apart) // 50
    _compiled_alike(path, tmp_path / "c", net.samples(2))


def _inputs_alone(net: Qdq) -> str:
    """As quantizers for torch leave a file: what layers read is rounded, and nothing else is."""
    x = net.input([1, 3, 8, 8], quantized=False)
    y = net.plain("Relu", [net.plain("Conv", [net.quantized(x), net.weights([4, 3, 3, 3]), net.bias(4)], pads=[1] * 4)])
    z = net.plain("Conv", [net.quantized(y), net.weights([4, 1, 3, 3]), net.bias(4)], pads=[1] * 4, group=4)
    y = net.plain("Clip", [net.plain("Add", [y, z]), net.constant(np.float32(0)), net.constant(np.float32(6))])
    y = net.plain("Tanh", [net.plain("Conv", [net.quantized(y), net.weights([4, 4, 3, 3])], pads=[1] * 4)])
    y = net.plain("Resize", [y, "", net.constant(np.array([1, 1, 2, 2], np.float32))], mode="nearest")
    y = net.plain("GlobalAveragePool", [y])
    y = net.plain("Gemm", [net.quantized(net.plain("Flatten", [y])), net.weights([4, 5], 1), net.bias(5)])
    return str(net.plain("Softmax", [y]))


def test_what_a_file_leaves_in_float_stays_float(tmp_path: Path) -> None:
    for number in range(3):
        net = Qdq(number, dtype=("int8", "uint8")[number % 2])
        path = net.save(tmp_path / f"model{number}.onnx", [_inputs_alone(net)])
        read = read_model(path)
        kinds = Counter(node.kind for node in read.graph.nodes)
        # The first convolution is read by the next one, and by an addition: once in integers, once in float.
        assert (kinds["conv2d"], kinds["conv2d_float"], kinds["dense_float"]) == (1, 3, 1)
        assert any("stays float32" in line for line in read.told)
        for sample in net.samples(4):
            (theirs,) = by_onnxruntime(path, sample).values()
            (ours,) = run(read.graph, given(read.graph, sample)).values()
            assert np.abs(ours - theirs).max() < 0.01
    _compiled_alike(path, tmp_path / "c", net.samples(2))


def test_transposes_of_the_file_cancel_with_those_of_the_layout(tmp_path: Path) -> None:
    """A file that has images channels last, and turns them for its convolution and back."""
    net = Qdq(2)
    y = net.op("Transpose", [net.input([1, 6, 5, 3])], perm=[0, 3, 1, 2])
    y = net.op("Conv", [y, net.weights([4, 3, 3, 3]), net.bias(4)])
    y = net.op("Transpose", [net.op("Relu", [y])], perm=[0, 2, 3, 1])
    path = net.save(tmp_path / "model.onnx", [y])
    assert "transpose" not in _kinds(path)
    assert max(map(abs, steps_apart(path, net.samples(3)))) <= 1


def test_input_that_is_quantized_twice_alike_is_left_to_the_caller(tmp_path: Path) -> None:
    net = Qdq(2)
    x = net.input([1, 6], quantized=False)
    y = net.op("Gemm", [net.quantized(x), net.weights([6, 6], 1)])
    path = net.save(tmp_path / "model.onnx", [net.op("Add", [y, net.quantized(x)])])
    assert _kinds(path) == ["dense", "add"]
    assert max(map(abs, steps_apart(path, net.samples(3)))) <= 1


def test_spatial_axes_that_become_steps_move_nothing(tmp_path: Path) -> None:
    """Patches of an image as a sequence: (1, channels, h, w) to (1, h w, channels)."""
    net = Qdq(4)
    y = net.op("Conv", [net.input([1, 1, 8, 8]), net.weights([6, 1, 4, 4]), net.bias(6)], strides=[4, 4])
    y = net.op("Reshape", [y, net.constant(np.array([1, 6, 4], np.int64))])
    y = net.op("Transpose", [y], perm=[0, 2, 1])
    path = net.save(tmp_path / "model.onnx", [net.op("MatMul", [y, net.weights([6, 5], 1)])])
    assert "transpose" not in _kinds(path)
    assert max(map(abs, steps_apart(path, net.samples(3)))) <= 1


def test_ends_of_integers_keep_their_type(tmp_path: Path) -> None:
    """A file that is fed stored numbers and gives stored numbers."""
    import onnx
    from onnx import TensorProto, helper

    for dtype, kind in (("int8", TensorProto.INT8), ("uint8", TensorProto.UINT8)):
        net = Qdq(1, dtype=dtype)
        made = net.op("Relu", [net.op("Gemm", [net.input([1, 6]), net.weights([6, 4], 1)])])
        whole = onnx.load(net.save(tmp_path / "whole.onnx", [made]))
        del whole.graph.node[0], whole.graph.node[-1]
        del whole.graph.input[:], whole.graph.output[:]
        name, last = whole.graph.node[0].input[0], whole.graph.node[-1].output[0]
        whole.graph.input.append(helper.make_tensor_value_info(name, kind, [1, 6]))
        whole.graph.output.append(helper.make_tensor_value_info(last, kind, [1, 4]))
        path = tmp_path / f"{dtype}.onnx"
        onnx.save(whole, path)
        graph = read_model(path).graph
        assert [graph.tensors[end].dtype for end in (*graph.inputs, *graph.outputs)] == [dtype, dtype]
        limits = np.iinfo(dtype)
        draw = np.random.default_rng(0)
        samples = [{name: draw.integers(limits.min, limits.max, (1, 6), endpoint=True).astype(dtype)} for _ in range(6)]
        assert not any(steps_apart(path, samples))
        _compiled_alike(path, tmp_path / dtype, samples[:2])


def test_gru_of_one_step_is_the_kernel_of_a_step(tmp_path: Path) -> None:
    for number in range(3):
        net = Qdq(number)
        x, state = net.input([1, 1, 6]), net.quantized(net.plain("Tanh", [net.input([1, 1, 5])]))
        axis = (None, 1)[number % 2]
        weights = [net.weights([1, 15, size], axis, 1.5) for size in (6, 5)]
        bias = net.constant(net.random.standard_normal((1, 30)).astype(np.float32) / 2)
        told = {"hidden_size": 5, "linear_before_reset": 1}
        every, last = net.plain("GRU", [x, *weights, bias, "", state], 2, **told)
        path = net.save(tmp_path / f"model{number}.onnx", [net.quantized(every), net.quantized(last)])
        read = read_model(path)
        assert [node.kind for node in read.graph.nodes if node.kind != "reshape"] == ["lut", "gru_step"]
        assert max(map(abs, steps_apart(path, net.samples(6), read))) <= 1
    _compiled_alike(path, tmp_path / "c", net.samples(2))


@pytest.mark.parametrize(("told", "words"), [({"linear_before_reset": 0}, "linear_before_reset 0"), ({}, "None")])
def test_gru_that_the_kernel_does_not_do_is_refused(told: Any, words: str, tmp_path: Path) -> None:
    net = Qdq(1)
    weights = [net.weights([1, 15, size], None) for size in (6, 5)]
    state = net.input([1, 1, 5])
    every, _ = net.plain("GRU", [net.input([1, 1, 6]), *weights, "", "", state], 2, hidden_size=5, **told)
    path = net.save(tmp_path / "model.onnx", [net.quantized(every)])
    with pytest.raises(BuildError, match=words):
        read_model(path)
