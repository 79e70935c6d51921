"""One column of numbers in the order of time as rows of context + 1 tokens: the bins that its values fall into.

Rows lie inside one recording and one part; a row's last token is the next row's first.
"""

from __future__ import annotations

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collected import Collected, Files
from edgegen.data.dataset import PARTS, DataSet
from edgegen.data.settings import DataSettings
from edgegen.data.shape.recordings import read_recordings
from edgegen.data.shape.tokens import token_rows, token_set
from edgegen.data.tokenizer import learn_bins
from edgegen_runtime.tokens import read_tokenizer

_TRAIN = PARTS.index("train")


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """Rows (samples, context + 1) of tokens; the bins share the training part's values evenly.

    Raises:
        UsageError: settings that are for text, more than one feature, or a part without a whole row.
    """
    _check_settings(settings)
    recordings = read_recordings(files, collected, settings, np.float32, progress)
    if len(recordings.names) != 1:
        raise UsageError(
            "bins take one column of numbers",
            where="[data.columns]",
            got=f"{len(recordings.names)} features: {', '.join(recordings.names[:10])}",
            expected="1",
        )
    values = recordings.rows[:, 0]
    record = learn_bins(values[recordings.part == _TRAIN], settings.text.vocabulary, progress)
    tokenizer = read_tokenizer(record)
    tokens = tokenizer.encode(values)
    context = settings.text.context
    starts = recordings.window_starts(context + 1, context)
    rows = {name: token_rows(tokens, starts[name], context) for name in PARTS}
    steps = [*recordings.contract["steps"], {"do": "tokens", "tokenizer": record}]
    contract = {**recordings.contract, "steps": steps}
    return token_set(collected, settings, how, rows, tokenizer, contract, features=recordings.names)


def _check_settings(settings: DataSettings) -> None:
    if settings.text.tokens != "bins":
        raise UsageError(
            "a series of numbers becomes tokens by bins",
            where="[data.text] tokens",
            got=settings.text.tokens,
            next_step="set tokens = 'bins'",
        )
    if settings.clean.scale != "none":
        raise UsageError(
            "bins share the values evenly whatever their scale, and come back in the column's own unit",
            where="[data.clean] scale",
            got=settings.clean.scale,
            next_step="remove the key",
        )
