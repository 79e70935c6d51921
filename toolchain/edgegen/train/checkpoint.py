"""Checkpoints of a training run: whole or absent, never executed, and only taken up by the run that wrote them."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.core.digests import sha256_bytes
from edgegen.core.ports import Progress

_DIGEST_BYTES = 64
_BROKEN = (  # what torch.load raises on bytes that are whole and yet not of its making
    pickle.UnpicklingError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
)


def write_checkpoint(path: Path, key: str, state: Mapping[str, Any]) -> None:
    """Replaces the checkpoint in one step: whoever is killed here leaves the earlier one.

    Args:
        key: digest of everything that shapes the run; only a run with the same key takes the checkpoint up.
        state: tensors and plain values, as ``torch.load(weights_only=True)`` reads them.
    """
    import torch

    packed = io.BytesIO()
    torch.save({"key": key, "state": dict(state)}, packed)
    content = packed.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(sha256_bytes(content).encode("ascii") + content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_checkpoint(path: Path, key: str, progress: Progress) -> dict[str, Any] | None:
    """The state that a run with the same ``key`` left, or None; says so where one is there and cannot be used."""
    import torch

    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if sha256_bytes(content).encode("ascii") != digest:
        progress.say(f"the checkpoint {path.name} is damaged: training starts over")
        return None
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found, state = saved["key"], dict(saved["state"])
    except _BROKEN as error:
        progress.say(f"the checkpoint {path.name} is not one of this version ({type(error).__name__}): starting over")
        return None
    if found != key:
        progress.say(f"the checkpoint {path.name} is of a run with other settings or data: training starts over")
        return None
    return state
