"""What steps ask of a carrier, whichever it is: labels, groups, times, digests and names of its samples.

A sample is a row of a table, an entry of ``values.npy``, or a line of text. Rows are read in batches; what is kept of
each is a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.data.collected import (
    GROUPS_FILE,
    LABELS_FILE,
    NAMES_FILE,
    ROWS_FILE,
    TEXT_FILE,
    VALUES_FILE,
    Collected,
    Files,
)
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

DROPPED_FILE = "dropped.npy"
"""(samples,) bool: samples that a person took out when looking over the labels."""

MISSING_CODE = -1
MOST_CLASSES = 10_000
MOST_GROUPS = 1_000_000
_CHUNK_BYTES = 1 << 20
_AT_ONCE = 1 << 20  # samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """Texts as numbers: ``names`` sorted, ``codes`` (samples,) int32 into it, -1 where there is none."""

    names: tuple[str, ...]
    codes: Array

    def counts(self, chosen: Array | None = None) -> Array:
        """(names,) how many samples have each name; ``chosen`` is a mask or indices."""
        counts = np.zeros(len(self.names) + 1, np.int64)
        masked = chosen is not None and chosen.dtype == bool
        places = len(self.codes) if chosen is None or masked else len(chosen)
        for first in range(0, places, _AT_ONCE):  # bincount takes eight bytes for each place
            piece = slice(first, first + _AT_ONCE)
            codes = self.codes[piece] if chosen is None or masked else self.codes[chosen[piece]]
            if masked and chosen is not None:
                codes = codes[chosen[piece]]
            counts += np.bincount(codes + 1, minlength=len(counts))
        return counts[1:]


def sample_count(files: Files, collected: Collected) -> int:
    """Rows, samples, or lines of text; a last line without an end counts."""
    return _line_count(files[TEXT_FILE]) if collected.carrier == "text" else collected.samples


def column_of(settings: DataSettings, role: str) -> str | None:
    """The one column that has this role, or None.

    Raises:
        UsageError: two columns have it.
    """
    found = [name for name, column in settings.columns.items() if column.role == role]
    if len(found) > 1:
        raise UsageError(
            f"several columns have the role {role!r}", where="[data.columns]", got=", ".join(found), expected="one"
        )
    return found[0] if found else None


def feature_columns(settings: DataSettings) -> list[str]:
    """Names of the columns that a model learns from, as declared."""
    return [name for name, column in settings.columns.items() if column.role == "feature"]


def read_labels(files: Files, collected: Collected, settings: DataSettings) -> Coded | None:
    """The samples' classes; None where there are none. Corrected labels stand in for a table's column.

    Raises:
        UsageError: more than ``MOST_CLASSES`` of them, or labels of another number of samples.
    """
    if LABELS_FILE in files:
        return _coded_array(files[LABELS_FILE], collected.samples, "labels", MOST_CLASSES)
    name = column_of(settings, "label") if collected.carrier == "rows" else None
    return None if name is None else coded_column(files, name, MOST_CLASSES)


def read_groups(files: Files, collected: Collected, settings: DataSettings) -> Coded | None:
    """What samples belong together (a person, a recording); None where nothing says so.

    Raises:
        UsageError: more than ``MOST_GROUPS`` of them, or groups of another number of samples.
    """
    if GROUPS_FILE in files:
        return _coded_array(files[GROUPS_FILE], collected.samples, "groups", MOST_GROUPS)
    name = column_of(settings, "group") if collected.carrier == "rows" else None
    return None if name is None else coded_column(files, name, MOST_GROUPS)


def coded_column(files: Files, name: str, most: int) -> Coded:
    """A table's column as texts, without holding one for each row.

    Raises:
        UsageError: more than ``most`` different values.
    """
    import pandas as pd

    known: dict[str, int] = {}
    codes = np.empty(_rows_of(files), np.int32)
    for frame in rows(files, [name]):
        places, found = pd.factorize(frame[name])
        numbers = [known.setdefault(text, len(known)) for text in cell_texts(pd.Series(found, dtype=frame[name].dtype))]
        _check_few(len(known), f"values of column {name!r}", most)
        # pandas' -1, missing, takes the last.
        codes[frame.index[0] : frame.index[0] + len(frame)] = np.array([*numbers, MISSING_CODE], np.int32)[places]
    names = sorted(known)
    place = np.empty(len(names) + 1, np.int32)
    place[[known[text] for text in names]] = np.arange(len(names))
    place[MISSING_CODE] = MISSING_CODE
    for first in range(0, len(codes), _AT_ONCE):
        codes[first : first + _AT_ONCE] = place[codes[first : first + _AT_ONCE]]
    return Coded(names=tuple(names), codes=codes)


def read_times(files: Files, collected: Collected, settings: DataSettings) -> Array | None:
    """(rows,) float64 seconds of a table's time column; None where there is none.

    Raises:
        UsageError: a row without a time.
    """
    name = column_of(settings, "time") if collected.carrier == "rows" else None
    if name is None:
        return None
    times = np.concatenate([frame[name].to_numpy(np.float64, na_value=np.nan) for frame in rows(files, [name])])
    lost = np.flatnonzero(~np.isfinite(times))
    if len(lost):
        raise UsageError(
            "rows have no time",
            where=f"column {name!r}, row {lost[0] + 1}",
            got=f"{len(lost)} such rows",
            expected="a time in every row",
        )
    return times


def read_dropped(files: Files, samples: int) -> Array:
    """(samples,) bool: what a person took out; all false where no one did."""
    if DROPPED_FILE not in files:
        return np.zeros(samples, bool)
    dropped: Array = np.load(files[DROPPED_FILE], allow_pickle=False)
    return dropped


def sample_digests(files: Files, collected: Collected, settings: DataSettings) -> Array:
    """(samples,) uint64: equal samples have equal digests. Rows are compared by their feature columns.

    64 bits: among 50 million different rows two share a digest with a probability below 1 in 10,000.
    """
    if collected.carrier == "rows":
        return column_digests(files, feature_columns(settings))
    if collected.carrier == "text":
        return np.fromiter((_digest(line) for line in lines(files[TEXT_FILE])), np.uint64)
    return array_digests(np.load(files[VALUES_FILE], mmap_mode="r", allow_pickle=False))


def array_digests(values: Array) -> Array:
    """(samples,) uint64: the first eight bytes of the sha256 of every sample's bytes, most significant first."""
    return np.fromiter((_digest(np.ascontiguousarray(value).tobytes()) for value in values), np.uint64, len(values))


def column_digests(files: Files, names: Sequence[str]) -> Array:
    """(rows,) uint64 over the named columns; 0.0 equals -0.0, and all missing cells of a column are equal.

    Raises:
        UsageError: no column is named.
    """
    if not names:
        raise UsageError(
            "no column is a feature", where="[data.columns]", next_step='declare one, e.g. weight = { type = "number" }'
        )
    digests = np.empty(_rows_of(files), np.uint64)
    for frame in rows(files, names):
        digests[frame.index[0] : frame.index[0] + len(frame)] = frame_digests(frame[names])
    return digests


def frame_digests(frame: pd.DataFrame) -> Array:
    """(rows,) uint64 of a frame's rows: the columns' hashes, mixed one after the other."""
    digest = np.zeros(len(frame), np.uint64)
    for name in frame:
        digest = mix(digest ^ _cell_hashes(frame[name]))
    return digest


def mix(values: Array) -> Array:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014) after a step of its counter, element by element."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def rows(files: Files, names: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """The table's rows in order, some ten thousand a frame."""
    read = load("edgegen.data.rows:read_rows", extra="data")
    frames: Iterator[pd.DataFrame] = read(files[ROWS_FILE], None if names is None else list(names))
    return frames


def lines(path: Path, *, ends: bool = False) -> Iterator[bytes]:
    """The lines of a text as ``split.npy`` counts them, without their ends or with them."""
    with path.open("rb") as stream:
        for line in stream:
            yield line if ends else line.removesuffix(b"\n")


def cell_texts(values: pd.Series) -> Array:
    """Cells as the texts of labels and groups, None where missing: whole numbers without a point, true and false."""
    if values.dtype.kind == "f":
        return np.array([None if np.isnan(value) else _number_text(value) for value in values], object)
    plain = values.to_numpy(object, na_value=None)
    if values.dtype == "boolean":
        return np.array([None if value is None else str(value).lower() for value in plain], object)
    return np.array([None if value is None else str(value) for value in plain], object)


def sample_names(files: Files) -> Array | None:
    """(samples,) text: file names, where samples have been files."""
    return np.load(files[NAMES_FILE], mmap_mode="r", allow_pickle=False) if NAMES_FILE in files else None


def shown_sample(files: Files, collected: Collected, index: int) -> str:
    """How people find a sample: by its file's name, or counted from 1 for rows and lines and from 0 in arrays."""
    names = sample_names(files)
    if names is not None:
        return str(names[index])
    return {"rows": f"row {index + 1}", "text": f"line {index + 1}"}.get(collected.carrier, f"sample {index}")


def _rows_of(files: Files) -> int:
    count: int = load("edgegen.data.rows:row_count", extra="data")(files[ROWS_FILE])
    return count


def _line_count(path: Path) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


def _coded_array(path: Path, samples: int, what: str, most: int) -> Coded:
    texts = np.load(path, mmap_mode="r", allow_pickle=False)
    if texts.shape != (samples,):
        raise UsageError(f"the {what} are not of these samples", got=list(texts.shape), expected=f"[{samples}]")
    names, codes = np.unique(texts, return_inverse=True)
    _check_few(len(names), what, most)
    codes = codes.astype(np.int32)
    if len(names) and names[0] == "":  # sorted, so the empty text is the first
        names, codes = names[1:], codes - 1
    return Coded(names=tuple(str(name) for name in names), codes=codes.astype(np.int32))


def _check_few(found: int, what: str, most: int) -> None:
    if found > most:
        raise UsageError(f"too many different {what}", got=f"over {most}", expected=f"at most {most}")


def _cell_hashes(values: pd.Series) -> Array:
    """(rows,) uint64; a missing cell hashes to 0."""
    import pandas as pd

    missing = values.isna().to_numpy()
    if values.dtype.kind == "f":
        hashes = pd.util.hash_array(values.to_numpy(np.float64) + 0.0)
    elif values.dtype.kind in "iub":
        hashes = pd.util.hash_array(values.to_numpy(np.int64, na_value=0))
    else:
        hashes = pd.util.hash_array(values.to_numpy(object, na_value=""))
    return np.where(missing, np.uint64(0), hashes)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _number_text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
