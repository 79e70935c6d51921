"""The networks of classifiers and regressors: a body that makes features of a sample, and a linear head.

Convolutions stand before batch norms and have no bias of their own: exporters fold the norm into the convolution, which
has one then. Where the references pad as TensorFlow's SAME does, unevenly for even sides, these pad evenly.

Sources: Zhang et al., Hello Edge, arXiv 1711.07128 (DS-CNN); He et al., arXiv 1512.03385 (residual networks); Howard et
al., MobileNets, arXiv 1704.04861, table 1; the three in the forms of Banbury et al., MLPerf Tiny Benchmark,
arXiv 2106.07597. A one-dimensional net with a global pool: Wang et al., arXiv 1611.06455.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn

Layers: TypeAlias = "OrderedDict[str, nn.Module]"


class LabelNetwork(nn.Module):
    """Sample (batch, *shape) to scores or standardized values (batch, outputs)."""

    def __init__(self, body: nn.Module, features: int, outputs: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(features, outputs)

    def forward(self, input: Tensor) -> Tensor:  # torch's own name
        scores: Tensor = self.head(self.body(input))
        return scores


class Regressor(nn.Module):
    """A network that learns standardized targets, and the way back to their unit."""

    def __init__(self, network: LabelNetwork, targets: int) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("deviation", torch.ones(targets))

    def forward(self, input: Tensor) -> Tensor:
        values: Tensor = self.network(input) * self.deviation + self.mean
        return values


class Classifier(nn.Module):
    """A network, and while it is trained the weights of its classes."""

    def __init__(self, network: LabelNetwork) -> None:
        super().__init__()
        self.network = network
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)  # of the training part, never of a stored model

    def forward(self, input: Tensor) -> Tensor:
        logits: Tensor = self.network(input)
        return logits


class Residual(nn.Module):
    """Two convolutions and a way around them, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_convolved(inputs, outputs, (3, 3), stride, (1, 1)))
        self.second = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), norm=nn.BatchNorm2d(outputs))
        )
        same = inputs == outputs and stride == 1
        self.around = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.around(x))


def label_network(architecture: str, shape: tuple[int, ...], widths: tuple[int, ...], outputs: int) -> LabelNetwork:
    """The network of an architecture of ``label_architectures.LAYOUTS`` with fresh weights.

    Args:
        shape: of one sample, without the batch.
        widths: as the architecture counts them, see ``LAYOUTS``.
        outputs: classes or targets.
    """
    return LabelNetwork(_BODIES[architecture](shape, widths), widths[-1], outputs)


def _mlp(shape: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """Hidden layers of ReLU units."""
    layers: Layers = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise((shape[0], *widths)), start=1):
        layers[f"linear{number}"] = nn.Linear(inputs, outputs)
        layers[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(layers)


def _cnn1d(shape: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """A convolution of five rows and stride two a width, and the mean over the rows that are left.

    Rows are handled as pictures one pixel high: two-dimensional convolutions have kernels everywhere.
    """
    layers: Layers = OrderedDict(high=nn.Unflatten(1, (shape[0], 1)))
    for number, (inputs, outputs) in enumerate(pairwise((shape[0], *widths)), start=1):
        layers[f"stage{number}"] = nn.Sequential(_convolved(inputs, outputs, (1, 5), (1, 2), (0, 2)))
    return _pooled(layers, shape)


def _ds_cnn(shape: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """A 10 x 4 convolution of stride two, then a depthwise and a pointwise convolution for every further width."""
    layers: Layers = OrderedDict(first=nn.Sequential(_convolved(shape[0], widths[0], (10, 4), 2, (5, 1))))
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        layers[f"block{number}"] = _separable(inputs, outputs, 1)
    return _pooled(layers, shape)


def _resnet8(shape: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """A convolution and three residual stacks, the later two at half the resolution of the one before."""
    first, second, third = widths
    layers: Layers = OrderedDict(
        first=nn.Sequential(_convolved(shape[0], first, (3, 3), 1, (1, 1))),
        stack1=Residual(first, first, 1),
        stack2=Residual(first, second, 2),
        stack3=Residual(second, third, 2),
    )
    return _pooled(layers, shape)


_MOBILENET_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def _mobilenet(shape: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """A convolution of stride two and thirteen pairs of depthwise and pointwise convolutions."""
    layers: Layers = OrderedDict(first=nn.Sequential(_convolved(shape[0], widths[0], (3, 3), 2, (1, 1))))
    pairs = zip(pairwise(widths), _MOBILENET_STRIDES, strict=True)
    for number, ((inputs, outputs), stride) in enumerate(pairs, start=1):
        layers[f"block{number}"] = _separable(inputs, outputs, stride)
    return _pooled(layers, shape)


_BODIES: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]] = MappingProxyType(
    {"mlp": _mlp, "cnn1d": _cnn1d, "ds-cnn": _ds_cnn, "resnet8": _resnet8, "mobilenet-v1-0.25": _mobilenet}
)


def _convolved(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: int | tuple[int, int],
    padding: tuple[int, int],
    groups: int = 1,
) -> Layers:
    """Convolution, batch norm, ReLU."""
    return OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False),
        norm=nn.BatchNorm2d(outputs),
        relu=nn.ReLU(),
    )


def _separable(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Sequential(_convolved(inputs, inputs, (3, 3), stride, (1, 1), groups=inputs)),
            pointwise=nn.Sequential(_convolved(inputs, outputs, (1, 1), 1, (0, 0))),
        )
    )


def _pooled(layers: Layers, shape: tuple[int, ...]) -> nn.Module:
    """The layers, then the mean over all places: (batch, last width).

    The pool is as large as the map that reaches it, as in the references: such a pool has int8 kernels in the stock
    runtimes, a mean over axes has not in all of them.
    """
    body = nn.Sequential(layers).eval()  # a norm that is not in eval mode would learn from the zeros
    with torch.no_grad():
        size = body(torch.zeros(1, *shape)).shape[2:]
    layers["pool"] = nn.AvgPool2d(tuple(size))
    layers["flat"] = nn.Flatten()
    return nn.Sequential(layers).train()
