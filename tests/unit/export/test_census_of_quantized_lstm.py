"""The work of an LSTM, and of what follows it, is counted alike before and after onnxruntime quantizes its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_dynamic_int8 import apply
from edgegen.compress.quantize.settings import DynamicInt8
from edgegen.core.ports import Silent
from edgegen.export.census import census
from support.onnx_models import constant, write_model

LENGTH, WIDTH, HIDDEN, OUT = 5, 6, 16, 8


def test_census_of_quantized_lstm_counts_the_same_work(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    constants = [
        constant("w", random.standard_normal((1, 4 * HIDDEN, WIDTH)) / 4),
        constant("r", random.standard_normal((1, 4 * HIDDEN, HIDDEN)) / 4),
        constant("flat", [LENGTH, HIDDEN], np.int64),
        constant("head", random.standard_normal((HIDDEN, OUT)) / 4),
    ]
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["steps"], hidden_size=HIDDEN),
        helper.make_node("Reshape", ["steps", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "head"], ["y"]),
    ]
    source = write_model(tmp_path / "m", nodes, constants, {"x": [LENGTH, 1, WIDTH]}, ["y"])
    (tmp_path / "q").mkdir()
    context = StepContext(inputs={}, seed=0, threads=1, progress=Silent())
    apply(source, tmp_path / "q", DynamicInt8(), context)
    before, after = (census(folder / "model.onnx", "onnx") for folder in (source, tmp_path / "q"))
    assert after.operators["DynamicQuantizeLSTM"] == 1
    assert before.macs == after.macs == LENGTH * (4 * HIDDEN * (WIDTH + HIDDEN) + HIDDEN * OUT)
