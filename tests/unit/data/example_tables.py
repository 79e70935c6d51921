"""Tables as collecting and splitting would leave them, for tests of what comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from edgegen.data.collected import ROWS_FILE, SPLIT_FILE, Collected
from edgegen.data.rows import RowsWriter, frame_type
from edgegen.data.settings import CleanSettings, Column, DataSettings

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, 255


def columns(**types: str | Column) -> dict[str, Column]:
    """Declared columns; a bare text is a type."""
    return {name: Column(type=kind) if isinstance(kind, str) else kind for name, kind in types.items()}


def table(
    folder: Path, declared: Mapping[str, Column], cells: Mapping[str, Sequence[Any]], parts: Sequence[int]
) -> tuple[dict[str, Path], Collected]:
    """Writes ``rows.parquet`` and ``split.npy``; None is a missing cell."""
    frame = pd.DataFrame({name: pd.Series(list(cells[name]), dtype=frame_type(declared[name])) for name in declared})
    with RowsWriter(folder / ROWS_FILE, declared) as writer:
        writer.append(frame)
    np.save(folder / SPLIT_FILE, np.array(parts, np.uint8))
    return {name: folder / name for name in (ROWS_FILE, SPLIT_FILE)}, collected(len(frame))


def collected(rows: int, carrier: str = "rows", kind: str = "table") -> Collected:
    """A record of where rows are from."""
    return Collected(
        carrier=carrier,
        kind=kind,
        name="made-up",
        samples=rows,
        source="t.csv",
        sha256="0" * 64,
        origin="o",
        licence="l",
    )


def asking(declared: Mapping[str, Column], features: Mapping[str, str] | None = None, **clean: Any) -> DataSettings:
    """Settings of a table with these columns and this cleaning."""
    return DataSettings(source="t.csv", columns=declared, features=features or {}, clean=CleanSettings(**clean))
