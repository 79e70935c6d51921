"""Reading a model file that may come from a stranger: bounded, and with errors a person understands."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import UsageError

LARGEST_MODEL_BYTES = 2**31 - 1
"""Both formats address their contents with 31 bits."""

LARGEST_TENSOR_ELEMENTS = 2**29
"""2 GiB as float32: no deployed tensor is that large, and a file that declares one would take the memory to run."""


def read_model_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        UsageError: it cannot be read, is empty or is larger than a model can be.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_MODEL_BYTES + 1)
    except OSError as error:
        raise UsageError("the model file cannot be read", where=str(path), got=error.strerror) from error
    if not data or len(data) > LARGEST_MODEL_BYTES:
        raise UsageError(
            "the model file has an impossible size",
            where=str(path),
            got="an empty file" if not data else "more than 2 GiB",
            expected=f"1 to {LARGEST_MODEL_BYTES} bytes",
        )
    return data
