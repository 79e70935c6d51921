"""``[train]`` of a project; importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.core.records import read_record, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How long and how fast to train. Everything here changes the weights, the number of threads too."""

    epochs: int = setting(30, doc="passes over the training part", minimum=1, maximum=100_000)
    batch_size: int = setting(32, doc="images per step", minimum=1, maximum=65_536)
    learning_rate: float = setting(
        0.002, doc="Adam's step size at the start; falls to zero along a half cosine", minimum=1e-7, maximum=1.0
    )
    # One thread is the default: two save a third on an idle machine and cost tenfold where another process is busy.
    threads: int = setting(1, doc="CPU threads; another number gives other rounding", minimum=1, maximum=256)


def read_train_settings(table: Mapping[str, Any], source: str) -> TrainSettings:
    """``[train]`` read strictly; ``source`` is the file that a person would open."""
    return read_record(TrainSettings, table, "train", source)
