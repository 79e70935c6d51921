"""The networks of MLPerf Tiny and a VAE's decoder as int8 graphs with random weights: shapes decide a count."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegen.export.c.geometry import padding
from edgegen.export.c.graph import Graph, Node, Scales, Tensor

Array = np.ndarray[Any, Any]


class _Chain:
    """Layers one after the other; each takes the output of the one before, or of a named one."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int = 7) -> None:
        self._name, self._rng = name, np.random.default_rng(seed)
        self._nodes: list[Node] = []
        self._held: dict[str, Tensor] = {}
        self.last = self._tensor("input", shape, zero_point=3)

    def _tensor(self, name: str, shape: tuple[int, ...], zero_point: int) -> Tensor:
        scales = Scales(scale=(0.0235,), zero_point=(zero_point,))
        self._held[name] = Tensor(name=name, shape=shape, dtype="int8", scales=scales)
        return self._held[name]

    def _weights(self, name: str, shape: tuple[int, ...], axis: int, depth: int, whole: bool) -> tuple[str, str]:
        channels = shape[axis]
        scales = self._rng.uniform(0.7, 1.4, 1 if whole else channels) / (74.0 * np.sqrt(depth))
        spread = tuple(float(np.float32(scale)) for scale in scales)
        data = self._rng.integers(-127, 128, shape).astype(np.int8)
        zeros = (0,) * len(spread)
        self._held[f"{name}_w"] = Tensor(
            name=f"{name}_w",
            shape=shape,
            dtype="int8",
            scales=Scales(scale=spread, zero_point=zeros, axis=axis),
            data=data,
        )
        self._held[f"{name}_b"] = Tensor(
            name=f"{name}_b",
            shape=(channels,),
            dtype="int32",
            scales=Scales(scale=tuple(0.0235 * scale for scale in spread), zero_point=zeros),
            data=self._rng.integers(-2000, 2000, channels).astype(np.int32),
        )
        return f"{name}_w", f"{name}_b"

    def _add(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], relu: bool, **attributes: Any) -> Tensor:
        name = f"{kind}{len(self._nodes)}"
        zero_point = -128 if relu else 5
        made = self._tensor(name, shape, zero_point)
        clamp = (-128, 127)
        self._nodes.append(
            Node(name=name, kind=kind, inputs=inputs, outputs=(name,), attributes={**attributes, "clamp": clamp})
        )
        self.last = made
        return made

    def dense(self, outputs: int, *, relu: bool = True) -> Tensor:
        """A dense layer with one scale of weights, as TFLite's converter makes them."""
        read = self.last
        shape = (outputs, read.shape[-1])
        weights = self._weights(f"dense{len(self._nodes)}", shape, 0, read.shape[-1], whole=True)
        return self._add("dense", (read.name, *weights), (1, outputs), relu)

    def conv2d(
        self, outputs: int, kernel: tuple[int, int], stride: int = 1, *, relu: bool = True, read: Tensor | None = None
    ) -> Tensor:
        """A convolution with padding SAME."""
        read = read or self.last
        _, height, width, channels = read.shape
        depth = kernel[0] * kernel[1] * channels
        weights = self._weights(f"conv{len(self._nodes)}", (outputs, *kernel, channels), 0, depth, whole=False)
        out = (1, -(-height // stride), -(-width // stride), outputs)
        sides = padding("SAME", (height, width), kernel, (stride, stride), (1, 1))
        return self._add(
            "conv2d",
            (read.name, *weights),
            out,
            relu,
            stride=(stride, stride),
            dilation=(1, 1),
            padding=sides,
            groups=1,
        )

    def depthwise(self, stride: int = 1) -> Tensor:
        """A 3x3 depthwise convolution with padding SAME."""
        read = self.last
        _, height, width, channels = read.shape
        weights = self._weights(f"dw{len(self._nodes)}", (3, 3, channels), 2, 9, whole=False)
        out = (1, -(-height // stride), -(-width // stride), channels)
        sides = padding("SAME", (height, width), (3, 3), (stride, stride), (1, 1))
        return self._add(
            "depthwise_conv2d",
            (read.name, *weights),
            out,
            True,
            stride=(stride, stride),
            dilation=(1, 1),
            padding=sides,
            multiplier=1,
        )

    def transpose_conv2d(self, outputs: int, *, relu: bool = True) -> Tensor:
        """Kernel 4x4, stride 2, padding SAME: doubles height and width."""
        read = self.last
        _, height, width, channels = read.shape
        weights = self._weights(f"up{len(self._nodes)}", (outputs, 4, 4, channels), 0, 4 * channels, whole=False)
        return self._add(
            "transpose_conv2d",
            (read.name, *weights),
            (1, 2 * height, 2 * width, outputs),
            relu,
            stride=(2, 2),
            padding=(1, 1, 1, 1),
        )

    def enlarge(self) -> Tensor:
        """Every row and column twice."""
        read, name = self.last, f"resize{len(self._nodes)}"
        _, height, width, channels = read.shape
        shape = (1, 2 * height, 2 * width, channels)
        self.last = self._held[name] = Tensor(name=name, shape=shape, dtype="int8", scales=read.scales)
        node = Node(name=name, kind="resize", inputs=(read.name,), outputs=(name,), attributes={"mode": "nearest"})
        self._nodes.append(node)
        return self.last

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """A residual sum with ReLU."""
        return self._add("add", (a.name, b.name), a.shape, True)

    def pool(self) -> Tensor:
        """The mean over the whole image; scale and zero point stay."""
        read = self.last
        _, height, width, channels = read.shape
        return self._add(
            "avg_pool",
            (read.name,),
            (1, 1, 1, channels),
            True,
            filter=(height, width),
            stride=(1, 1),
            padding=(0, 0, 0, 0),
        )

    def softmax(self) -> Tensor:
        """Probabilities, at TFLite's scale of 1/256."""
        read, name = self.last, f"softmax{len(self._nodes)}"
        scales = Scales(scale=(1 / 256,), zero_point=(-128,))
        self.last = self._held[name] = Tensor(name=name, shape=read.shape, dtype="int8", scales=scales)
        attributes = {"beta": 1.0, "axis": 1}
        self._nodes.append(Node(name=name, kind="softmax", inputs=(read.name,), outputs=(name,), attributes=attributes))
        return self.last

    def reshape(self, shape: tuple[int, ...]) -> None:
        """The last layer's output in another shape: a dense layer may give any."""
        self.last = self._tensor(self.last.name, shape, zero_point=-128)

    def graph(self) -> Graph:
        """All of it."""
        return Graph(
            name=self._name,
            inputs=("input",),
            outputs=(self.last.name,),
            tensors=self._held,
            nodes=tuple(self._nodes),
        )


def autoencoder() -> Graph:
    """Anomaly detection: 640-128-128-128-128-8-128-128-128-128-640."""
    chain = _Chain("ad", (1, 640))
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        chain.dense(outputs)
    chain.dense(640, relu=False)
    return chain.graph()


def keywords() -> Graph:
    """Keyword spotting: DS-CNN with 64 channels on 49 x 10 features."""
    chain = _Chain("kws", (1, 49, 10, 1))
    chain.conv2d(64, (10, 4), 2)
    for _ in range(4):
        chain.depthwise()
        chain.conv2d(64, (1, 1))
    chain.pool()
    chain.dense(12, relu=False)
    chain.softmax()
    return chain.graph()


def images() -> Graph:
    """Image classification: ResNet8 on 32 x 32."""
    chain = _Chain("ic", (1, 32, 32, 3))
    before = chain.conv2d(16, (3, 3))
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        chain.conv2d(outputs, (3, 3), stride)
        inner = chain.conv2d(outputs, (3, 3), relu=False)
        if stride == 2:
            before = chain.conv2d(outputs, (1, 1), stride, relu=False, read=before)
        before = chain.add(inner, before)
    chain.pool()
    chain.dense(10, relu=False)
    chain.softmax()
    return chain.graph()


def wake_words() -> Graph:
    """Visual wake words: MobileNetV1 of width 0.25 on 96 x 96."""
    chain = _Chain("vww", (1, 96, 96, 3))
    chain.conv2d(8, (3, 3), 2)
    for outputs, stride in (
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)] + [(128, 1)] * 5 + [(256, 2), (256, 1)]
    ):
        chain.depthwise(stride)
        chain.conv2d(outputs, (1, 1))
    chain.pool()
    chain.dense(2, relu=False)
    chain.softmax()
    return chain.graph()


def decoder() -> Graph:
    """A VAE's decoder of 28 x 28 digits: dense 16-1568, two transposed convolutions; without its sigmoid."""
    chain = _Chain("vae", (1, 16))
    chain.dense(1568)
    chain.reshape((1, 7, 7, 32))
    chain.transpose_conv2d(16)
    chain.transpose_conv2d(1, relu=False)
    return chain.graph()


def enlarging_decoder() -> Graph:
    """The same image by the templates' drawing network: three convolutions, and a step to twice the size between."""
    chain = _Chain("enlarging", (1, 16))
    chain.dense(784)
    chain.reshape((1, 7, 7, 16))
    chain.conv2d(16, (3, 3))
    chain.enlarge()
    chain.conv2d(8, (3, 3))
    chain.enlarge()
    chain.conv2d(1, (3, 3), relu=False)
    return chain.graph()


def blocks(count: int) -> Graph:
    """Equal residual blocks of 16 x 16, twice as many channels inside as outside."""
    chain = _Chain("blocks", (1, 16, 16, 8))
    before = chain.conv2d(8, (3, 3))
    for _ in range(count):
        chain.conv2d(16, (1, 1))
        before = chain.add(chain.conv2d(8, (3, 3), relu=False), before)
    chain.pool()
    chain.dense(10, relu=False)
    return chain.graph()


NETWORKS = {"ad": autoencoder, "kws": keywords, "ic": images, "vww": wake_words, "vae": decoder}
"""Short name, as in MLPerf Tiny, -> graph."""
