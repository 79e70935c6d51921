"""One module an operator kind: what it computes (``reference``) and how it is run (``lower``)."""

from __future__ import annotations

import importlib
from typing import cast

from edgegen.core.errors import BuildError
from edgegen.core.lazy import nearest
from edgegen.export.c.lowered import Operator

OPERATORS: dict[str, str] = {
    # Products and what their networks cannot do without.
    "conv2d": "conv2d",
    "depthwise_conv2d": "depthwise_conv2d",
    "transpose_conv2d": "transpose_conv2d",
    "dense": "dense",
    "add": "add",
    "avg_pool": "avg_pool",
    # Everything else.
}
"""Kind of a node -> the module of this folder that knows it."""


def operator(kind: str) -> Operator:
    """The module of a kind.

    Raises:
        BuildError: there is none.
    """
    if kind not in OPERATORS:
        raise BuildError(
            f"there is no kernel for the operator {kind!r}",
            expected=f"one of {', '.join(sorted(OPERATORS))}{nearest(kind, OPERATORS)}",
        )
    return cast(Operator, importlib.import_module(f"{__name__}.{OPERATORS[kind]}"))
