"""What collecting gives: a carrier of the raw samples and a record of where they are from.

Three carriers cross from step to step. Rows are a Parquet file, read in batches. Samples are arrays of equal shape.
Text is one UTF-8 file. Files are named here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgegen.core.records import read_record, setting

ROWS_FILE = "rows.parquet"
VALUES_FILE, LABELS_FILE, GROUPS_FILE, NAMES_FILE = "values.npy", "labels.npy", "groups.npy", "names.npy"
TEXT_FILE = "text.txt"
SPLIT_FILE = "split.npy"  # (samples,) uint8: index into dataset.PARTS
FITTED_FILE = "fitted.json"

Files: TypeAlias = "Mapping[str, Path]"
"""A step's files by name; blobs of the store have other names on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Where raw samples are from and what they are. ``labels.npy``, ``groups.npy`` and ``names.npy`` hold text."""

    carrier: Literal["rows", "samples", "text"] = setting(doc="which files hold the samples")
    kind: Literal["images", "audio", "table", "text"] = setting(doc="what a raw sample is")
    name: str = setting(doc="the set's name")
    samples: int = setting(doc="rows, samples, or bytes of text", minimum=0)
    source: str = setting(doc="the source as a person would find it, without secrets")
    sha256: str = setting(doc="digest of the source's content, lower-case hex")
    origin: str = setting(doc="where it is from")
    licence: str = setting(doc="the licence as the origin declares it")
    licence_doubt: str = setting("", doc="what is not known about the licence")
    synthetic: bool = setting(False, doc="drawn from a model or a formula")
    redacted: Mapping[str, int] = setting({}, doc="cells or lines by 'column: kind' that markers stand in for now")
    rate_hz: int | None = setting(None, doc="audio: sample rate")
    train_first: int | None = setting(None, doc="the set's own split: so many samples in file order are training ...")
    test_next: int | None = setting(None, doc="... and so many after them are test")
    classes: tuple[str, ...] = setting((), doc="names of the labels in their given order, where the source orders them")


def read_collected(record: Mapping[str, Any]) -> Collected:
    """The record as a stage keeps it."""
    return read_record(Collected, record, "", "collected data")
