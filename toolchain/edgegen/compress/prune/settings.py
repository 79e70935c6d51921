"""The settings of the pruning steps. Reading them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.errors import UsageError
from edgegen.core.records import setting

_SCOPE = (
    "layer: the ratio leaves every layer; global: as much cost leaves as that would save, where it spoils the answers "
    "least"
)
_COST = (
    "global: what leaving channels save: multiply-accumulates, parameters, or both, each in parts of the model's own"
)
_RATIOS = (
    "layers with a ratio of their own, by the names that the step's figures list, e.g. { conv1 = 0.5 }; 0: all stay"
)
_TRUTH = "weight of what is true in tuning, beside the parent's outputs: labels, next tokens, targets; generators: none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Whole channels, units and heads leave; the rest is tuned towards the float parent's outputs."""

    ratio: float = setting(0.25, doc="share of the channels that leaves", minimum=0, maximum=0.95, search=(0.5, 0.75))
    scope: Literal["layer", "global"] = setting("global", doc=_SCOPE)
    cost: Literal["macs", "parameters", "both"] = setting("macs", doc=_COST)
    ratios: Mapping[str, float] = setting({}, doc=_RATIOS, minimum=0, maximum=0.95)
    multiple: int = setting(4, doc="channels are kept in multiples of this, heads one by one", minimum=1, maximum=64)
    rounds: int = setting(1, doc="channels leave in so many rounds, each of which is tuned", minimum=1, maximum=50)
    truth: float = setting(0.0, doc=_TRUTH, minimum=0, maximum=1000, search=(1.0,))
    steps: int = setting(1000, doc="tuning steps of all rounds together", minimum=0, maximum=1_000_000)
    batch: int = setting(32, doc="latents, samples or rows per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )


_PATTERN = "unstructured: any weight may become zero; N:M, e.g. 2:4: N of M neighbouring inputs of a layer stay"
_METHOD = "which weights stay: the largest, or those that tuning moves away from zero"
_SPARSE_RATIO = "unstructured: share of the weights that become zero, by default 0.5; a pattern N:M says it itself"
_SPARSE_SCOPE = "unstructured: every layer loses the ratio, or all together do, each where it matters least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """Single weights become zero while the rest is tuned. The file compresses better; no kernel is faster for it."""

    pattern: str = setting("unstructured", doc=_PATTERN)
    method: Literal["magnitude", "movement"] = setting("magnitude", doc=_METHOD)
    ratio: float | None = setting(None, doc=_SPARSE_RATIO, minimum=0, maximum=0.99)
    scope: Literal["layer", "global"] = setting("layer", doc=_SPARSE_SCOPE)
    growing: float = setting(0.6, doc="share of the steps in which the zeros become more", minimum=0, maximum=1)
    every: int = setting(10, doc="steps from one choice of the zeros to the next", minimum=1, maximum=10_000)
    truth: float = setting(0.0, doc=_TRUTH, minimum=0, maximum=1000)
    steps: int = setting(1000, doc="tuning steps", minimum=0, maximum=1_000_000)
    batch: int = setting(32, doc="latents, samples or rows per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        2e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )

    def __post_init__(self) -> None:
        kept, of = self.kept
        if not 1 <= kept < of <= 32 and self.pattern != "unstructured":
            raise UsageError(
                "the value of 'compress.sparse.pattern' is not usable",
                got=self.pattern,
                expected="'unstructured', or N:M with N below M and M of at most 32, e.g. '2:4'",
            )
        if self.pattern != "unstructured" and (self.ratio is not None or self.scope == "global"):
            raise UsageError(
                f"the pattern {self.pattern} says how many weights stay in every layer",
                where="[compress.sparse]",
                got=f"ratio = {self.ratio}, scope = {self.scope}",
                next_step="leave 'ratio' and 'scope' out, or set pattern = 'unstructured'",
            )

    @property
    def kept(self) -> tuple[int, int]:
        """N and M of the pattern; zeros where it is none."""
        kept, colon, of = self.pattern.partition(":")
        return (int(kept), int(of)) if colon and kept.isdecimal() and of.isdecimal() else (0, 0)

    @property
    def share(self) -> float:
        """Of the weights that become zero."""
        kept, of = self.kept
        if of:
            return 1 - kept / of
        return 0.5 if self.ratio is None else self.ratio
