"""Reads small files of a place: whole, bounded, and found to be what their digest says."""

from __future__ import annotations

import math
import time

from edgegen.artifacts.registry_patience import FAILURES, Attempts, Patience
from edgegen.artifacts.transfer import Descriptor, Source, checked_bytes
from edgegen.core.errors import IntegrityError, ToolMissingError


def read_small(
    source: Source,
    blob: Descriptor | None,
    title: str,
    limit_bytes: int,
    patience: Patience,
    deadline: float = math.inf,
) -> bytes:
    """The bytes of a file.

    Args:
        title: the file's name, for messages.
        deadline: ``time.monotonic()`` after which nothing is waited for.

    Raises:
        ToolMissingError: the place does not answer, or not in time.
        IntegrityError: missing, too large, or not what its digest says.
    """
    if blob is None or blob.size_bytes > limit_bytes:
        raise IntegrityError(
            "a file is missing or larger than it may be",
            where=f"{source.place}, {title}",
            expected=f"<= {limit_bytes} bytes",
        )
    attempts = Attempts(patience, source.place)
    while True:
        try:
            with source.blob(blob, 0) as stream:
                data = b""
                for chunk in stream.chunks():
                    data += chunk
                    if time.monotonic() > deadline:
                        raise ToolMissingError("a file takes too long to arrive", where=f"{source.place}, {title}")
            return checked_bytes(data, blob.digest, "a file", f"{source.place}, {title}")
        except FAILURES as error:
            attempts.failed(error)
