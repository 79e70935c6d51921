"""The settings of rewriting. Reading them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """Exact rewrites of the exported graph, each kept where it makes the file cheaper on the target."""

    fix: Mapping[str, tuple[float, ...]] = setting(
        {},
        doc="inputs that always have these values (one for all elements, or one each): the graph then ignores them",
    )
    without: tuple[str, ...] = setting((), doc="names of passes that are not tried, as the step's table calls them")
    gain: Literal["both", "instructions", "bytes"] = setting(
        "both",
        doc="what must fall: both: instructions times bytes; or one of the two, the other deciding where it is equal",
    )
    tolerance_ratio: float = setting(
        3e-5,
        doc="how far an output may move, in parts of its largest magnitude; float32 rounds by 6e-8, sums of n terms "
        "in another order by about the root of n times that",
        minimum=0,
        maximum=1e-2,
    )
    samples: int = setting(32, doc="calibration inputs that every rewrite is verified with", minimum=1, maximum=4096)
