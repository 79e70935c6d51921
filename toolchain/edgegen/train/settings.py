"""``[train]`` of a project; importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.errors import UsageError
from edgegen.core.records import read_record, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How long and how fast to train. Everything here changes the weights, the number of threads too."""

    epochs: int = setting(30, doc="passes over the training part, at most", minimum=1, maximum=100_000)
    batch_size: int = setting(32, doc="samples per step, over all processes together", minimum=1, maximum=65_536)
    learning_rate: float = setting(0.002, doc="step size at its highest", minimum=1e-7, maximum=1.0)
    optimizer: Literal["adam", "adamw", "sgd"] = setting("adam", doc="sgd goes with a momentum of 0.9")
    weight_decay: float = setting(0.0, doc="of matrices and kernels; biases and norms have none", minimum=0, maximum=1)
    schedule: Literal["cosine", "constant"] = setting("cosine", doc="cosine: falls to zero along half a cosine")
    warmup_ratio: float = setting(0.0, doc="part of the steps over which the rate rises", minimum=0, maximum=0.5)
    clip_norm: float | None = setting(None, doc="greatest norm of a step's gradient", minimum=1e-6)
    ema: float = setting(
        0.0,
        doc="decay of the moving average of the weights, which is then what is deployed; 0: none",
        minimum=0,
        maximum=0.99999,
    )
    patience: int | None = setting(
        None, doc="epochs without a better validation loss after which training ends with the best weights", minimum=1
    )
    precision: Literal["float32", "bfloat16"] = setting("float32", doc="of matrix products while training")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", doc="auto: a GPU where there is one")
    # One thread is the default: two save a third on an idle machine and cost tenfold where another process is busy.
    threads: int = setting(1, doc="CPU threads; another number gives other rounding", minimum=1, maximum=256)
    start: str | None = setting(
        None,
        doc="fine-tune: folder with model.json, or another project's bundle; from the project's folder",
    )
    freeze: tuple[str, ...] = setting((), doc="patterns of parameter names that stay as they are, e.g. 'encoder.*'")
    lora_rank: int = setting(
        0,
        doc="fine-tune: rank of low-rank updates that replace those of the weights named by 'lora'",
        minimum=0,
        maximum=1024,
    )
    lora: tuple[str, ...] = setting(("*.weight",), doc="patterns of the matrices that 'lora_rank' is for")

    def __post_init__(self) -> None:
        if self.lora_rank and self.start is None:
            raise UsageError(
                "low-rank updates need weights to update",
                where="[train] lora_rank",
                next_step="name the weights to begin with in [train] start",
            )


def read_train_settings(table: Mapping[str, Any], source: str) -> TrainSettings:
    """``[train]`` read strictly; ``source`` is the file that a person would open."""
    return read_record(TrainSettings, table, "train", source)
