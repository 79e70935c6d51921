"""What a lower room needs from above, as Protocols that ``pipeline`` fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Tensors: TypeAlias = "Mapping[str, np.ndarray[Any, Any]]"
"""Arrays by tensor name, samples along the first axis."""


class Progress(Protocol):
    """Tells a person how far long work is. Implementations draw on stderr or stay silent."""

    def say(self, message: str) -> None:
        """One line that stays."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        """``done`` of ``total`` units of ``task`` are finished; the same ``task`` updates the same bar."""


class Sampler(Protocol):
    """Draws the inputs of a deployed generator. Randomness is an input: the same seed gives the same arrays."""

    def __call__(self, samples: int, seed: int) -> Tensors:
        """``samples`` input rows by tensor name, dtype and shape as the model declares them."""


class CostProbe(Protocol):
    """Counts what one inference of a model file costs on the target."""

    def __call__(self, model: Path, runtime: str) -> Mapping[str, int]: ...


class QualityProbe(Protocol):
    """Judges a model file against the float parent with the target's own kernels."""

    def __call__(self, model: Path, runtime: str) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """A target that steps may ask, with a digest of all that shapes its answers."""

    cost: CostProbe
    quality: QualityProbe
    key: str


class LineSource(Protocol):
    """A stream of text lines from a device or socket."""

    def lines(self) -> Sequence[str]: ...


class Silent:
    """A Progress that says nothing: for tests, ``--quiet`` and library use."""

    def say(self, message: str) -> None:
        """Drops the message."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        """Drops the update."""
