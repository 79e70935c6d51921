"""Flatbuffer tables read by the places of their fields, from bytes that may claim anything."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from flatbuffers import Builder

from edgegen.export.flat_tables import Bounded, DamagedTableError, Table


def written() -> bytes:
    """Fields: 0 an int32, 1 absent, 2 a string, 3 uint32s, 4 tables (0: an int32), 5 and 6 a union of the kind 2."""
    builder = Builder(0)
    text = builder.CreateString("näme")
    numbers = builder.CreateNumpyVector(np.array([3, 1, 4], np.uint32))
    inner = []
    for value in (7, 8):
        builder.StartObject(1)
        builder.PrependInt32Slot(0, value, 0)
        inner.append(builder.EndObject())
    builder.StartVector(4, len(inner), 4)
    for offset in reversed(inner):
        builder.PrependUOffsetTRelative(offset)
    tables = builder.EndVector()
    builder.StartObject(7)
    builder.PrependInt32Slot(0, -5, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.PrependUOffsetTRelativeSlot(3, numbers, 0)
    builder.PrependUOffsetTRelativeSlot(4, tables, 0)
    builder.PrependUint8Slot(5, 2, 0)
    builder.PrependUOffsetTRelativeSlot(6, inner[0], 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def everything(table: Table) -> list[object]:
    kind, inside = table.union(5)
    return [
        table.number(0, "<i"),
        table.number(1, "<i", 9),
        table.number(40, "<i", 9),
        table.text(2),
        table.numbers(3, "<I"),
        [each.number(0, "<i") for each in table.tables(4)],
        kind,
        None if inside is None else inside.number(0, "<i"),
    ]


def test_fields_are_read_by_their_places() -> None:
    assert everything(Bounded(written()).root()) == [-5, 9, 9, "näme", [3, 1, 4], [7, 8], 2, 7]


def test_absent_fields_are_empty() -> None:
    table = Bounded(written()).root()
    assert (table.text(1), table.numbers(1), table.tables(1), table.table(1), table.union(1)) == (
        "",
        [],
        [],
        None,
        (0, None),
    )


def test_every_cut_and_every_changed_byte_gives_values_or_a_damaged_table() -> None:
    data, refused = written(), 0
    broken = [data[:cut] for cut in range(len(data))]
    broken += [
        data[:place] + bytes([value]) + data[place + 1 :] for place in range(len(data)) for value in (0, 127, 255)
    ]
    for case in broken:
        try:
            everything(Bounded(case).root())
        except DamagedTableError:
            refused += 1
    assert refused > len(data)


def test_vector_that_claims_more_than_a_model_has_is_refused() -> None:
    data = bytearray(written())
    place = data.index(struct.pack("<IIII", 3, 3, 1, 4))
    data[place : place + 4] = struct.pack("<I", 2_000_000)
    with pytest.raises(DamagedTableError, match="1000000"):
        Bounded(bytes(data)).root().numbers(3, "<I")


def test_tables_that_are_read_again_and_again_are_bounded() -> None:
    table = Bounded(written()).root()
    with pytest.raises(DamagedTableError, match="1000000"):
        list(map(table.numbers, [3] * 1_000_000))
