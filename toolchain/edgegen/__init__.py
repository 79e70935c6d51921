"""edgegen: a model ships only with proof.

``edgegen.build(project, target=…)`` is the Python form of ``edgegen build``, ``edgegen.search(project, target=…)`` that
of ``edgegen search``; importing this package is cheap.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from edgegen.core import VERSION

# ONNX Runtime sends usage data unless this stands before it is imported; every child process inherits it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from edgegen.pipeline.build import build
    from edgegen.pipeline.search import search

__all__ = ["build", "search"]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name == "build":
        from edgegen.pipeline.build import build

        return build
    if name == "search":
        from edgegen.pipeline.search import search

        return search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
