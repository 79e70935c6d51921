"""Tables of names to ``"module:attribute"``, imported when used.

Every extension point (families, steps, exporters, devices, metrics, commands) is one such table, so that listing
what exists imports nothing heavy.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgegen.core.errors import ToolMissingError


def load(target: str, *, extra: str | None = None) -> Any:
    """Imports ``"module:attribute"`` and returns the attribute.

    Raises:
        ToolMissingError: a library outside edgegen is not installed; the message names the pip extra.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "edgegen":
            raise
        package = f"edgegen[{extra}]" if extra else "edgegen"
        raise ToolMissingError(
            f"the library {error.name!r} is not installed",
            where=target,
            next_step=f"pip install '{package}'",
        ) from error
    return getattr(module, attribute)


def import_path() -> str:
    """What this process imports from, in its order: the PYTHONPATH of a child that is to find the same, wherever it
    runs, in a checkout and in a wheel."""
    return os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path if entry))


def nearest(name: str, known: Iterable[object]) -> str:
    """``"; did you mean 'x'?"`` for a likely slip of the pen, else an empty string."""
    matches = get_close_matches(name, [str(item) for item in known], n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
