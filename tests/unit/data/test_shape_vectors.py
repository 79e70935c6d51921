"""Rows as vectors: the same numbers as on a device, with labels or targets, groups and attributes beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_tables import TEST, TRAIN, UNUSED, VALIDATION, asking, columns, table

from edgegen.core.errors import StorageError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.records import write_record
from edgegen.data.clean import fit
from edgegen.data.collected import LABELS_FILE
from edgegen.data.dataset import DataSet, load_dataset, save_dataset
from edgegen.data.settings import Column
from edgegen.data.shape.dispatch import sample_kind
from edgegen.data.shape.spill import Spill
from edgegen.data.shape.vectors import shape
from edgegen_runtime.preprocess import apply

LABEL = Column(type="category", role="label")
TARGET = Column(role="target")
FOUR = [TRAIN, TRAIN, VALIDATION, TEST]


def shaped(
    folder: Path,
    declared: Mapping[str, Column],
    cells: Mapping[str, Sequence[Any]],
    parts: Sequence[int],
    features: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    **clean: Any,
) -> DataSet:
    files, raw = table(folder, declared, cells, parts)
    settings = asking(declared, features, **clean)
    assert sample_kind(raw, settings, tokens=False) == "vectors"
    fitted = folder / "fitted"
    fitted.mkdir(exist_ok=True)
    fit(files, raw, settings, 1, fitted)
    files |= {path.name: path for path in fitted.iterdir()}
    if labels is not None:
        np.save(folder / LABELS_FILE, np.array(labels))
        files[LABELS_FILE] = folder / LABELS_FILE
    return shape(files, raw, settings, "as given", Silent())


def test_vectors_are_what_the_contract_gives_on_a_device(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    count = 300
    weight, height = random.normal(70, 10, count), random.normal(1.7, 0.1, count)
    cells = {
        "weight": [None if random.random() < 0.1 else value for value in weight.tolist()],
        "height": [None if random.random() < 0.1 else value for value in height.tolist()],
        "sex": random.choice(["f", "m"], count).tolist(),
        "smokes": (random.random(count) < 0.3).tolist(),
        "ill": random.choice(["no", "yes"], count).tolist(),
    }
    declared = columns(weight="number", height="number", sex="category", smokes="boolean", ill=LABEL)
    parts = random.choice([TRAIN, TRAIN, TRAIN, VALIDATION, TEST, UNUSED], count)
    found = shaped(
        tmp_path,
        declared,
        cells,
        parts,
        {"bmi": "weight / height ** 2"},
        missing="iterative",
        outliers="zscore",
        action="clip",
        scale="standard",
    )
    assert found.form.features == ("weight", "height", "sex=f", "sex=m", "smokes", "bmi")
    assert found.form.shape == (6,)
    assert found.form.samples == {
        name: int((parts == n).sum()) for name, n in (("train", 0), ("validation", 1), ("test", 2))
    }
    for part, number in ((found.train, TRAIN), (found.validation, VALIDATION), (found.test, TEST)):
        rows = np.flatnonzero(parts == number)
        assert part.x.dtype == np.float32
        for place, row in enumerate(rows.tolist()):
            alone = apply(found.form.preprocessing, {name: [values[row]] for name, values in cells.items()})
            assert alone[0].tobytes() == np.asarray(part.x[place]).tobytes()
            assert found.form.classes[part.y[place]] == cells["ill"][row]


def test_a_saved_set_comes_back_with_the_same_bytes(tmp_path: Path) -> None:
    cells = {"x": [1.0, 2.0, 3.0, 4.0], "who": ["anna", "bo", "anna", "c"], "y": ["a", "b", "a", "b"]}
    declared = columns(x="number", who=Column(type="text", role="group"), y=LABEL)
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        save_dataset(shaped(tmp_path, declared, cells, FOUR), tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert contents[0] == contents[1]
    back = load_dataset({path.name: path for path in (tmp_path / "first").iterdir()})
    assert back.train.x.tolist() == [[1], [2]]
    assert back.train.group.tolist() == ["anna", "bo"]
    assert json.loads((tmp_path / "first" / "form.json").read_text()) == write_record(back.form)


def test_an_empty_validation_part_has_arrays_of_no_sample(tmp_path: Path) -> None:
    found = shaped(tmp_path, columns(x="number", y=LABEL), {"x": [1.0, 2.0, 3.0], "y": list("aba")}, [0, 0, 2])
    assert found.validation.x.shape == (0, 1)
    assert found.validation.y.shape == (0,)


@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        ("category", ["b", "a", "c", "a"], ("a", "b", "c")),
        ("text", ["10", "9", "x", "9"], ("10", "9", "x")),
        ("integer", [10, 9, 9, 10], ("9", "10")),
        ("number", [2.0, -1.0, 2.0, -1.0], ("-1", "2")),
        ("boolean", [True, False, True, True], ("false", "true")),
    ],
)
def test_classes_are_in_the_order_of_their_names_or_numbers(
    tmp_path: Path, kind: Any, labels: list[Any], classes: tuple[str, ...]
) -> None:
    declared = columns(x="number", y=Column(type=kind, role="label"))
    cells = {"x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "y": [*labels, labels[0], labels[1]]}
    found = shaped(tmp_path, declared, cells, [TRAIN] * 4 + [VALIDATION, TEST])
    assert found.form.classes == classes
    assert found.train.y.dtype == np.int64
    spelt = [str(label).lower() if kind == "boolean" else str(label).removesuffix(".0") for label in labels]
    assert [classes[number] for number in found.train.y] == spelt


def test_declared_values_order_the_classes(tmp_path: Path) -> None:
    declared = columns(x="number", y=Column(type="category", role="label", values=("high", "low", "never")))
    found = shaped(tmp_path, declared, {"x": [1.0, 2.0, 3.0], "y": ["low", "high", "low"]}, [TRAIN, TRAIN, TEST])
    assert found.form.classes == ("high", "low")
    assert found.train.y.tolist() == [1, 0]


def test_corrected_labels_stand_in_for_the_column(tmp_path: Path) -> None:
    declared = columns(x="number", y=Column(type="boolean", role="label"))
    cells = {"x": [1.0, 2.0, 3.0], "y": [True, True, True]}
    found = shaped(tmp_path, declared, cells, [TRAIN, TRAIN, TEST], labels=["true", "false", "false"])
    assert found.form.classes == ("false", "true")
    assert (found.train.y.tolist(), found.test.y.tolist()) == ([1, 0], [0])
    with pytest.raises(UsageError, match=r"row 2, column 'y'"):
        shaped(tmp_path, declared, cells, [TRAIN, TRAIN, TEST], labels=["true", "", "false"])


def test_targets_are_numbers_in_their_declared_order(tmp_path: Path) -> None:
    declared = columns(x="number", v=TARGET, u=Column(type="integer", role="target"))
    cells = {"x": [1.0, 2.0, 3.0], "v": [0.5, 1.5, 2.5], "u": [7, 8, 9]}
    found = shaped(tmp_path, declared, cells, [TRAIN, TRAIN, TEST], scale="standard")
    assert found.form.targets == ("v", "u")
    assert found.form.classes == ()
    assert found.train.y.dtype == np.float32
    assert found.test.y.tolist() == [[2.5, 9.0]]


def test_a_table_without_labels_has_samples_alone(tmp_path: Path) -> None:
    found = shaped(tmp_path, columns(x="number"), {"x": [1.0, 2.0, 3.0]}, [TRAIN, TRAIN, TEST])
    assert found.train.y is None
    assert found.train.group is None


def test_sensitive_columns_become_text_whatever_their_role(tmp_path: Path) -> None:
    declared = columns(
        x="number",
        sex=Column(type="category", sensitive=True),
        age=Column(type="integer", role="identifier", sensitive=True),
        old=Column(type="boolean", role="identifier", sensitive=True),
        share=Column(role="identifier", sensitive=True),
    )
    cells = {
        "x": [1.0, 2.0, 3.0],
        "sex": ["f", "m", "f"],
        "age": [40, None, 7],
        "old": [True, False, None],
        "share": [0.5, 2.0, None],
    }
    found = shaped(tmp_path, declared, cells, [TRAIN, TRAIN, TEST])
    assert {name: values.tolist() for name, values in found.train.attributes.items()} == {
        "sex": ["f", "m"],
        "age": ["40", "(missing)"],
        "old": ["true", "false"],
        "share": ["0.5", "2"],
    }
    assert [found.test.attributes[name].tolist() for name in ("old", "share")] == [["(missing)"], ["(missing)"]]


def test_dropped_training_rows_are_left_out_and_judged_ones_never(tmp_path: Path) -> None:
    x = [*np.linspace(-1, 1, 30).tolist(), 500.0, 500.0]
    declared = columns(x="number", n=Column(type="integer", role="target"))
    cells = {"x": x, "n": list(range(32))}
    found = shaped(tmp_path, declared, cells, [TRAIN] * 31 + [TEST], outliers="iqr", action="drop")
    assert found.train.y.ravel().tolist() == list(range(30))
    assert found.test.x.tolist() == [[500]]


@pytest.mark.parametrize(
    ("scale", "bounds"), [("minmax", (0.0, 1.0)), ("standard", (None, None)), ("none", (None, None))]
)
def test_the_form_is_bounded_where_numbers_are_brought_to_a_range(tmp_path: Path, scale: str, bounds: Any) -> None:
    cells = {"x": [-3.0, 2.0, 3.0], "c": ["a", "b", "a"]}
    found = shaped(tmp_path, columns(x="number", c="category"), cells, [TRAIN, TRAIN, TEST], scale=scale)
    assert (found.form.minimum, found.form.maximum) == bounds
    assert found.form.split == "as given"


WRONG: dict[str, tuple[dict[str, Column], dict[str, list[Any]], str]] = {
    "one class": (columns(x="number", y=LABEL), {"x": [1.0] * 4, "y": ["a"] * 4}, "same value in every row"),
    "a class that is not learnt": (
        columns(x="number", y=LABEL),
        {"x": [1.0] * 4, "y": ["a", "b", "a", "c"]},
        r"no row of a class .*Got: c",
    ),
    "missing label": (columns(x="number", y=LABEL), {"x": [1.0] * 4, "y": ["a", "b", None, "a"]}, "row 3, column 'y'"),
    "missing label that is a number": (
        columns(x="number", y=Column(role="label")),
        {"x": [1.0] * 4, "y": [1.0, 2.0, None, 1.0]},
        "row 3, column 'y'",
    ),
    "fraction as a label": (
        columns(x="number", y=Column(role="label")),
        {"x": [1.0] * 4, "y": [1.0, 2.0, 2.5, 1.0]},
        r"fraction \(row 3, column 'y'\)",
    ),
    "time as a label": (
        columns(x="number", y=Column(type="time", role="label")),
        {"x": [1.0] * 4, "y": [1.0, 2.0, 2.0, 1.0]},
        "no label",
    ),
    "missing target": (
        columns(x="number", y=TARGET),
        {"x": [1.0] * 4, "y": [1.0, 2.0, 3.0, None]},
        "row 4, column 'y'",
    ),
    "huge target": (columns(x="number", y=TARGET), {"x": [1.0] * 4, "y": [1.0, 2.0, 3.0, 1e300]}, "row 4, column 'y'"),
    "text as a target": (
        columns(x="number", y=Column(type="category", role="target")),
        {"x": [1.0] * 4, "y": list("abab")},
        "a target is a number",
    ),
    "label and target": (
        columns(x="number", y=LABEL, z=TARGET),
        {"x": [1.0] * 4, "y": list("abab"), "z": [1.0] * 4},
        "not both",
    ),
    "two labels": (
        columns(x="number", y=LABEL, z=LABEL),
        {"x": [1.0] * 4, "y": list("abab"), "z": list("abab")},
        "two",
    ),
    "missing group": (
        columns(x="number", g=Column(type="text", role="group")),
        {"x": [1.0] * 4, "g": ["a", "a", None, "b"]},
        "row 3, column 'g'",
    ),
    "long group": (
        columns(x="number", g=Column(type="text", role="group")),
        {"x": [1.0] * 4, "g": ["a", "a", "b" * 201, "b"]},
        "row 3, column 'g'",
    ),
    "attribute that leads out of the folder": (
        columns(**{"x": "number", "../up": Column(type="category", sensitive=True)}),
        {"x": [1.0] * 4, "../up": list("abab")},
        "cannot name a file",
    ),
    "judged row beyond float32": (columns(x="number"), {"x": [1.0, 2.0, 3.0, 1e300]}, "row 4"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_rows_that_cannot_be_learnt_of_are_refused(tmp_path: Path, case: str) -> None:
    declared, cells, says = WRONG[case]
    with pytest.raises(UsageError, match=says):
        shaped(tmp_path, declared, cells, FOUR)


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    cells = {"x": [1.0] * 1002, "y": list(range(1002))}
    with pytest.raises(UsageError, match="role 'target'"):
        shaped(tmp_path, columns(x="number", y=Column(type="integer", role="label")), cells, [TRAIN] * 1001 + [TEST])


def test_a_judged_row_whose_feature_is_not_finite_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'q' is not finite \(row 3\)"):
        shaped(tmp_path, columns(x="number"), {"x": [1.0, 2.0, 0.0]}, [TRAIN, TRAIN, TEST], {"q": "1 / x"})


def test_a_spill_gives_back_what_was_added() -> None:
    spill = Spill(np.float32, (2, 3))
    rows = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    spill.add(rows[:3])
    spill.add(rows[3:])
    assert np.array_equal(spill.array(), rows)
    assert not spill.array().flags.writeable
    assert Spill("<U4").array().shape == (0,)


def test_a_full_disk_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", partial(open, "/dev/full", "wb"))
    with pytest.raises(StorageError, match="no room"):
        Spill(np.float32).add(np.zeros(10))
