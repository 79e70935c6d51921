"""One small network with seeded weights, given as an ONNX file, a LiteRT file and a torch.export archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from support.onnx_models import constant, write_model

SAMPLES = 8  # as many as a bundle's golden vectors hold
INPUTS = {"onnx": "x", "tflite": "args_0", "pt2": "x"}
"""Kind of file -> what its input is called."""


def torch_network() -> Any:
    """x (1, 2, 10, 10) through convolution, batch norm, ReLU, pooling, a dense layer and softmax to (1, 6)."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(2, 12, 3, padding=1)
            self.norm = nn.BatchNorm2d(12)
            self.pool = nn.MaxPool2d(2)
            self.dense = nn.Linear(12 * 25, 6)

        def scores(self, x: Any) -> Any:
            return self.dense(self.pool(torch.relu(self.norm(self.convolution(x)))).flatten(1))

        def forward(self, x: Any) -> Any:
            return torch.softmax(self.scores(x), dim=1)

    torch.manual_seed(7)
    network = Network()
    with torch.no_grad():  # fresh statistics would make a norm that does nothing
        network.norm.running_mean.normal_()
        network.norm.running_var.uniform_(0.5, 2.0)
        network.norm.weight.uniform_(0.5, 2.0)
        network.norm.bias.normal_()
        network.eval()
        # Every sample leans to a class of its own, or the softmax would hide what comes before it.
        network.dense.weight.mul_(6)
        network.dense.bias.sub_(network.scores(torch.from_numpy(rows())).mean(dim=0))
    return network


def rows() -> Any:
    """(SAMPLES, 2, 10, 10), float32."""
    return np.random.default_rng(7).standard_normal((SAMPLES, 2, 10, 10)).astype(np.float32)


def expected() -> Any:
    """(SAMPLES, 6): what torch gives, one sample at a time."""
    import torch

    network = torch_network()
    with torch.no_grad():
        return np.concatenate([network(torch.from_numpy(row[None])).numpy() for row in rows()])


def write_network(folder: Path, kind: str) -> Path:
    """Writes the network as ``onnx``, ``tflite`` or ``pt2``, and ``<kind>.npz`` with the rows; gives the file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{kind}.npz", **{INPUTS[kind]: rows()})
    if kind == "onnx":
        return _write_onnx(folder / "by-hand")
    import torch

    path, example = folder / f"network.{kind}", (torch.zeros(1, 2, 10, 10),)
    if kind == "pt2":
        torch.export.save(torch.export.export(torch_network(), example), path)
        return path
    import litert_torch

    from edgegen.export.quiet import quiet

    with quiet():
        litert_torch.convert(torch_network(), example).export(str(path))
    return path


def _write_onnx(folder: Path) -> Path:
    """By hand: an exporter folds the norm, and edgegen's own is what the archive is for."""
    network = torch_network()
    stored = {name: value.numpy() for name, value in network.state_dict().items() if value.ndim}
    nodes = [
        helper.make_node("Conv", ["x", "convolution.weight", "convolution.bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization",
            ["c", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"],
            ["n"],
            epsilon=network.norm.eps,
        ),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "dense.weight", "dense.bias"], ["d"], transB=1),
        helper.make_node("Softmax", ["d"], ["y"], axis=1),
    ]
    constants = [constant(name, value) for name, value in stored.items()]
    return write_model(folder, nodes, constants, {"x": [1, 2, 10, 10]}, ["y"]) / "model.onnx"
