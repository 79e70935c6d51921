"""Prepared sets for tests, without the stages that make them."""

from __future__ import annotations

import numpy as np

from edgegen.data.dataset import DataSet, Form, Part
from support.projects import digits

TRAIN_SAMPLES = 8000  # of the shipped digits; the other 2,000 are test


def digits_dataset(train: int = 256, test: int = 64, *, validation: int = 0, labels: bool = True) -> DataSet:
    """The first ``train`` and ``test`` digits of the shipped set's two parts; validation is cut from the train part."""
    images, numbers = digits()
    first = {"train": 0, "validation": train, "test": TRAIN_SAMPLES}
    lengths = {"train": train, "validation": validation, "test": test}
    parts = {}
    for name, start in first.items():
        chosen = slice(start, start + lengths[name])
        x = images[chosen, None].astype(np.float32) / np.float32(255)
        parts[name] = Part(x=x, y=numbers[chosen].astype(np.int64) if labels else None)
    form = image_form(side=28, classes=10 if labels else 0, name="mnist-digits", samples=lengths)
    return DataSet(form=form, **parts)


def image_form(
    *,
    side: int = 28,
    width: int | None = None,
    channels: int = 1,
    classes: int = 10,
    name: str = "pictures",
    samples: dict[str, int] | None = None,
) -> Form:
    """The form of a set of images in 0..1."""
    return Form(
        name=name,
        kind="images",
        shape=(channels, side, width or side),
        dtype="float32",
        minimum=0.0,
        maximum=1.0,
        classes=tuple(str(number) for number in range(classes)),
        samples=samples or {"train": 4, "validation": 0, "test": 2},
        origin="a test",
        licence="MIT",
        split="a test's own",
        preprocessing={"input": {"dtype": "uint8", "layout": "NCHW", "shape": [channels, side, side]}, "steps": []},
    )


def vector_form(*, features: int = 6, classes: int = 3, targets: int = 0, kind: str = "vectors") -> Form:
    """The form of a set of vectors in 0..1, with classes or targets."""
    return Form(
        name="numbers",
        kind=kind,  # type: ignore[arg-type]
        shape=(features,),
        dtype="float32",
        features=tuple(f"f{number}" for number in range(features)),
        classes=tuple(str(number) for number in range(classes)),
        targets=tuple(f"t{number}" for number in range(targets)),
        samples={"train": 4, "validation": 0, "test": 2},
        origin="a test",
        licence="MIT",
        split="a test's own",
        preprocessing={"input": {"dtype": "float32", "shape": [features]}, "steps": []},
    )


def series_form(*, channels: int = 3, rows: int = 100, classes: int = 4, kind: str = "series") -> Form:
    """The form of a set of windows of a series, with classes."""
    return Form(
        name="windows",
        kind=kind,  # type: ignore[arg-type]
        shape=(channels, rows) if kind == "series" else (1, channels, rows),
        dtype="float32",
        features=tuple(f"f{number}" for number in range(channels)),
        classes=tuple(str(number) for number in range(classes)),
        samples={"train": 4, "validation": 0, "test": 2},
        origin="a test",
        licence="MIT",
        split="a test's own",
        preprocessing={"input": {"dtype": "float32", "shape": [channels, rows]}, "steps": []},
    )


def token_form(*, context: int = 8, vocabulary: str = "abcd") -> Form:
    """The form of a set of tokens."""
    return Form(
        name="text",
        kind="tokens",
        shape=(context + 1,),
        dtype="int64",
        vocabulary=tuple(vocabulary),
        samples={"train": 4, "validation": 0, "test": 2},
        bytes_per_token=1.0,
        origin="a test",
        licence="MIT",
        split="a test's own",
        preprocessing={"input": {"dtype": "int64", "shape": [context + 1]}, "steps": []},
    )
