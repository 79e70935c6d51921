"""The settings of quantization-aware training. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat:
    """The model learns the float parent's answers while its weights are rounded as the deployed ones will be."""

    bits: Literal[8, 4] = setting(8, doc="of the weights of linear layers")
    convolution_bits: Literal["same", 8, 4, "none"] = setting(
        "same", doc="of the weights of convolutions; same: as bits; none leaves them in float", search=()
    )
    embedding_bits: Literal["same", 8, 4, "none"] = setting("same", doc="likewise of the rows of embeddings", search=())
    activation_bits: Literal[8, "none"] = setting(
        "none", doc="of what enters a layer, one scale a tensor; for static-int8 behind this step"
    )
    block: int = setting(
        32,
        doc="4 bits: weights next to each other along the input that share a scale, as of weight-int4 on onnx; "
        "0: those of an output channel, as of weight-int4 on litert",
        minimum=0,
        maximum=1024,
        search=(32, 0),
    )
    weights_per_scale: int = setting(
        32,
        doc="without blocks: weights that an output channel must have for a scale of its own; else the tensor has one",
        minimum=1,
        maximum=1_000_000_000,
    )
    keep: tuple[str, ...] = setting((), doc="names of layers that stay in float, e.g. conv3")
    steps: int = setting(1000, doc="training steps", minimum=1, maximum=1_000_000)
    batch: int = setting(32, doc="questions per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        3e-4, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )
