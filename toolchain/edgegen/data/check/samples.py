"""What every check looks at: the carrier with its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.carrier import Coded, read_groups, read_labels, sample_count, shown_sample
from edgegen.data.collected import SPLIT_FILE, Collected, Files
from edgegen.data.dataset import PARTS
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checking:
    """A split carrier; labels and groups are read when they are first asked for."""

    files: Files
    collected: Collected
    settings: DataSettings
    by: str  # how it was split
    notes: list[str] = field(default_factory=list)  # what was not looked at, or only in part

    @cached_property
    def parts(self) -> Array:
        """(samples,) uint8: index into ``dataset.PARTS``, or 255."""
        parts: Array = np.load(self.files[SPLIT_FILE], mmap_mode="r", allow_pickle=False)
        samples = sample_count(self.files, self.collected)
        if parts.shape != (samples,):
            raise UsageError("the split is not of these samples", got=list(parts.shape), expected=f"[{samples}]")
        return parts

    @cached_property
    def labels(self) -> Coded | None:
        return read_labels(self.files, self.collected, self.settings)

    @cached_property
    def groups(self) -> Coded | None:
        return read_groups(self.files, self.collected, self.settings)

    def chosen(self, part: str) -> Array:
        """(samples,) bool: the samples of a part."""
        chosen: Array = np.asarray(self.parts) == PARTS.index(part)
        return chosen

    def shown(self, index: int) -> str:
        """How people find a sample."""
        return shown_sample(self.files, self.collected, index)
