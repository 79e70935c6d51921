"""Parts of a set: equal samples and whole groups stay together, whatever the way; leaks between parts are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.carrier import Coded
from edgegen.data.check import check, duplicates
from edgegen.data.collected import ROWS_FILE, SPLIT_FILE, Collected
from edgegen.data.dataset import PARTS
from edgegen.data.settings import CheckSettings, Column, DataSettings, SplitSettings
from edgegen.data.split import ranked, split
from support.tables import collect_into, put, table_settings

COLUMNS = {"a": Column(), "kind": Column(type="category", role="label")}
WHO = {**COLUMNS, "who": Column(type="category", role="group")}


def _collected(folder: Path, frame: pd.DataFrame, columns: dict[str, Column]) -> tuple[dict[str, Path], Collected]:
    put(folder / "t.csv", frame.to_csv(index=False))
    found = collect_into(folder / "collected", table_settings("t.csv", columns), folder)
    return {ROWS_FILE: folder / "collected" / ROWS_FILE}, found


def _split(folder: Path, frame: pd.DataFrame, columns: dict[str, Column], **keys: Any) -> tuple[Any, dict[str, Any]]:
    """The parts' numbers by row, and the record."""
    files, found = _collected(folder, frame, columns)
    settings = DataSettings(columns=columns, split=SplitSettings(**keys))
    record = dict(split(files, found, settings, 7, folder))
    return np.load(folder / SPLIT_FILE), record


def _frame(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(3)
    numbers = random.integers(0, 40, rows)  # so that values recur
    return pd.DataFrame(
        {"a": numbers / 4, "kind": np.where(random.random(rows) < 0.2, "x", "y"), "who": numbers % 9},
    ).astype({"who": str})


def test_equal_rows_come_into_one_part(tmp_path: Path) -> None:
    frame = _frame()
    parts, record = _split(tmp_path, frame, COLUMNS, validation_ratio=0.2)
    assert record["by"] == "content"
    assert set(parts) == {0, 1, 2}
    assert (frame.assign(part=parts).groupby("a")["part"].nunique() == 1).all()
    assert record["samples"] == {name: int((parts == number).sum()) for number, name in enumerate(PARTS)}


def test_order_of_rows_changes_no_rows_part(tmp_path: Path) -> None:
    frame = _frame().drop_duplicates("a")
    turned = frame.iloc[::-1]
    (tmp_path / "turned").mkdir()
    one, _ = _split(tmp_path, frame, COLUMNS)
    other, _ = _split(tmp_path / "turned", turned, COLUMNS)
    assert one.tolist() == other[::-1].tolist()


def test_groups_are_the_default_where_there_are_some(tmp_path: Path) -> None:
    frame = _frame()
    parts, record = _split(tmp_path, frame, WHO, validation_ratio=0.2)
    assert record["by"] == "group"
    assert (frame.assign(part=parts).groupby("who")["part"].nunique() == 1).all()
    assert sorted(name for names in record["groups"].values() for name in names) == sorted(frame["who"].unique())


def test_stratified_parts_have_equal_shares(tmp_path: Path) -> None:
    frame = _frame()
    parts, _ = _split(tmp_path, frame, COLUMNS, by="stratified", test_ratio=0.25)
    shares = frame.assign(part=parts).groupby("part")["kind"].apply(lambda kinds: (kinds == "x").mean())
    assert shares.max() - shares.min() < 0.02


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60), st.data())
def test_ranked_is_the_sorted_value(values: list[int], data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    assert int(ranked(np.array(values, np.uint64), rank)) == sorted(values)[rank]


@given(st.lists(st.integers(-1, 3), max_size=50), st.integers(0, 2**16))
def test_counts_of_all_of_masked_and_of_indexed_samples(codes: list[int], seed: int) -> None:
    coded = Coded(names=("a", "b", "c", "d"), codes=np.array(codes, np.int32))
    mask = np.random.default_rng(seed).random(len(codes)) < 0.5
    wanted = [codes.count(code) for code in range(4)]
    kept = [code for code, chosen in zip(codes, mask, strict=True) if chosen]
    assert coded.counts().tolist() == wanted
    assert coded.counts(mask).tolist() == [kept.count(code) for code in range(4)]
    assert coded.counts(np.flatnonzero(mask)).tolist() == coded.counts(mask).tolist()


def _checked(folder: Path, frame: pd.DataFrame, columns: dict[str, Column], parts: list[int], **keys: Any) -> Any:
    files, found = _collected(folder, frame, columns)
    np.save(folder / SPLIT_FILE, np.array(parts, np.uint8))
    settings = DataSettings(columns=columns, check=CheckSettings(**keys))
    return check({**files, SPLIT_FILE: folder / SPLIT_FILE}, found, settings, {"by": "random"})


@pytest.mark.parametrize("at_once", [3, 4_000_000])
def test_leaks_are_counted_whatever_is_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
    frame = pd.DataFrame({"a": [1, 2, 3, 4, 2, 9, 1, 3, 1, 5], "kind": list("xyxyxyxyxy")})
    found = _checked(tmp_path, frame, COLUMNS, [0, 0, 0, 0, 2, 2, 2, 2, 2, 0], duplicates="say")
    (leak,) = found["leaks"]
    assert (leak["kind"], leak["count"], leak["of"]) == ("exact", 4, 5)
    assert list(leak["first"]) == ["row 5 = row 2", "row 7 = row 1", "row 8 = row 3", "row 9 = row 1"]


def test_leaks_and_shared_groups_are_refused_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 1], "kind": list("xyxy"), "who": ["p", "q", "r", "s"]})
    with pytest.raises(UsageError, match=r"row 4 = row 1"):
        _checked(tmp_path, frame, WHO, [0, 0, 0, 2])
    frame = frame.assign(a=[1, 2, 3, 4], who=["p", "q", "r", "p"])
    with pytest.raises(UsageError, match=r"groups stand in the train and in the test part.*'p'"):
        _checked(tmp_path, frame, WHO, [0, 0, 0, 2])
