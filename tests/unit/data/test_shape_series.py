"""Windows of recordings: where they are cut, what they are called, and that a device makes the very same ones."""

import json

import numpy as np
import pandas as pd
import pytest

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.clean import fit
from edgegen.data.collected import LABELS_FILE, Collected
from edgegen.data.dataset import load_dataset, save_dataset
from edgegen.data.rows import RowsWriter, frame_type
from edgegen.data.settings import CleanSettings, Column, DataSettings, WindowSettings
from edgegen.data.shape import series
from edgegen.data.shape.series import shape, shape_statistics
from edgegen_runtime.preprocess import apply

FEATURES = {"a": Column(), "b": Column()}
LABEL = {"label": Column(type="category", role="label")}
GROUP = {"group": Column(type="integer", role="group")}
TIME = {"t": Column(type="time", role="time")}


class _Said:
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    def advance(self, task, done, total, detail=""):
        pass


def _table(rows=40, seed=1, **columns):
    drawn = np.random.Generator(np.random.PCG64(seed)).normal(5, 3, (rows, 2))
    return {"a": drawn[:, 0], "b": drawn[:, 1], **columns}


def _settings(columns, length=4, step=2, statistics=(), scale="none", **clean):
    return DataSettings(
        source="own.csv",
        columns=columns,
        window=WindowSettings(length=length, step=step, statistics=statistics),
        clean=CleanSettings(scale=scale, **clean),
    )


def _collected(rows):
    return Collected(
        carrier="rows",
        kind="table",
        name="own",
        samples=rows,
        source="own.csv",
        sha256="0" * 64,
        origin="made up",
        licence="CC0-1.0",
    )


def _files(folder, table, split, settings):
    """The carrier as collecting writes it, a split, and what cleaning fits."""
    frame = pd.DataFrame({name: np.asarray(values) for name, values in table.items()})
    typed = {name: frame[name].astype(frame_type(column)) for name, column in settings.columns.items()}
    with RowsWriter(folder / "rows.parquet", settings.columns) as writer:
        writer.append(pd.DataFrame(typed))
    np.save(folder / "split.npy", np.asarray(split, np.uint8))
    files = {name: folder / name for name in ("rows.parquet", "split.npy")}
    fit(files, _collected(len(frame)), settings, 3, folder)
    return {**files, "fitted.json": folder / "fitted.json"}


def _shaped(folder, table, split, settings, *, statistics=False, progress=None):
    files = _files(folder, table, split, settings)
    shaper = shape_statistics if statistics else shape
    return shaper(files, _collected(len(split)), settings, "by hand", progress or Silent())


def _halves(rows=40):
    return [0] * (rows // 2) + [2] * (rows - rows // 2)


def test_windows_are_cut_inside_each_part(tmp_path):
    table = _table()
    dataset = _shaped(tmp_path, table, _halves(), _settings(FEATURES))
    values = np.stack([table["a"], table["b"]]).astype(np.float32)
    expected = [values[:, start : start + 4] for start in range(0, 17, 2)]
    assert np.array_equal(dataset.train.x, expected)
    assert np.array_equal(dataset.test.x[0], values[:, 20:24])
    assert dataset.form.kind == "series"
    assert dataset.form.shape == (2, 4)
    assert dataset.form.features == ("a", "b")
    assert dataset.form.samples == {"train": 9, "validation": 0, "test": 9}
    assert dataset.train.x.dtype == np.float32


def test_windows_never_reach_over_the_end_of_a_recording(tmp_path):
    group = [7] * 6 + [8] * 9 + [7] * 5 + [9] * 20
    dataset = _shaped(tmp_path, _table(group=group), _halves(), _settings({**FEATURES, **GROUP}))
    assert dataset.train.group.tolist() == ["7"] * 2 + ["8"] * 3 + ["7"]
    assert set(dataset.test.group.tolist()) == {"9"}


def test_windows_never_reach_over_a_jump_in_time(tmp_path):
    time = np.arange(40) * 0.5
    time[7:] += 0.26  # a step of 0.76 is more than 1.5 times 0.5
    time[13:] += 0.24  # a step of 0.74 is not
    table = _table(t=time)
    dataset = _shaped(tmp_path, table, _halves(), _settings({**FEATURES, **TIME}, step=1))
    starts = [*range(0, 4), *range(7, 17)]
    assert np.array_equal(dataset.train.x[:, 0, 0], table["a"][starts].astype(np.float32))


def test_a_row_that_no_part_takes_ends_a_stretch_and_may_hold_anything(tmp_path):
    table = _table()
    table["a"][5] = np.nan
    split = _halves()
    split[5] = 255
    dataset = _shaped(tmp_path, table, split, _settings(FEATURES, step=1))
    assert np.array_equal(dataset.train.x[:, 0, 0], table["a"][[0, 1, *range(6, 17)]].astype(np.float32))


def test_time_must_ascend_inside_a_recording_and_the_row_is_named(tmp_path):
    time = np.arange(40.0)
    time[11] = 10.0
    with pytest.raises(UsageError, match=r"row 12, column 't'.*10.0 after 10.0"):
        _shaped(tmp_path, _table(t=time), _halves(), _settings({**FEATURES, **TIME}))


def test_time_may_start_anew_with_another_group(tmp_path):
    columns = {**FEATURES, **TIME, **GROUP}
    table = _table(t=np.concatenate([np.arange(20.0), np.arange(20.0)]), group=[1] * 20 + [2] * 20)
    assert len(_shaped(tmp_path, table, _halves(), _settings(columns)).train) == 9


def test_a_window_has_the_label_that_its_rows_share(tmp_path):
    label = (["walk"] * 7 + ["run"] * 13) * 2
    said = _Said()
    dataset = _shaped(tmp_path, _table(label=label), _halves(), _settings({**FEATURES, **LABEL}), progress=said)
    assert dataset.form.classes == ("run", "walk")
    assert dataset.train.y.tolist() == [1, 1, 0, 0, 0, 0, 0]  # starts 0, 2, 8, 10, 12, 14, 16; 4 and 6 straddle
    assert dataset.train.y.dtype == np.int64
    assert "4 windows whose rows do not share one label are left out" in dataset.form.split
    assert any("4 windows" in line for line in said.lines)


def test_corrected_labels_stand_in_for_the_column(tmp_path):
    settings = _settings({**FEATURES, **LABEL}, step=4)
    label = np.array(["x"] * 8 + ["y"] * 12 + ["x"] * 8 + ["y"] * 12)
    files = _files(tmp_path, _table(label=label), _halves(), settings)
    label[:4] = "y"
    np.save(tmp_path / LABELS_FILE, label)
    dataset = shape({**files, LABELS_FILE: tmp_path / LABELS_FILE}, _collected(40), settings, "by hand", Silent())
    assert dataset.train.y.tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("normal", "anomaly", "classes"),
    [("normal", "anomaly", ("normal", "anomaly")), ("0", "1", ("0", "1")), ("ok", "bad", ("ok", "bad"))],
)
def test_a_window_is_an_anomaly_if_any_of_its_rows_is(tmp_path, normal, anomaly, classes):
    label = [normal] * 29 + [anomaly] + [normal] * 10
    dataset = _shaped(tmp_path, _table(label=label), _halves(), _settings({**FEATURES, **LABEL}))
    assert dataset.form.classes == classes
    assert dataset.train.y.tolist() == [0] * 9
    assert dataset.test.y.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0]  # starts 26 and 28 hold row 29
    assert "left out" not in dataset.form.split


def test_the_only_class_of_training_comes_first_among_several(tmp_path):
    label = ["ok"] * 24 + ["leak"] * 8 + ["crack"] * 8
    dataset = _shaped(tmp_path, _table(label=label), _halves(), _settings({**FEATURES, **LABEL}, step=4))
    assert dataset.form.classes == ("ok", "crack", "leak")
    assert dataset.test.y.tolist() == [0, 2, 2, 1, 1]


def test_a_set_may_have_one_class(tmp_path):
    dataset = _shaped(tmp_path, _table(label=["ok"] * 40), _halves(), _settings({**FEATURES, **LABEL}))
    assert dataset.form.classes == ("ok",)
    assert set(dataset.train.y.tolist()) == {0}


def test_numbered_classes_stand_by_value(tmp_path):
    columns = {**FEATURES, "label": Column(type="integer", role="label")}
    dataset = _shaped(tmp_path, _table(label=([2] * 10 + [10] * 10) * 2), _halves(), _settings(columns))
    assert dataset.form.classes == ("2", "10")


def test_targets_are_those_of_the_last_row_and_attributes_those_of_the_first(tmp_path):
    columns = {
        **FEATURES,
        "target": Column(role="target"),
        "sex": Column(type="category", role="ignore", sensitive=True),
        "age": Column(type="integer", role="group", sensitive=True),
    }
    table = _table(target=np.arange(40.0), sex=["f"] * 40, age=[30] * 20 + [40] * 20)
    dataset = _shaped(tmp_path, table, _halves(), _settings(columns))
    assert dataset.form.targets == ("target",)
    assert dataset.train.y.tolist() == [[start + 3.0] for start in range(0, 17, 2)]
    assert dataset.train.y.dtype == np.float32
    assert {name: set(values.tolist()) for name, values in dataset.test.attributes.items()} == {"age": {"40"}}


REFUSED = {
    "train too short": ([0] * 3 + [2] * 37, {}, "the train part has no whole window"),
    "test too short": ([0] * 37 + [2] * 3, {}, "the test part has no whole window"),
    "validation too short": ([0] * 20 + [1] * 2 + [2] * 18, {}, "the validation part has no whole window"),
    "rows dealt out": ([0, 2] * 20, {}, "the train part has no whole window"),
    "class without window": (
        _halves(),
        {"label": ["x"] * 8 + ["y"] * 3 + ["x"] * 9 + ["x"] * 10 + ["y"] * 10},
        "no window of a class.*y",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_windows_are_refused(tmp_path, name):
    split, columns, message = REFUSED[name]
    settings = _settings({**FEATURES, **(LABEL if columns else {})})
    with pytest.raises(UsageError, match=message):
        _shaped(tmp_path, _table(**columns), split, settings)


def test_windows_that_would_fill_the_disk_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(series, "MOST_BYTES", 9 * 2 * 4 * 4 - 1)
    with pytest.raises(UsageError, match=r"too much space.*288 bytes"):
        _shaped(tmp_path, _table(), _halves(), _settings(FEATURES))


def test_a_table_without_windows_is_refused(tmp_path):
    settings = _settings(FEATURES)
    files = _files(tmp_path, _table(), _halves(), settings)
    with pytest.raises(UsageError, match="needs windows"):
        shape(files, _collected(40), DataSettings(source="own.csv", columns=FEATURES), "by hand", Silent())


def test_figures_that_overflow_are_refused(tmp_path):
    table = _table()
    table["a"][25] = 1e200
    with pytest.raises(UsageError, match=r"not finite.*begins at row 23"):
        _shaped(tmp_path, table, _halves(), _settings(FEATURES, statistics=("rms",)), statistics=True)


def _raw(table, columns, rows):
    return {name: np.asarray(table[name])[rows] for name, column in columns.items() if column.role == "feature"}


@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
@pytest.mark.parametrize("statistics", [(), ("mean", "slope", "max")], ids=["rows", "statistics"])
def test_a_device_makes_the_same_samples_from_raw_rows(tmp_path, scale, statistics):
    columns = {**FEATURES, "mode": Column(type="category", values=("on", "off"))}
    table = _table(mode=(["on", "off", "on"] * 14)[:40])
    table["a"][[2, 30]] = np.nan
    settings = _settings(columns, statistics=statistics, scale=scale, missing="mean")
    dataset = _shaped(tmp_path, table, _halves(), settings, statistics=bool(statistics))
    contract = json.loads(json.dumps(dataset.form.preprocessing))
    assert np.array_equal(apply(contract, _raw(table, columns, slice(0, 20))), dataset.train.x)
    alone = [apply(contract, _raw(table, columns, slice(start, start + 4)))[0] for start in range(20, 37, 2)]
    assert np.array_equal(alone, dataset.test.x)
    assert dataset.test.x.shape[1:] == dataset.form.shape


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_figures_are_scaled_by_those_of_the_training_part(tmp_path, scale):
    names = ("mean", "range")
    dataset = _shaped(
        tmp_path, _table(), _halves(), _settings(FEATURES, statistics=names, scale=scale), statistics=True
    )
    assert dataset.form.kind == "vectors"
    assert dataset.form.features == ("a_mean", "a_range", "b_mean", "b_range")
    x = dataset.train.x
    if scale == "standard":
        assert x.mean(0) == pytest.approx(np.zeros(4), abs=1e-5)
        assert x.std(0) == pytest.approx(np.ones(4), abs=1e-5)
    else:
        assert (x.min(0).tolist(), x.max(0).tolist()) == ([0] * 4, [1] * 4)
        assert (dataset.form.minimum, dataset.form.maximum) == (0.0, 1.0)
    assert not np.allclose(dataset.test.x.mean(0), x.mean(0), atol=1e-3)


def test_a_set_of_windows_can_be_saved_and_is_the_same_again(tmp_path):
    settings = _settings({**FEATURES, **LABEL}, scale="standard")
    table = _table(label=["x", "x", "x", "x", "y", "y", "y", "y"] * 5)
    bytes_of = []
    for name in ("first", "second"):
        folder = tmp_path / name
        (folder / "set").mkdir(parents=True)
        save_dataset(_shaped(folder, table, _halves(), settings), folder / "set")
        bytes_of.append({path.name: path.read_bytes() for path in sorted((folder / "set").iterdir())})
    assert bytes_of[0] == bytes_of[1]
    loaded = load_dataset({path.name: path for path in (tmp_path / "first" / "set").iterdir()})
    assert loaded.form.classes == ("x", "y")
    assert loaded.train.x.shape == (5, 2, 4)
