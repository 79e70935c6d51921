"""What a hostile input is, and the tables that most of them are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.tables import put

Make = Callable[[Path], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``make`` writes files into the folder and gives the keys of ``[data]`` after origin and licence.

    ``says`` is what the one paragraph must name: the file, the row, the column or the key.
    """

    make: Make
    says: tuple[str, ...]


class Cases(dict[str, Case]):
    """Cases by name."""

    def add(self, name: str, make: Make, *says: str) -> None:
        assert name not in self
        self[name] = Case(make=make, says=says)


COLUMNS = '[data.columns]\na = { type = "number" }\nkind = { type = "category", role = "label" }\n'
OBJECTS = [{"a": number + 0.5, "kind": "xy"[number % 2]} for number in range(40)]
ROWS = [f"{number}.5,{'xy'[number % 2]}" for number in range(40)]


def csv(
    content: bytes | str, *, columns: str = COLUMNS, collect: str = "", name: str = "t.csv", more: str = ""
) -> Make:
    def make(folder: Path) -> str:
        put(folder / name, content)
        kind = "" if name.endswith((".csv", ".tsv")) else 'kind = "csv"\n'
        table = f"[data.collect]\n{collect}\n" if collect else ""
        return f'source = "{name}"\n{kind}{table}{columns}{more}'

    return make


def csv_rows(*changed: tuple[int, str], header: str = "a,kind", rows: list[str] = ROWS) -> str:
    """A table whose rows, counted from 1, are changed."""
    lines = [header, *rows]
    for row, line in changed:
        lines[row] = line
    return "\n".join(lines) + "\n"


def typed(cell: str, column: str, row: int = 7, **collect: Any) -> Make:
    """A table with a further column ``c``, of which one cell is this one."""
    rows = [
        f"{line},{cell if number == row else _FILLER[column.split(',', 1)[0]]}" for number, line in enumerate(ROWS, 1)
    ]
    return csv(csv_rows(header="a,kind,c", rows=rows), columns=f"{COLUMNS}c = {{ type = {column} }}\n", **collect)


_FILLER = {
    '"number"': "1",
    '"integer"': "1",
    '"boolean"': "true",
    '"time"': "2024-05-01",
    '"category"': "u",
    '"text"': "u",
}
