"""Small tables on disk, collected as a build collects them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from edgegen.core.lazy import load
from edgegen.core.ports import Silent
from edgegen.data.collect.source import COLLECTORS, find_source
from edgegen.data.collected import ROWS_FILE, Collected
from edgegen.data.rows import read_rows
from edgegen.data.settings import CollectSettings, Column, DataSettings


def table_settings(source: str, columns: Mapping[str, Column], kind: Any = None, **collect: Any) -> DataSettings:
    """``[data]`` of a table with an origin and a licence."""
    return DataSettings(
        source=source,
        kind=kind,
        origin="made up",
        licence="CC0-1.0",
        columns=columns,
        collect=CollectSettings(**collect),
    )


def collect_into(out: Path, settings: DataSettings, project: Path) -> Collected:
    """Collects the settings' source into the folder ``out``, which is made."""
    out.mkdir(exist_ok=True)
    source = find_source(settings, project)
    return load(COLLECTORS[source.kind])(source, settings, out, Silent())


def collected_frame(out: Path) -> pd.DataFrame:
    """All collected rows."""
    return pd.concat(list(read_rows(out / ROWS_FILE)))


def put(path: Path, content: str | bytes) -> Path:
    """Writes a file as it is, without changing line ends."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
