"""A set ready for a model: plain .npy files and one record, the only form in which data crosses into training.

Arrays are mapped, not read: a set may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgegen.core.digests import canonical_json
from edgegen.core.records import read_record, setting, write_record

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FORM_FILE = "form.json"
PARTS = ("train", "validation", "test")
_ATTRIBUTE = "attribute-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the data look like: all that a family must know to fit a model to them. Needs no numpy to be read."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    name: str = setting(doc="the set's name")
    kind: Literal["images", "vectors", "series", "audio", "tokens"] = setting(doc="what a sample is")
    shape: tuple[int, ...] = setting(
        doc="one sample: images (channels, height, width); vectors (features,); series (channels, rows); "
        "audio (1, frames, bands) or (1, samples); tokens (context + 1,)",
        minimum=1,
    )
    dtype: Literal["float32", "int64"] = setting(doc="element type that the model takes; tokens are int64")
    minimum: float | None = setting(None, doc="least value of the training part, where the values are bounded")
    maximum: float | None = setting(None, doc="greatest value of the training part, where the values are bounded")
    features: tuple[str, ...] = setting((), doc="names of the features or channels, where they have names")
    classes: tuple[str, ...] = setting((), doc="names of the classes, by label; empty where there are no classes")
    targets: tuple[str, ...] = setting((), doc="names of the numbers to predict; empty where there are none")
    vocabulary: tuple[str, ...] = setting((), doc="tokens by number, for people; empty where samples are no tokens")
    samples: Mapping[str, int] = setting(doc="samples by part")
    bytes_per_token: float | None = setting(None, doc="tokens of text: mean UTF-8 bytes of one in the test part")
    origin: str = setting(doc="where the data are from")
    licence: str = setting(doc="the licence as the origin declares it")
    licence_doubt: str = setting("", doc="what is not known about the licence")
    synthetic: bool = setting(False, doc="drawn from a model or a formula")
    split: str = setting(doc="how the parts came about, for people")
    preprocessing: Mapping[str, Any] = setting(
        doc="from a raw sample to the model's input: {'input': ..., 'steps': [...]} as edgegen_runtime.preprocess reads"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Samples of one part. ``x`` may be mapped from disk and stored in a smaller integer type than the model takes."""

    x: Array  # (samples, *form.shape)
    y: Array | None = None  # (samples,) int64 labels, or (samples, targets) float32
    group: Array | None = None  # (samples,) text
    attributes: Mapping[str, Array] = field(default_factory=dict)  # sensitive columns by name, (samples,) text

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """A prepared set. ``validation`` may be empty; ``test`` never is."""

    form: Form
    train: Part
    validation: Part
    test: Part


def save_dataset(dataset: DataSet, folder: Path) -> None:
    """Writes the record and the arrays into ``folder``; equal sets give equal bytes."""
    import numpy as np

    for name in PARTS:
        part: Part = getattr(dataset, name)
        arrays = {"x": part.x, "y": part.y, "group": part.group}
        arrays |= {f"{_ATTRIBUTE}{key}": values for key, values in part.attributes.items()}
        for key, array in arrays.items():
            if array is not None:
                np.save(folder / f"{name}-{key}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (folder / FORM_FILE).write_bytes(canonical_json(write_record(dataset.form)))


def read_form(files: Mapping[str, Path]) -> Form:
    """The record of a prepared set's files by name; loads no numpy."""
    return read_record(Form, json.loads(files[FORM_FILE].read_bytes()), "", FORM_FILE)


def load_dataset(files: Mapping[str, Path]) -> DataSet:
    """A prepared set from its files by name, as ``save_dataset`` wrote them."""
    return DataSet(form=read_form(files), **{name: _load_part(name, files) for name in PARTS})


def _load_part(name: str, files: Mapping[str, Path]) -> Part:
    import numpy as np

    arrays = {
        key.removeprefix(f"{name}-").removesuffix(".npy"): np.load(path, mmap_mode="r", allow_pickle=False)
        for key, path in files.items()
        if key.startswith(f"{name}-")
    }
    return Part(
        x=arrays["x"],
        y=arrays.get("y"),
        group=arrays.get("group"),
        attributes={key.removeprefix(_ATTRIBUTE): array for key, array in arrays.items() if key.startswith(_ATTRIBUTE)},
    )
