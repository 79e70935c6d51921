"""Arrays that grow row by row in an unnamed temporary file, which is gone when the last array over it is."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import StorageError

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


class Spill:
    """Rows of one shape and type, on disk as soon as they are added."""

    def __init__(self, dtype: Any, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._rows = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the array over it

    def add(self, rows: Array) -> None:
        """Appends (rows, *row_shape).

        Raises:
            StorageError: the disk is full.
        """
        assert rows.shape[1:] == self._row_shape
        try:
            self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
            self._file.flush()
        except OSError as error:
            raise StorageError(
                "the prepared samples find no room",
                where=tempfile.gettempdir(),
                got=error,
                next_step="free some space, or set TMPDIR to a folder that has more",
            ) from error
        self._rows += len(rows)

    def array(self) -> Array:
        """All rows, mapped read-only."""
        shape = (self._rows, *self._row_shape)
        if not self._rows or not self._dtype.itemsize:
            return np.empty(shape, self._dtype)
        return np.memmap(self._file, self._dtype, mode="r", shape=shape)
