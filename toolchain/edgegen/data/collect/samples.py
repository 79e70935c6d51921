"""Writing the carrier of samples (values, labels, groups, names), each file whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.collect.media import MediaFile
from edgegen.data.collected import GROUPS_FILE, LABELS_FILE, NAMES_FILE, VALUES_FILE
from edgegen.data.npz import LIMIT_BYTES

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


@contextmanager
def new_values(folder: Path, shape: tuple[int, ...], dtype: str, where: str) -> Iterator[Array]:
    """``values.npy``, mapped for writing and of zeros; the file takes its name when the block ends well.

    Raises:
        UsageError: the array would be larger than ``npz.LIMIT_BYTES``.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > LIMIT_BYTES:
        raise UsageError(
            "the samples take too much space",
            where=where,
            got=f"{size} bytes as {dtype} of shape {list(shape)}",
            expected=f"at most {LIMIT_BYTES} bytes",
            next_step="choose fewer or smaller samples",
        )
    partial = folder / f"{VALUES_FILE}.part"
    try:
        values = np.lib.format.open_memmap(partial, mode="w+", dtype=np.dtype(dtype), shape=shape)
        yield values
        values.flush()
        del values
        partial.rename(folder / VALUES_FILE)
    finally:
        partial.unlink(missing_ok=True)


def write_names(folder: Path, files: Sequence[MediaFile]) -> None:
    """Names of the files, and their labels and groups where they have them."""
    write_text(folder / NAMES_FILE, [item.name for item in files])
    labels = [item.label for item in files if item.label is not None]
    if labels:
        write_text(folder / LABELS_FILE, labels)
    groups = [item.group for item in files if item.group is not None]
    if groups:
        write_text(folder / GROUPS_FILE, groups)


def write_text(path: Path, texts: Sequence[str]) -> None:
    """One text a sample, as numpy's fixed-width unicode."""
    np.save(path, np.array(texts, dtype=str), allow_pickle=False)
