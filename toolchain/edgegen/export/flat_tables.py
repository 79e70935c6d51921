"""Flatbuffer tables whose schema has no reader of its own here, read by the places of their fields.

Layout: https://flatbuffers.dev/internals/. A field's place is its position in the schema's table, counted from 0; a
union takes two places, its kind and its value. Every offset is looked at before it is followed, and what is read of
one file in all is bounded: a crafted file can let many offsets lead to one table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAX_ITEMS = 1_000_000
"""Fields, tables and numbers together: a real model has some thousands."""


class DamagedTableError(ValueError):
    """An offset leads out of the file, or the file claims more than any model has."""


class Bounded:
    """The bytes of one flatbuffer, and how much of them has been asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._seen = 0

    def root(self) -> Table:
        """The table that the file is of."""
        return Table(self, self.number("<I", 0))

    def number(self, form: str, at: int) -> int:
        """The integer at a place.

        Raises:
            DamagedTableError: the place is not in the file.
        """
        self.count(1)
        if at < 0:  # struct would count from the end
            raise DamagedTableError("an offset leads out of the file")
        try:
            return int(struct.unpack_from(form, self.data, at)[0])
        except struct.error as error:
            raise DamagedTableError("an offset leads out of the file") from error

    def count(self, items: int) -> None:
        """Raises DamagedTableError if more was asked for than a model has."""
        self._seen += items
        if self._seen > _MAX_ITEMS:
            raise DamagedTableError(f"it claims more than {_MAX_ITEMS} fields and items")


class Table:
    """One table; fields that are not in the file have their defaults."""

    def __init__(self, inside: Bounded, at: int) -> None:
        self._inside = inside
        self._at = at
        self._fields = at - inside.number("<i", at)
        self._fields_end = inside.number("<H", self._fields)

    def number(self, place: int, form: str = "<I", default: int = 0) -> int:
        """An integer field; ``form`` is struct's."""
        at = self._field(place)
        return default if at is None else self._inside.number(form, at)

    def text(self, place: int) -> str:
        """A string field, or an empty string."""
        return self.data(place).decode("utf-8", "replace")

    def data(self, place: int) -> bytes:
        """A string or a vector of bytes, or nothing."""
        at = self._followed(place)
        if at is None:
            return b""
        length = self._inside.number("<I", at)
        if at + 4 + length > len(self._inside.data):
            raise DamagedTableError("an offset leads out of the file")
        return self._inside.data[at + 4 : at + 4 + length]

    def numbers(self, place: int, form: str = "<i") -> list[int]:
        """A vector of integers, or an empty list."""
        at, width = self._followed(place), struct.calcsize(form)
        return [] if at is None else [self._inside.number(form, each) for each in self._items(at, width)]

    def table(self, place: int) -> Table | None:
        """A table, or None."""
        at = self._followed(place)
        return None if at is None else Table(self._inside, at)

    def tables(self, place: int) -> list[Table]:
        """A vector of tables, or an empty list."""
        at = self._followed(place)
        if at is None:
            return []
        return [Table(self._inside, each + self._inside.number("<I", each)) for each in self._items(at, 4)]

    def union(self, place: int) -> tuple[int, Table | None]:
        """The kind of a union (0: none), and its table."""
        kind = self.number(place, "<B")
        return kind, self.table(place + 1) if kind else None

    def _items(self, at: int, width: int) -> Iterator[int]:
        length = self._inside.number("<I", at)
        self._inside.count(length)
        return (at + 4 + width * index for index in range(length))

    def _field(self, place: int) -> int | None:
        slot = 4 + 2 * place
        if slot >= self._fields_end:
            return None
        offset = self._inside.number("<H", self._fields + slot)
        return self._at + offset if offset else None

    def _followed(self, place: int) -> int | None:
        at = self._field(place)
        return None if at is None else at + self._inside.number("<I", at)
