"""Keeps converters and quantizers off stdout and stderr.

Their native code writes to the file descriptors themselves, so Python's own redirection does not reach it. stdout
belongs to ``--json``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TAIL_BYTES = 2000


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Sends everything that is written to stdout and stderr during the block to a temporary file.

    Holds for the whole process, so keep the block short. Gives a function that returns the last words written, for
    the error that explains a failed conversion.
    """
    _flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def last_words() -> str:
            _flush()
            size = os.fstat(sink.fileno()).st_size
            return os.pread(sink.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace").strip()

        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield last_words
        finally:
            _flush()
            for number, original in enumerate(saved, start=1):
                os.dup2(original, number)
                os.close(original)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
