"""Which shaper makes the model's samples, and what all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.data.collected import Collected, Files
from edgegen.data.dataset import save_dataset
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    from edgegen.data.dataset import DataSet

SHAPERS = {
    "images": "edgegen.data.shape.images:shape",
    "vectors": "edgegen.data.shape.vectors:shape",
    "series": "edgegen.data.shape.series:shape",
    "audio": "edgegen.data.shape.audio:shape",
    "tokens": "edgegen.data.shape.tokens:shape",
}
"""Kind of sample -> its shaper: ``shape(files, collected, settings, how, progress) -> DataSet``."""


def sample_kind(collected: Collected, settings: DataSettings, *, tokens: bool) -> str:
    """What a sample will be. ``tokens``: the model family takes tokens."""
    if collected.kind == "table":
        if tokens:
            return "tokens"
        return "series" if settings.window is not None and not settings.window.statistics else "vectors"
    if collected.kind == "text" and not tokens:
        raise UsageError(
            "text is for a model of tokens", where="[model] family", next_step="choose the family 'autoregressive'"
        )
    return {"images": "images", "audio": "audio", "text": "tokens"}[collected.kind]


def shape(
    files: Files,
    collected: Collected,
    settings: DataSettings,
    split: Mapping[str, Any],
    folder: Path,
    progress: Progress,
    *,
    tokens: bool = False,
) -> Mapping[str, Any]:
    """Writes the prepared set into ``folder`` and returns its form as a plain record.

    Args:
        files: the carrier's files, ``split.npy`` and ``fitted.json``.
        split: the record that splitting gave.
    """
    shaper = load(SHAPERS[sample_kind(collected, settings, tokens=tokens)], extra="data")
    dataset: DataSet = shaper(files, collected, settings, str(split["how"]), progress)
    save_dataset(dataset, folder)
    return write_record(dataset.form)
