"""Cleaning: what is learnt of the training part alone, as plain numbers, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_tables import TEST, TRAIN, UNUSED, VALIDATION, asking, collected, columns, table
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.carrier import DROPPED_FILE
from edgegen.data.clean import fit, fit_scale
from edgegen.data.clean.chain import fit_chain, make_imputer
from edgegen.data.clean.running import Moments, Sample
from edgegen.data.collected import FITTED_FILE
from edgegen.data.settings import CleanSettings, Column, DataSettings, WindowSettings
from edgegen_runtime.preprocess import Preprocessor, apply

NUMBER = Column(type="number")


def fitted(
    folder: Path,
    declared: Mapping[str, Column],
    cells: Mapping[str, Sequence[Any]],
    parts: Sequence[int],
    features: Mapping[str, str] | None = None,
    seed: int = 7,
    **clean: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contract and the record."""
    files, raw = table(folder, declared, cells, parts)
    record = fit(files, raw, asking(declared, features, **clean), seed, folder)
    return json.loads((folder / FITTED_FILE).read_bytes()), dict(record)


def step(contract: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [step for step in contract["steps"] if step["do"] == name]
    return found


def dropped(folder: Path) -> list[int]:
    return np.flatnonzero(np.load(folder / DROPPED_FILE)).tolist() if (folder / DROPPED_FILE).exists() else []


def correlated(rows: int = 600, missing: float = 0.2, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Four columns that tell of each other, whole and with gaps, in units far apart."""
    random = np.random.default_rng(11)
    hidden = random.normal(size=(rows, 2))
    whole = hidden @ random.normal(size=(2, 4)) + noise * random.normal(size=(rows, 4))
    whole = whole * [1.0, 1000.0, 0.01, 5.0] + [0.0, 5000.0, 1.0, -3.0]
    return whole, np.where(random.random(whole.shape) < missing, np.nan, whole)


def listed(rows: np.ndarray) -> dict[str, list[float | None]]:
    return {
        f"x{place}": [None if np.isnan(cell) else cell for cell in column]
        for place, column in enumerate(rows.T.tolist())
    }


# -- missing cells ---------------------------------------------------------------------------------------------------

PARTS = [TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST, UNUSED]


@pytest.mark.parametrize(
    ("missing", "fills"),
    [("constant", -1.0), ("mean", (1 + 2 + 6) / 3), ("median", 2.0)],
)
def test_gaps_are_filled_with_what_the_training_part_says(tmp_path: Path, missing: str, fills: float) -> None:
    cells = {"x": [1.0, None, 2.0, 6.0, None, 1000.0, None]}
    contract, record = fitted(tmp_path, columns(x="number"), cells, PARTS, missing=missing, constant=-1.0)
    assert step(contract, "fill")["values"] == {"x": pytest.approx(fills)}
    assert record["gaps"] == {"x": {"train": 1, "judged": 1}}
    assert record["rows"] == {"train": 4, "validation": 1, "test": 1}
    assert "2 missing cells" in record["said"][0]
    assert apply(contract, {"x": np.array([np.nan, 9.0])}).ravel().tolist() == pytest.approx([fills, 9.0])


def test_categories_and_booleans_are_filled_with_the_most_frequent_value(tmp_path: Path) -> None:
    cells = {
        "c": ["b", "a", "b", None, "z", "z", "z"],
        "t": [True, True, False, None, False, False, False],
        "e": ["v", "u", None, None, "v", "v", "v"],
    }
    declared = columns(c="category", t="boolean", e="category")
    contract, _ = fitted(tmp_path, declared, cells, PARTS, missing="mean")
    raw = {"c": [None], "t": [None], "e": [None]}
    assert contract["steps"][-1]["columns"] == ["c=a", "c=b", "t", "e=u", "e=v"]
    assert apply(contract, raw).tolist() == [[0, 1, 1, 1, 0]]  # of 'u' and 'v', equally frequent, the first by name


@pytest.mark.parametrize("part", [TRAIN, VALIDATION, TEST])
def test_refuse_names_the_row_and_the_column_of_a_gap(tmp_path: Path, part: int) -> None:
    cells = {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, None, 4.0]}
    with pytest.raises(UsageError, match=r"row 3, column 'y'"):
        fitted(tmp_path, columns(x="number", y="number"), cells, [TRAIN, TRAIN, part, TEST])


def test_refuse_does_not_mind_gaps_in_rows_that_no_part_takes(tmp_path: Path) -> None:
    cells = {"x": [1.0, 2.0, None]}
    contract, record = fitted(tmp_path, columns(x="number"), cells, [TRAIN, TEST, UNUSED])
    assert record["gaps"] == {}
    assert contract["input"]["columns"] == [{"name": "x", "type": "number", "unit": "", "missing": False}]


def test_drop_takes_out_training_rows_alone_and_learns_of_the_rest(tmp_path: Path) -> None:
    cells = {"x": [1.0, 50.0, 3.0, 4.0], "y": [1.0, None, 2.0, 3.0]}
    declared = columns(x="number", y="number")
    contract, record = fitted(tmp_path, declared, cells, [TRAIN, TRAIN, TRAIN, TEST], missing="drop", scale="minmax")
    assert dropped(tmp_path) == [1]
    assert record["dropped"] == {"missing": 1}
    assert step(contract, "scale")["columns"]["x"] == [1.0, 0.5]


def test_drop_refuses_a_gap_in_a_judged_row(tmp_path: Path) -> None:
    cells = {"x": [1.0, 2.0, None]}
    with pytest.raises(UsageError, match=r"row 3.*never dropped"):
        fitted(tmp_path, columns(x="number"), cells, [TRAIN, TRAIN, TEST], missing="drop")


def test_a_column_that_may_not_be_missing_is_refused_whatever_fills(tmp_path: Path) -> None:
    declared = {"x": Column(missing=False), "y": NUMBER}
    cells = {"x": [1.0, 2.0, 3.0], "y": [1.0, None, 3.0]}
    contract, _ = fitted(tmp_path, declared, cells, [TRAIN, TRAIN, TEST], missing="mean")
    assert step(contract, "fill")["values"] == {"y": 1.0}
    cells["x"][1] = None
    with pytest.raises(UsageError, match="row 2, column 'x'"):
        fitted(tmp_path, declared, cells, [TRAIN, TRAIN, TEST], missing="mean")


@pytest.mark.parametrize("missing", ["constant", "mean", "median", "knn", "iterative"])
def test_filling_says_so_when_it_changes_nothing(tmp_path: Path, missing: str) -> None:
    cells = {"x": [1.0, 2.0, 3.0], "y": [3.0, 2.0, 1.5]}
    _, record = fitted(tmp_path, columns(x="number", y="number"), cells, [TRAIN, TRAIN, TEST], missing=missing)
    assert "changed nothing" in record["said"][0]


@pytest.mark.parametrize("missing", ["mean", "median", "knn", "iterative"])
def test_what_is_learnt_does_not_depend_on_judged_rows(tmp_path: Path, missing: str) -> None:
    _, gaps = correlated(200)
    parts = [TRAIN] * 120 + [VALIDATION] * 40 + [TEST] * 40
    declared = columns(**dict.fromkeys(listed(gaps), "number"))
    asked = {"missing": missing, "outliers": "zscore", "action": "clip", "scale": "standard"}
    first, _ = fitted(tmp_path, declared, listed(gaps), parts, {"d": "x0 * x1"}, **asked)
    gaps[120:] = np.where(np.isnan(gaps[120:]), 5.0, np.nan)
    gaps[120:, 0] = 1e6
    second, _ = fitted(tmp_path, declared, listed(gaps), parts, {"d": "x0 * x1"}, **asked)
    assert first == second


def test_neighbours_carry_at_most_a_thousand_training_rows(tmp_path: Path) -> None:
    _, gaps = correlated(1600)
    declared = columns(**dict.fromkeys(listed(gaps), "number"))
    contract, record = fitted(tmp_path, declared, listed(gaps), [TRAIN] * 1500 + [TEST] * 100, missing="knn")
    assert len(step(contract, "fill-neighbours")["donors"]) == 1000
    assert "1000 training rows" in record["said"][0]
    known = {tuple(row) for row in np.nan_to_num(gaps[:1500], nan=-1e9)}
    donors = np.array(step(contract, "fill-neighbours")["donors"], float)
    assert {tuple(row) for row in np.nan_to_num(donors, nan=-1e9)} <= known


def test_the_chain_of_regressions_gives_what_scikit_learn_gives() -> None:
    _, gaps = correlated(400)
    scaled = (gaps - np.nanmean(gaps, axis=0)) / np.nanstd(gaps, axis=0)
    learnt, others = scaled[:300], scaled[300:]
    chain = fit_chain(learnt, rounds=4)
    names = [f"x{place}" for place in range(4)]
    links = [
        {"column": names[place], "intercept": intercept, "coefficients": coefficients}
        for place, intercept, coefficients in chain.links
    ]
    fill = {
        "do": "fill-iterative",
        "columns": names,
        "shift": [0.0] * 4,
        "factor": [1.0] * 4,
        "initial": chain.initial,
        "limits": chain.limits,
        "chain": links,
    }
    declared = [{"name": name, "type": "number", "missing": True} for name in names]
    contract = {
        "input": {"kind": "table", "columns": declared},
        "steps": [fill, {"do": "select", "columns": names}],
    }
    found = Preprocessor(contract).run(dict(zip(names, others.T, strict=True)))
    with pytest.warns() as _:  # it always says that more rounds would change a little
        expected = make_imputer(learnt, rounds=4).fit(learnt).transform(others)
    assert np.isnan(others).sum() > 50
    assert np.abs(found - expected).max() <= 1e-9


def test_the_chain_says_whether_it_has_settled() -> None:
    _, gaps = correlated(400, noise=2.0)
    scaled = (gaps - np.nanmean(gaps, axis=0)) / np.nanstd(gaps, axis=0)
    short, long = fit_chain(scaled, rounds=1), fit_chain(scaled, rounds=50)
    assert (short.rounds, short.settled) == (1, False)
    assert long.settled
    assert 1 < long.rounds < 50
    assert len(long.links) == 4 * long.rounds


def test_regressions_and_neighbours_come_nearer_to_masked_cells_than_the_mean(tmp_path: Path) -> None:
    whole, gaps = correlated()
    parts = [TRAIN] * 450 + [TEST] * 150
    declared = columns(**dict.fromkeys(listed(gaps), "number"))
    masked = np.isnan(gaps[450:])
    spread = whole[:450].std(axis=0)
    error = {}
    for missing in ("mean", "knn", "iterative"):
        contract, _ = fitted(tmp_path, declared, listed(gaps), parts, missing=missing)
        raw = dict(zip(declared, gaps[450:].T, strict=True))
        filled = Preprocessor(contract).run(raw)
        assert np.array_equal(filled[~masked], gaps[450:][~masked])
        error[missing] = float(np.sqrt(np.mean((((filled - whole[450:]) / spread)[masked]) ** 2)))
    assert error["iterative"] < 0.7 * error["mean"], error
    assert error["knn"] < 0.9 * error["mean"], error


def test_fills_stay_within_what_the_training_part_reaches(tmp_path: Path) -> None:
    _, gaps = correlated(200)
    declared = columns(**dict.fromkeys(listed(gaps), "number"))
    contract, _ = fitted(tmp_path, declared, listed(gaps), [TRAIN] * 150 + [TEST] * 50, missing="iterative")
    found = apply(contract, {"x0": [np.nan], "x1": [1e9], "x2": [1.0], "x3": [-1e9]})[0, 0]
    assert np.nanmin(gaps[:150, 0]) - 1e-6 <= found <= np.nanmax(gaps[:150, 0]) + 1e-6


# -- outliers --------------------------------------------------------------------------------------------------------


def spread(outlier: float = 100.0) -> dict[str, list[float]]:
    return {"x": [*np.linspace(-1, 1, 38).tolist(), outlier, 0.0, outlier], "y": [float(n) for n in range(41)]}


SPREAD_PARTS = [TRAIN] * 39 + [TEST] * 2


@pytest.mark.parametrize("outliers", ["zscore", "iqr"])
def test_flagged_outliers_are_counted_by_column_and_row_and_change_nothing(tmp_path: Path, outliers: str) -> None:
    declared = columns(x="number", y="number")
    contract, record = fitted(tmp_path, declared, spread(), SPREAD_PARTS, outliers=outliers)
    assert record["found"] == {"x": 1}
    assert (record["outlier_rows"], record["named_rows"]) == (1, [39])
    assert [step["do"] for step in contract["steps"]] == ["select"]
    assert not dropped(tmp_path)
    assert "only counted" in record["said"][1]


@pytest.mark.parametrize(
    ("outliers", "limits"), [("zscore", lambda x: x.mean() + np.array([-3, 3]) * x.std()), ("iqr", None)]
)
def test_clipping_brings_values_to_the_limits_on_a_device_too(tmp_path: Path, outliers: str, limits: Any) -> None:
    contract, record = fitted(
        tmp_path, columns(x="number", y="number"), spread(), SPREAD_PARTS, outliers=outliers, action="clip"
    )
    x = np.array(spread()["x"][:39])
    low, high = np.quantile(x, [0.25, 0.75])
    expected = [low - 3 * (high - low), high + 3 * (high - low)] if limits is None else limits(x).tolist()
    assert step(contract, "clip")["limits"]["x"] == pytest.approx(expected)
    assert apply(contract, {"x": [1e9, 0.5, -1e9], "y": [0, 0, 0]})[:, 0].tolist() == pytest.approx(
        [expected[1], 0.5, expected[0]]
    )
    assert "on a device too" in record["said"][1]


def test_fills_and_scales_are_learnt_of_clipped_values(tmp_path: Path) -> None:
    cells = {"x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e6, None, 0.0]}
    contract, _ = fitted(
        tmp_path,
        columns(x="number"),
        cells,
        [TRAIN] * 10 + [TEST],
        missing="mean",
        outliers="iqr",
        threshold=1.0,
        action="clip",
        scale="minmax",
    )
    assert [step["do"] for step in contract["steps"]] == ["clip", "fill", "scale", "select"]
    assert step(contract, "clip")["limits"]["x"] == [-2.0, 10.0]
    assert step(contract, "fill")["values"]["x"] == pytest.approx((28 + 10) / 9)
    assert step(contract, "scale")["columns"]["x"] == [0.0, 0.1]


@pytest.mark.parametrize("outliers", ["zscore", "iqr", "isolation-forest"])
def test_dropping_outliers_takes_out_training_rows_alone(tmp_path: Path, outliers: str) -> None:
    contract, record = fitted(
        tmp_path,
        columns(x="number", y="number"),
        spread(),
        SPREAD_PARTS,
        outliers=outliers,
        action="drop",
        scale="minmax",
    )
    assert 38 in dropped(tmp_path)
    assert 40 not in dropped(tmp_path)
    assert record["dropped"]["outliers"] == len(dropped(tmp_path)) == record["outlier_rows"]
    assert step(contract, "scale")["columns"]["x"][1] >= 0.5


def test_an_isolation_forest_sets_about_the_asked_share_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    x[:20] += 8
    cells = {"x": x[:, 0].tolist(), "y": x[:, 1].tolist()}
    _, record = fitted(
        tmp_path,
        columns(x="number", y="number"),
        cells,
        [TRAIN] * 390 + [TEST] * 10,
        outliers="isolation-forest",
        threshold=5.0,
    )
    assert 15 <= record["outlier_rows"] <= 25
    assert sum(row <= 20 for row in record["named_rows"]) >= 15
    assert record["found"] == {}


def test_outliers_of_declared_features_are_found_and_clipped(tmp_path: Path) -> None:
    cells = {"a": [1.0] * 20 + [1.1] * 19 + [1.0], "b": [1.0, 1.1] * 19 + [0.001, 1.0]}
    contract, record = fitted(
        tmp_path,
        columns(a="number", b="number"),
        cells,
        [TRAIN] * 39 + [TEST],
        {"q": "a / b"},
        outliers="zscore",
        action="clip",
        threshold=6.0,
    )
    assert record["found"] == {"b": 1, "q": 1} or record["found"] == {"q": 1}
    assert record["outlier_rows"] == 1
    assert any("q" in found["limits"] for found in contract["steps"] if found["do"] == "clip")


def test_a_column_whose_middle_half_has_no_width_is_left_alone_and_said(tmp_path: Path) -> None:
    cells = {"x": [0.0] * 30 + [5.0, 0.0]}
    contract, record = fitted(
        tmp_path, columns(x="number"), cells, [TRAIN] * 31 + [TEST], outliers="iqr", action="clip"
    )
    assert [step["do"] for step in contract["steps"]] == ["select"]
    assert any("told apart in x" in sentence for sentence in record["said"])


def test_looking_for_outliers_says_so_when_there_are_none(tmp_path: Path) -> None:
    cells = {"x": [0.0, 1.0, 2.0, 1.0]}
    _, record = fitted(tmp_path, columns(x="number"), cells, [TRAIN] * 3 + [TEST], outliers="zscore", action="drop")
    assert "changed nothing" in record["said"][1]
    assert not dropped(tmp_path)


def test_named_rows_are_bounded(tmp_path: Path) -> None:
    cells = {"x": [0.0] * 300 + [1.0] * 150 + [0.0]}
    _, record = fitted(tmp_path, columns(x="number"), cells, [TRAIN] * 450 + [TEST], outliers="zscore", threshold=1.0)
    assert record["outlier_rows"] == 150
    assert record["named_rows"] == list(range(301, 401))


# -- scale, features, categories -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["minmax", "standard"])
def test_numbers_are_scaled_and_categories_are_not(tmp_path: Path, scale: str) -> None:
    x = [1.0, 2.0, 4.0, 9.0]
    cells = {"x": x, "n": [1, 2, 3, 4], "c": ["a", "b", "a", "b"], "t": [True, False, True, False]}
    declared = columns(x="number", n="integer", c="category", t="boolean")
    contract, _ = fitted(tmp_path, declared, cells, [TRAIN] * 3 + [TEST], {"d": "x * n"}, scale=scale)
    found = apply(contract, {name: np.array(values) for name, values in cells.items()})
    assert contract["steps"][-1]["columns"] == ["x", "n", "c=a", "c=b", "t", "d"]
    assert found[:, 2:5].tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 1, 0]]
    train = found[:3, [0, 1, 5]]
    if scale == "minmax":
        assert train.min(axis=0).tolist() == [0, 0, 0]
        assert train.max(axis=0) == pytest.approx(1)
        assert found[3, 0] == pytest.approx(8 / 3)  # a judged value may lie beyond
    else:
        assert train.mean(axis=0) == pytest.approx(0, abs=1e-6)
        assert train.std(axis=0) == pytest.approx(1, rel=1e-6)


def test_a_constant_column_is_said_and_not_stretched(tmp_path: Path) -> None:
    cells = {"x": [0.1, 0.1, 0.1, 7.0], "y": [1.0, 2.0, 3.0, 4.0]}
    declared = columns(x="number", y="number")
    contract, record = fitted(tmp_path, declared, cells, [TRAIN] * 3 + [TEST], scale="standard")
    assert step(contract, "scale")["columns"]["x"] == [pytest.approx(0.1), 1.0]
    assert record["constant"] == ["x"]
    assert any("one value in the whole training part: x" in sentence for sentence in record["said"])


def test_a_unit_and_a_type_travel_in_the_contract(tmp_path: Path) -> None:
    declared = {"w": Column(unit="kg"), "n": Column(type="integer", role="identifier")}
    contract, _ = fitted(tmp_path, declared, {"w": [1.0, 2.0], "n": [1, 2]}, [TRAIN, TEST])
    assert contract == {
        "schema_version": 1,
        "input": {"kind": "table", "columns": [{"name": "w", "type": "number", "unit": "kg", "missing": False}]},
        "steps": [{"do": "select", "columns": ["w"]}],
    }


def test_declared_values_are_closed_and_found_ones_open(tmp_path: Path) -> None:
    declared = {"c": Column(type="category", values=("z", "y", "x")), "d": Column(type="category")}
    contract, record = fitted(tmp_path, declared, {"c": ["x", "y", "x"], "d": ["x", "y", "q"]}, [TRAIN, TRAIN, TEST])
    steps = {step["column"]: step for step in contract["steps"] if step["do"] == "one-hot"}
    assert (steps["c"]["values"], steps["c"]["unknown"]) == (["z", "y", "x"], "refuse")
    assert (steps["d"]["values"], steps["d"]["unknown"]) == (["x", "y"], "zeros")
    assert any("never has: z" in sentence for sentence in record["said"])


UNUSABLE: dict[str, tuple[Any, ...]] = {
    "no feature": (columns(y=Column(role="label", type="category")), {"y": ["a", "b"]}, None, {}, {}, "no column"),
    "text as a feature": (columns(x="text"), {"x": ["a", "b"]}, None, {}, {}, "type 'category'"),
    "empty column": (columns(x="number", y="number"), {"x": [1.0, 2.0], "y": [None, 3.0]}, None, {},
                     {"missing": "mean"}, r"no value in the training part \(\[data.columns.y"),
    "empty category": (columns(x="category", y="boolean"), {"x": [None, "a"], "y": [True, True]}, None, {},
                       {"missing": "mean"}, r"\[data.columns.x"),
    "every row has a gap": (columns(x="number"), {"x": [None, 3.0]}, None, {}, {"missing": "drop"}, "no training"),
    "infinite": (columns(x="number"), {"x": [1.0, np.inf]}, None, {}, {}, "row 2, column 'x'"),
    "too large": (columns(x="number"), {"x": [1e300, -1e300, 1.0]}, [TRAIN, TRAIN, TEST], {}, {}, "too large"),
    "feature not finite": (columns(x="number"), {"x": [1.0, 0.0, 1.0]}, [TRAIN, TRAIN, TEST], {"q": "1 / x"}, {},
                           r"'q' is not finite \(row 2\)"),
    "feature of a category": (columns(x="number", c="category"), {"x": [1.0, 2.0], "c": ["a", "b"]}, None,
                              {"q": "c + 1"}, {}, r"\[data.features\] q"),
    "feature of the target": (columns(x="number", y=Column(role="target")), {"x": [1.0, 2.0], "y": [1.0, 2.0]},
                              None, {"q": "y + 1"}, {}, r"\[data.features\] q"),
    "feature named as a column": (columns(x="number"), {"x": [1.0, 2.0]}, None, {"x": "1"}, {}, "name of a column"),
    "names that collide": (columns(**{"c": "category", "c=a": "number"}), {"c": ["a", "b"], "c=a": [1.0, 2.0]},
                           None, {}, {}, "no usable contract"),
    "knn of one column": (columns(x="number"), {"x": [1.0, 2.0]}, None, {}, {"missing": "knn"}, "one column"),
    "iterative of one column": (columns(x="number"), {"x": [1.0, 2.0]}, None, {}, {"missing": "iterative"},
                                "one column"),
    "forest that clips": (columns(x="number"), {"x": [1.0, 2.0]}, None, {},
                          {"outliers": "isolation-forest", "action": "clip"}, "no limits"),
    "forest of most rows": (columns(x="number"), {"x": [1.0, 2.0]}, None, {},
                            {"outliers": "isolation-forest", "threshold": 60.0}, "at most 50"),
    "nothing but outliers": (columns(x="number"), {"x": [0.0, 1.0, 5.0]}, [TRAIN, TRAIN, TEST], {},
                             {"outliers": "zscore", "threshold": 0.5, "action": "drop"}, "nothing to learn"),
    "no spread to scale": (columns(x="number"), {"x": [0.0, 5e-324, 1.0]}, [TRAIN, TRAIN, TEST], {},
                           {"scale": "minmax"}, "spread"),
    "split of other rows": (columns(x="number"), {"x": [1.0, 2.0, 3.0]}, [TRAIN, TEST], {}, {},
                            "not of these rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(UNUSABLE))
def test_what_cannot_be_cleaned_is_refused(tmp_path: Path, case: str) -> None:
    declared, cells, parts, features, clean, says = UNUSABLE[case]
    with pytest.raises(UsageError, match=says):
        fitted(tmp_path, declared, cells, parts or [TRAIN, TEST], features, **clean)
    assert not (tmp_path / FITTED_FILE).exists()


def test_a_category_of_too_many_values_is_refused(tmp_path: Path) -> None:
    cells = {"c": [f"v{number}" for number in range(1002)]}
    with pytest.raises(UsageError, match="too many values"):
        fitted(tmp_path, columns(c="category"), cells, [TRAIN] * 1001 + [TEST])


def test_rows_of_recordings_are_never_dropped(tmp_path: Path) -> None:
    declared = columns(x="number")
    files, raw = table(tmp_path, declared, {"x": [1.0, 2.0]}, [TRAIN, TEST])
    for clean in (CleanSettings(missing="drop"), CleanSettings(outliers="iqr", action="drop")):
        asked = DataSettings(source="t", columns=declared, clean=clean, window=WindowSettings(length=2, step=1))
        with pytest.raises(UsageError, match="hole in a recording"):
            fit(files, raw, asked, 0, tmp_path)


# -- no table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["images", "audio", "text"])
def test_what_is_no_table_has_nothing_to_clean(tmp_path: Path, kind: str) -> None:
    carrier = "text" if kind == "text" else "samples"
    record = fit({}, collected(5, carrier, kind), DataSettings(), 0, tmp_path)
    assert json.loads((tmp_path / FITTED_FILE).read_bytes())["steps"] == []
    assert record["said"] == ["the data are no table: there is no cell to clean"]
    asked = [CleanSettings(missing="mean"), CleanSettings(outliers="iqr"), CleanSettings(scale="standard")]
    for clean in asked[: 2 if kind == "audio" else 3]:
        with pytest.raises(UsageError, match="no table"):
            fit({}, collected(5, carrier, kind), DataSettings(clean=clean), 0, tmp_path)
    with pytest.raises(UsageError, match=r"\[data.features\]"):
        fit({}, collected(5, carrier, kind), DataSettings(features={"q": "1"}), 0, tmp_path)


@pytest.mark.parametrize("axis", [None, 1, 2])
@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_fit_scale_scales_samples_that_are_no_rows(axis: int | None, scale: str) -> None:
    samples = np.random.default_rng(0).normal(3, [[1.0], [5.0]], size=(50, 2, 7)).astype(np.float32)
    found = fit_scale([samples[:20], samples[20:]], CleanSettings(scale=scale), axis=axis)
    scaled = apply({"input": {}, "steps": [found]}, samples)
    axes = tuple(place for place in range(3) if place != axis)
    if scale == "standard":
        assert scaled.mean(axis=axes) == pytest.approx(0, abs=1e-5)
        assert scaled.std(axis=axes) == pytest.approx(1, rel=1e-5)
    else:
        assert scaled.min(axis=axes) == pytest.approx(0, abs=1e-6)
        assert scaled.max(axis=axes) == pytest.approx(1, rel=1e-6)


def test_fit_scale_refuses_no_sample() -> None:
    with pytest.raises(UsageError, match="no training sample"):
        fit_scale([], CleanSettings(scale="standard"))


# -- figures in bounded memory ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(0, 60), max_size=4), st.integers(0, 9))
def test_moments_agree_with_numpy_whatever_the_batches(rows: int, cuts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal([1e6, 0.0, -3.0], [1.0, 1e-3, 50.0], (rows, 3))
    values[random.random(values.shape) < 0.3] = np.nan
    moments = Moments(3)
    for batch in np.split(values, sorted(min(cut, rows) for cut in cuts)):
        moments.add(batch)
    for place in range(3):
        column = values[:, place][~np.isnan(values[:, place])]
        assert moments.count[place] == len(column)
        if len(column):
            assert moments.mean[place] == pytest.approx(column.mean(), rel=1e-12, abs=1e-12)
            assert moments.deviation[place] == pytest.approx(column.std(), rel=1e-6, abs=1e-12)
            assert (moments.least[place], moments.greatest[place]) == (column.min(), column.max())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.lists(st.integers(0, 80), max_size=4), st.integers(1, 30))
def test_a_sample_is_the_same_whatever_the_batches(rows: int, cuts: list[int], most: int) -> None:
    values = np.arange(rows, dtype=float)[:, None]
    whole, pieces = Sample(1, most, seed=3), Sample(1, most, seed=3)
    whole.add(values)
    for batch in np.split(values, sorted(min(cut, rows) for cut in cuts)):
        pieces.add(batch)
    assert np.array_equal(whole.rows, pieces.rows)
    assert len(whole.rows) == min(rows, most)
    assert np.all(np.diff(whole.rows[:, 0]) > 0)
    assert whole.whole == (rows <= most)


def test_a_sample_takes_every_row_equally_often() -> None:
    taken = np.zeros(40)
    for seed in range(2000):
        sample = Sample(1, 10, seed)
        for batch in np.split(np.arange(40.0)[:, None], [7, 9, 30]):
            sample.add(batch)
        taken[sample.rows[:, 0].astype(int)] += 1
    assert np.abs(taken / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_the_sample_bounds_what_is_learnt_of_and_says_so(tmp_path: Path) -> None:
    cells = {"x": [float(number) for number in range(1000)], "y": [1.0, None] * 500}
    declared = columns(x="number", y="number")
    _, record = fitted(tmp_path, declared, cells, [TRAIN] * 900 + [TEST] * 100, missing="median", sample_rows=100)
    assert "100 training rows drawn by seed" in record["said"][0]


def test_equal_inputs_give_equal_bytes_and_another_seed_another_sample(tmp_path: Path) -> None:
    _, gaps = correlated(400)
    declared = columns(**dict.fromkeys(listed(gaps), "number"))
    asked = {"missing": "iterative", "outliers": "isolation-forest", "scale": "standard", "sample_rows": 100}
    contents = []
    for seed in (1, 1, 2):
        fitted(tmp_path, declared, listed(gaps), [TRAIN] * 300 + [TEST] * 100, seed=seed, **asked)
        contents.append((tmp_path / FITTED_FILE).read_bytes())
    assert contents[0] == contents[1] != contents[2]
