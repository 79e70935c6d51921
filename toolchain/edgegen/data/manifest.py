"""``manifest.toml`` of a set under ``calibration_data/``: where it is from, and what its numbers mean."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.errors import UsageError
from edgegen.core.records import read_record, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayForm:
    """One array of the file as stored."""

    dtype: str = setting(doc="numpy's name of the element type")
    shape: tuple[int, ...] = setting(doc="all axes, samples first", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which samples may be trained on. The order in the file decides: train first, then test."""

    train: int = setting(doc="samples of the training part", minimum=1)
    test: int = setting(doc="samples of the test part", minimum=1)
    order: str = setting(doc="how the order of the samples came about")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetManifest:
    """A data set with its origin, its licence and what is in doubt about it."""

    schema_version: Literal[1] = setting(1, doc="format of this file")
    name: str = setting(doc="the set's name")
    title: str = setting(doc="what a person calls it")
    origin: str = setting(doc="where the samples are from and how the file was made")
    licence: str = setting(doc="licence as the origin declares it")
    licence_doubt: str = setting("", doc="what is not known about the licence")
    synthetic: bool = setting(False, doc="drawn from a model or a formula")
    file: str = setting(doc="name of the data file: .npz, .csv, .txt, .txt.gz or .parquet")
    sha256: str = setting(doc="digest of the data file, lower-case hex")
    content: str = setting(doc="what a sample is and in which units; the preprocessing that the numbers want")
    arrays: Mapping[str, ArrayForm] = setting({}, doc=".npz: arrays by name")
    split: Split | None = setting(None, doc="training and test part, where the order in the file decides")


def read_manifest(path: Path) -> SetManifest:
    """The manifest at ``path``.

    Raises:
        UsageError: not TOML, or not a manifest.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("the set's manifest is not TOML", where=str(path), got=error) from error
    return read_record(SetManifest, table, "", str(path))
