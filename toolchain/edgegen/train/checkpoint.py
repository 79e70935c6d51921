"""Checkpoints of a training run: whole or absent, never executed, and only taken up by the run that wrote them."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.core.ports import Progress

_FIELDS = {"key", "epoch", "model", "optimizer", "history"}
_BROKEN = (  # what torch.load raises on damaged or hostile bytes
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replaces the checkpoint in one step: whoever is killed here leaves the earlier one."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            torch.save(dict(state), stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_checkpoint(path: Path, key: str, progress: Progress) -> dict[str, Any] | None:
    """The state that a run with the same ``key`` left, or None; says so where one is there and cannot be used."""
    import torch

    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        progress.say(f"the checkpoint {path.name} is damaged ({type(error).__name__}): training starts over")
        return None
    if not isinstance(state, dict) or set(state) != _FIELDS:
        progress.say(f"the checkpoint {path.name} is not one of this version: training starts over")
        return None
    if state["key"] != key:
        progress.say(f"the checkpoint {path.name} is of a run with other settings or data: training starts over")
        return None
    return state
