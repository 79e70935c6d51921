"""The points of a front, as ``edgegen search`` left them: what ``edgegen build --point`` builds.

Imports nothing heavy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_file
from edgegen.core.project import PointTable
from edgegen.core.records import read_record

FRONT_FILE = Path("search") / "front.json"
"""Where a target's front lies, below ``build/<target>/``."""

_SCHEMA_VERSION = 1
_MAX_FILE_BYTES = 64 << 20


def read_front_points(path: Path) -> dict[str, PointTable]:
    """The points of a ``front.json`` by name, plain presets included; none where there is no such file.

    Raises:
        UsageError: the file is not a front, or one of another version.
    """
    try:
        if not path.is_file():
            return {}
        document = json.loads(read_file(path, "the front", limit_bytes=_MAX_FILE_BYTES))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError("the front cannot be read", where=str(path), got=error) from error
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    points = document.get("points") if isinstance(document, Mapping) else None
    if version != _SCHEMA_VERSION or not isinstance(points, list):
        raise UsageError(
            "the front cannot be read",
            where=str(path),
            got=f"schema_version {version}",
            expected=f"schema_version {_SCHEMA_VERSION} and a list of points",
            next_step="repeat edgegen search",
        )
    return dict(_point(item, str(path)) for item in points)


def _point(item: Any, source: str) -> tuple[str, PointTable]:
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise UsageError("the front cannot be read", where=source, expected="points with names")
    told = {key: item[key] for key in ("recipe", "format", "settings") if key in item}
    return item["name"], read_record(PointTable, told, f"points.{item['name']}", source)
