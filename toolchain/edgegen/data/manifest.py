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
class Preprocessing:
    """From a stored sample to the model's input; the same contract travels in the bundle."""

    input_dtype: str = setting(doc="element type as stored")
    output_dtype: Literal["float32"] = setting(doc="element type that the model takes")
    scale: Literal["divide by 255", "none"] = setting(doc="what is done to each value")
    layout: Literal["NCHW"] = setting(doc="axes of a batch")
    shape: tuple[int, ...] = setting(doc="one sample without the sample axis", minimum=1)
    minimum: float = setting(doc="least value after scaling")
    maximum: float = setting(doc="greatest value after scaling")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetManifest:
    """A data set with its origin, its licence and what is in doubt about it."""

    schema_version: Literal[1] = setting(doc="format of this file")
    name: str = setting(doc="the set's name")
    title: str = setting(doc="what a person calls it")
    origin: str = setting(doc="where the samples are from and how the file was made")
    licence: str = setting(doc="licence as the origin declares it")
    licence_doubt: str = setting("", doc="what is not known about the licence")
    file: str = setting(doc="name of the .npz")
    sha256: str = setting(doc="digest of the .npz, lower-case hex")
    arrays: Mapping[str, ArrayForm] = setting(doc="arrays of the .npz by name")
    split: Split = setting(doc="training and test part")
    preprocessing: Preprocessing = setting(doc="from a stored sample to the model's input")


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
