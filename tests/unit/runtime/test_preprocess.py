"""The preprocessing contract: what each step does, what is refused, and that a row has the same bits alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import edgegen_runtime
from edgegen_runtime.preprocess import STEPS, PreprocessError, Preprocessor, apply

A, B = {"column": "a"}, {"column": "b"}


def table(columns: dict[str, str], *steps: dict[str, Any], missing: bool = True) -> dict[str, Any]:
    declared = [{"name": name, "type": kind, "missing": missing} for name, kind in columns.items()]
    return {"schema_version": 1, "input": {"kind": "table", "columns": declared}, "steps": list(steps)}


def samples(*steps: dict[str, Any], **declared: Any) -> dict[str, Any]:
    return {"input": declared, "steps": list(steps)}


def select(*columns: str) -> dict[str, Any]:
    return {"do": "select", "columns": list(columns)}


NUMBERS = {"a": "number", "b": "number"}
NEIGHBOURS = {
    "do": "fill-neighbours",
    "columns": ["a", "b"],
    "shift": [0.0, 0.0],
    "factor": [1.0, 0.1],
    "neighbours": 2,
    "donors": [[0.0, 0.0], [1.0, 10.0], [2.0, 20.0], [None, 30.0]],
    "otherwise": [5.0, 6.0],
}
REGRESSIONS = {
    "do": "fill-iterative",
    "columns": ["a", "b"],
    "shift": [1.0, 2.0],
    "factor": [2.0, 0.5],
    "initial": [0.0, 0.0],
    "limits": [[-3.0, 3.0], [-3.0, 3.0]],
    "chain": [
        {"column": "a", "intercept": 0.5, "coefficients": [0.0, 2.0]},
        {"column": "b", "intercept": -0.25, "coefficients": [0.5, 0.0]},
    ],
}


# -- what each step does ---------------------------------------------------------------------------------------------


def test_fill_puts_constants_into_gaps_alone() -> None:
    contract = table(
        {"a": "number", "c": "category", "t": "boolean"},
        {"do": "fill", "values": {"a": 7, "c": "x", "t": 1}},
        {"do": "one-hot", "column": "c", "values": ["x", "y"], "unknown": "zeros"},
        select("a", "c=x", "c=y", "t"),
    )
    raw = {"a": [1, None, 3.5], "c": ["y", None, ""], "t": [False, None, True]}
    assert apply(contract, raw).tolist() == [[1, 0, 1, 0], [7, 1, 0, 1], [3.5, 1, 0, 1]]


def test_fill_neighbours_averages_the_nearest_donors_and_falls_back() -> None:
    contract = table(NUMBERS, NEIGHBOURS, select("a", "b"))
    raw = {"a": [np.nan, 0.2, np.nan, np.nan], "b": [26.0, np.nan, np.nan, 4.0]}
    # 26 is nearest to 30, which has no a, then to 20 and 10; without any cell there is no distance
    assert np.allclose(apply(contract, raw), [[1.5, 26], [0.2, 5], [5, 6], [0.5, 4]])


def test_fill_neighbours_agrees_with_scikit_learn() -> None:
    impute = pytest.importorskip("sklearn.impute")
    random = np.random.default_rng(3)
    donors, rows = random.normal(size=(80, 5)), random.normal(size=(60, 5))
    donors[random.random(donors.shape) < 0.2] = np.nan
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[np.isnan(rows).all(axis=1), 0] = 0.5
    factor = np.array([1.0, 0.5, 2.0, 1.0, 3.0])
    names = [f"x{place}" for place in range(5)]
    step = {
        "do": "fill-neighbours",
        "columns": names,
        "shift": [0.0] * 5,
        "factor": factor.tolist(),
        "neighbours": 4,
        "donors": [[None if np.isnan(cell) else cell for cell in row] for row in donors.tolist()],
        "otherwise": [0.0] * 5,
    }
    contract = table(dict.fromkeys(names, "number"), step, select(*names))
    found = Preprocessor(contract).run(dict(zip(names, rows.T, strict=True)))
    imputer = impute.KNNImputer(n_neighbors=4).fit(donors * factor)
    assert np.abs(found - imputer.transform(rows * factor) / factor).max() < 1e-9


def test_fill_iterative_follows_the_chain_within_limits() -> None:
    contract = table(NUMBERS, REGRESSIONS, select("a", "b"))
    found = apply(contract, {"a": [np.nan, 2.0, np.nan], "b": [3.0, np.nan, 100.0]})
    first = (0.5 + 2 * ((3 - 2) * 0.5)) / 2 + 1
    second = (-0.25 + 0.5 * ((2 - 1) * 2)) / 0.5 + 2
    assert np.allclose(found, [[first, 3], [2, second], [3 / 2 + 1, 100]])  # the last one reaches the limit


def test_clip_derive_scale_and_select_in_order() -> None:
    contract = table(
        NUMBERS,
        {"do": "clip", "limits": {"a": [0, 2]}},
        {"do": "derive", "column": "c", "expression": {"op": "/", "of": [A, {"op": "**", "of": [B, 2]}]}},
        {"do": "scale", "columns": {"a": [1.0, 10.0]}},
        select("c", "a"),
    )
    assert apply(contract, {"a": [5.0, -1.0, 1.0], "b": [2.0, 1.0, 4.0]}).tolist() == [
        [0.5, 10.0],
        [0.0, -10.0],
        [0.0625, 0.0],
    ]


def test_one_hot_gives_zeros_or_refuses_an_unknown_category() -> None:
    step = {"do": "one-hot", "column": "c", "values": ["x", "y"], "unknown": "zeros"}
    contract = table({"c": "category"}, step, select("c=x", "c=y"))
    assert apply(contract, {"c": ["y", "z"]}).tolist() == [[0, 1], [0, 0]]
    step["unknown"] = "refuse"
    with pytest.raises(PreprocessError, match="'z'") as caught:
        apply(contract, {"c": ["y", "z"]})
    assert (caught.value.row, caught.value.column) == (1, "c")


def test_divide_gives_what_float32_division_gives() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    contract = samples({"do": "divide", "by": 255}, dtype="uint8", layout="NCHW", shape=[1, 8, 8])
    assert np.array_equal(apply(contract, pixels), pixels.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("axis", "shift", "factor"),
    [(None, [1.0], [2.0]), (1, [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]), (2, [1.0] * 4, [2.0] * 4)],
)
def test_scale_array_works_along_an_axis(axis: int | None, shift: list[float], factor: list[float]) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    found = apply(samples({"do": "scale-array", "axis": axis, "shift": shift, "factor": factor}), array)
    assert np.array_equal(found, (array - 1) * 2)


def test_windows_and_their_statistics_follow_columns() -> None:
    steps = [{"do": "window", "length": 3, "step": 2}, {"do": "statistics", "names": ["min", "max"]}]
    contract = table(NUMBERS, select("a", "b"), *steps)
    raw = {"a": np.arange(6.0), "b": -np.arange(6.0)}
    assert apply(contract, raw).tolist() == [[0, 2, -2, 0], [2, 4, -4, -2]]
    turned = table(NUMBERS, select("a", "b"), steps[0], {"do": "transpose"})
    assert apply(turned, raw)[1].tolist() == [[2, 3, 4], [-2, -3, -4]]


def test_log_mel_gives_frames_and_bands() -> None:
    step = {"do": "log-mel", "rate_hz": 8000, "mels": 10, "frame_ms": 32.0, "hop_ms": 16.0}
    clips = np.random.default_rng(0).normal(size=(3, 2000))
    assert apply(samples(step), clips).shape == (3, 14, 10)
    with pytest.raises(PreprocessError, match="frame"):
        apply(samples(step), clips[:, :10])


def test_no_row_gives_no_row() -> None:
    assert apply(table(NUMBERS, NEIGHBOURS, select("a")), {"a": [], "b": []}).shape == (0, 1)


def test_columns_beside_the_declared_ones_are_ignored() -> None:
    assert apply(table({"a": "number"}, select("a")), {"a": [1.0], "z": ["?"]}).tolist() == [[1]]


# -- what is refused -------------------------------------------------------------------------------------------------

DEEP: dict[str, Any] = {"column": "a"}
for _ in range(500):
    DEEP = {"op": "negative", "of": [DEEP]}

HOSTILE_CONTRACTS: dict[str, Any] = {
    "no table": [],
    "no steps": {"input": {}},
    "unknown key": {"input": {}, "steps": [], "x": 1},
    "later version": {"schema_version": 2, "input": {}, "steps": []},
    "steps are no list": {"input": {}, "steps": {"do": "select"}},
    "unknown step": samples({"do": "exec"}),
    "step without a name": samples({"by": 2}),
    "name of a step is no text": samples({"do": 3}),
    "step is no table": samples(3),  # type: ignore[arg-type]
    "unknown key of a step": samples({"do": "divide", "by": 2, "then": 3}),
    "missing key of a step": samples({"do": "divide"}),
    "divide by nothing": samples({"do": "divide", "by": 0}),
    "divide by text": samples({"do": "divide", "by": "2"}),
    "divide by true": samples({"do": "divide", "by": True}),
    "divide by infinity": samples({"do": "divide", "by": float("inf")}),
    "divide by a huge integer": samples({"do": "divide", "by": 10**400}),
    "columns twice": table({"a": "number"})
    | {"input": {"kind": "table", "columns": [{"name": "a", "type": "number"}] * 2}},
    "column of unknown type": table({"a": "text"}, select("a")),
    "column without a type": {"input": {"kind": "table", "columns": [{"name": "a"}]}, "steps": []},
    "too many columns": {
        "input": {"kind": "table", "columns": [{"name": str(n), "type": "number"} for n in range(5000)]},
        "steps": [],
    },
    "fill of another kind": table({"a": "number"}, {"do": "fill", "values": {"a": "x"}}, select("a")),
    "fill of an unknown column": table({"a": "number"}, {"do": "fill", "values": {"z": 1}}, select("a")),
    "fill with NaN": table({"a": "number"}, {"do": "fill", "values": {"a": float("nan")}}, select("a")),
    "limits the wrong way round": table({"a": "number"}, {"do": "clip", "limits": {"a": [2, 1]}}, select("a")),
    "one limit": table({"a": "number"}, {"do": "clip", "limits": {"a": [2]}}, select("a")),
    "clip of a category": table({"c": "category"}, {"do": "clip", "limits": {"c": [0, 1]}}),
    "select nothing": table({"a": "number"}, select()),
    "select twice": table({"a": "number"}, select("a", "a")),
    "select a category": table({"c": "category"}, select("c")),
    "select what is not there": table({"a": "number"}, select("b")),
    "columns after select": table({"a": "number"}, select("a"), {"do": "fill", "values": {"a": 1}}),
    "derive what is there": table({"a": "number"}, {"do": "derive", "column": "a", "expression": 1}, select("a")),
    "derive of a category": table({"c": "category"}, {"do": "derive", "column": "d", "expression": {"column": "c"}}),
    "unknown operator": table(NUMBERS, {"do": "derive", "column": "d", "expression": {"op": "eval", "of": [A, B]}}),
    "too few arguments": table(NUMBERS, {"do": "derive", "column": "d", "expression": {"op": "+", "of": [A]}}),
    "too many arguments": table(NUMBERS, {"do": "derive", "column": "d", "expression": {"op": "+", "of": [A] * 3}}),
    "expression of text": table(NUMBERS, {"do": "derive", "column": "d", "expression": "a + b"}),
    "deep expression": table(NUMBERS, {"do": "derive", "column": "d", "expression": DEEP}),
    "wide expression": table(
        NUMBERS,
        {"do": "derive", "column": "d", "expression": {"op": "max", "of": [{"op": "max", "of": [A] * 16}] * 16}},
    ),
    "one-hot without values": table({"c": "category"}, {"do": "one-hot", "column": "c", "unknown": "zeros"}),
    "one-hot of a number": table(
        {"a": "number"}, {"do": "one-hot", "column": "a", "values": ["1"], "unknown": "zeros"}
    ),
    "one-hot with another word": table(
        {"c": "category"}, {"do": "one-hot", "column": "c", "values": ["1"], "unknown": "?"}
    ),
    "one-hot over a column": table(
        {"c": "category", "c=1": "number"}, {"do": "one-hot", "column": "c", "values": ["1"], "unknown": "zeros"}
    ),
    "too many categories": table(
        {"c": "category"}, {"do": "one-hot", "column": "c", "values": [str(n) for n in range(2000)], "unknown": "zeros"}
    ),
    "donors too short": table(NUMBERS, NEIGHBOURS | {"donors": [[1.0]]}),
    "too many donors": table(NUMBERS, NEIGHBOURS | {"donors": [[1.0, 2.0]] * 1001}),
    "donor of text": table(NUMBERS, NEIGHBOURS | {"donors": [["1", 2.0]]}),
    "no neighbours": table(NUMBERS, NEIGHBOURS | {"neighbours": 0}),
    "neighbours of an unknown column": table(NUMBERS, NEIGHBOURS | {"columns": ["a", "z"]}),
    "factor of zero": table(NUMBERS, NEIGHBOURS | {"factor": [1.0, 0.0]}),
    "chain to an unknown column": table(
        NUMBERS, REGRESSIONS | {"chain": [{"column": "z", "intercept": 0.0, "coefficients": [0.0, 0.0]}]}
    ),
    "column from itself": table(
        NUMBERS, REGRESSIONS | {"chain": [{"column": "a", "intercept": 0.0, "coefficients": [1.0, 0.0]}]}
    ),
    "coefficients too short": table(
        NUMBERS, REGRESSIONS | {"chain": [{"column": "a", "intercept": 0.0, "coefficients": [0.0]}]}
    ),
    "chain too long": table(
        NUMBERS,
        REGRESSIONS | {"chain": [{"column": "a", "intercept": 0.0, "coefficients": [0.0, 1.0]}] * 250_001},
    ),
    "scale-array without an axis for two": samples(
        {"do": "scale-array", "axis": None, "shift": [0.0, 1.0], "factor": [1.0, 1.0]}
    ),
    "scale-array of the samples": samples({"do": "scale-array", "axis": 0, "shift": [0.0], "factor": [1.0]}),
    "endless window": samples({"do": "window", "length": 10**9, "step": 1}),
    "window without a step": samples({"do": "window", "length": 2, "step": 0}),
    "unknown statistics": samples({"do": "log-mel", "rate_hz": 10**9, "mels": 1, "frame_ms": 1.0, "hop_ms": 1.0}),
    "frames without end": samples({"do": "log-mel", "rate_hz": 8000, "mels": 4, "frame_ms": 1e9, "hop_ms": 1.0}),
}


@pytest.mark.parametrize("contract", HOSTILE_CONTRACTS.values(), ids=list(HOSTILE_CONTRACTS))
def test_a_contract_that_is_none_is_refused(contract: Any) -> None:
    raw = {"a": np.ones(3), "b": np.ones(3), "c": np.array(["1", "2", "3"])}
    with pytest.raises(PreprocessError):
        apply(
            contract, raw if "kind" in (contract.get("input", {}) if isinstance(contract, dict) else {}) else np.ones(3)
        )


FULL = table(
    {"a": "number", "c": "category", "t": "boolean"},
    {"do": "one-hot", "column": "c", "values": ["x"], "unknown": "zeros"},
    select("a", "t", "c=x"),
    missing=False,
)
GOOD = {"a": [1.0, 2.0], "c": ["x", "y"], "t": [True, False]}

HOSTILE_RAW: dict[str, tuple[dict[str, Any] | np.ndarray, int | None, str | None]] = {
    "an array": (np.ones(3), None, None),
    "a column is missing": ({"a": [1.0], "c": ["x"]}, None, "t"),
    "text for a number": (GOOD | {"a": ["1", "2"]}, None, "a"),
    "text among numbers": (GOOD | {"a": [1.0, "2"]}, None, "a"),
    "an object": (GOOD | {"a": [1.0, {}]}, 1, "a"),
    "true for a number": (GOOD | {"a": [True, False]}, None, "a"),
    "two axes": (GOOD | {"a": np.ones((2, 2))}, None, "a"),
    "no axis": (GOOD | {"a": 1.0}, None, "a"),
    "ragged": (GOOD | {"a": [[1.0], [1.0, 2.0]]}, None, "a"),
    "infinite": (GOOD | {"a": [1.0, np.inf]}, 1, "a"),
    "huge integer": (GOOD | {"a": np.array([1, 10**400], object)}, 1, "a"),
    "missing number": (GOOD | {"a": [1.0, np.nan]}, 1, "a"),
    "missing text": (GOOD | {"c": ["x", None]}, 1, "c"),
    "empty text": (GOOD | {"c": ["", "x"]}, 0, "c"),
    "number for text": (GOOD | {"c": np.array(["x", 3], object)}, 1, "c"),
    "bytes for text": (GOOD | {"c": np.array([b"x", b"y"])}, None, "c"),
    "neither true nor false": (GOOD | {"t": [1, 2]}, 1, "t"),
    "other lengths": (GOOD | {"a": [1.0]}, None, None),
    "too large for float32": (GOOD | {"a": [1.0, 1e300]}, 1, None),
}


@pytest.mark.parametrize("case", list(HOSTILE_RAW))
def test_raw_values_that_do_not_fit_are_refused_with_row_and_column(case: str) -> None:
    assert apply(FULL, GOOD).tolist() == [[1, 1, 1], [2, 0, 0]]
    raw, row, column = HOSTILE_RAW[case]
    with pytest.raises(PreprocessError) as caught:
        apply(FULL, raw)
    assert (caught.value.row, caught.value.column) == (row, column)


def test_arrays_of_another_shape_or_kind_are_refused() -> None:
    contract = samples({"do": "divide", "by": 2}, shape=[3])
    assert apply(contract, np.ones((2, 3))).shape == (2, 3)
    for raw in (np.ones((2, 4)), np.array([["x"] * 3]), {"a": np.ones(3)}, np.float64(1)):
        with pytest.raises(PreprocessError):
            apply(contract, raw)


def test_a_derived_feature_that_is_not_finite_is_refused_with_its_row() -> None:
    contract = table(NUMBERS, {"do": "derive", "column": "d", "expression": {"op": "/", "of": [A, B]}}, select("d"))
    with pytest.raises(PreprocessError, match="'d' is not finite") as caught:
        apply(contract, {"a": [1.0, 1.0], "b": [1.0, 0.0]})
    assert (caught.value.row, caught.value.column) == (1, "d")
    with pytest.raises(PreprocessError, match="'b' is missing"):
        apply(contract, {"a": [1.0], "b": [np.nan]})


# -- properties ------------------------------------------------------------------------------------------------------

WHOLE = table(
    {"a": "number", "b": "number", "c": "category"},
    NEIGHBOURS,
    {"do": "derive", "column": "p", "expression": {"op": "exp", "of": [{"op": "/", "of": [A, 1000]}]}},
    {"do": "derive", "column": "q", "expression": {"op": "log1p", "of": [{"op": "abs", "of": [B]}]}},
    {"do": "derive", "column": "r", "expression": {"op": "**", "of": [{"column": "q"}, {"column": "p"}]}},
    {"do": "derive", "column": "s", "expression": {"op": "sqrt", "of": [{"op": "/", "of": [{"column": "q"}, 3]}]}},
    {"do": "clip", "limits": {"r": [0.0, 50.0]}},
    {"do": "fill", "values": {"c": "x"}},
    {"do": "one-hot", "column": "c", "values": ["x", "y"], "unknown": "zeros"},
    {"do": "scale", "columns": {"p": [0.1, 1.7], "q": [1.3, 0.3], "r": [0.7, 1 / 3]}},
    select("a", "b", "p", "q", "r", "s", "c=x", "c=y"),
)
CHAINED = json.loads(json.dumps(WHOLE))
CHAINED["steps"][0] = REGRESSIONS
cells = arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1000, 1000) | st.just(np.nan))


@pytest.mark.parametrize("contract", [WHOLE, CHAINED], ids=["neighbours", "regressions"])
@settings(max_examples=60, deadline=None)
@given(a=cells, seed=st.integers(0, 99))
def test_a_row_has_the_same_bits_alone_as_in_a_batch(contract: dict[str, Any], a: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    b = np.where(random.random(len(a)) < 0.2, np.nan, random.normal(0, 300, len(a)))
    c = random.choice(["x", "y", "z"], len(a))
    prepare = Preprocessor(contract)
    together = prepare.run({"a": a, "b": b, "c": c})
    assert prepare({"a": a, "b": b, "c": c}).dtype == np.float32
    for row in range(len(a)):
        alone = prepare.run({"a": a[row : row + 1], "b": b[row : row + 1], "c": c[row : row + 1]})
        assert alone.tobytes() == together[row : row + 1].tobytes()


def test_a_power_of_two_has_the_same_bits_alone_as_in_a_batch() -> None:
    contract = table(NUMBERS, {"do": "derive", "column": "d", "expression": {"op": "**", "of": [A, B]}}, select("d"))
    prepare = Preprocessor(contract)
    a = np.random.default_rng(5).uniform(0.1, 10, 2000)
    b = np.full(2000, 2.0)
    together = prepare.run({"a": a, "b": b})
    alone = np.concatenate([prepare.run({"a": a[row : row + 1], "b": b[row : row + 1]}) for row in range(2000)])
    assert alone.tobytes() == together.tobytes()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["a", "b", "+", "select", "fill"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["do", "columns", "values", "column", "expression", "op", "of", "limits", "a", "b", "shift"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(STEPS)), keys=st.dictionaries(st.sampled_from(
    ["columns", "values", "column", "expression", "limits", "shift", "factor", "axis", "by", "length", "step", "names",
     "unknown", "donors", "neighbours", "otherwise", "initial", "chain"]), anything, max_size=8))  # fmt: skip
def test_any_json_gives_an_array_or_a_preprocess_error(name: str, keys: dict[str, Any]) -> None:
    contract = table(NUMBERS, {"do": name, **keys}, select("a"))
    try:
        found = apply(contract, {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})
    except PreprocessError:
        return
    assert found.dtype == np.float32


def test_raw_values_are_never_written_to() -> None:
    raw = {
        "a": np.array([np.nan, 1.0, 2e3]),
        "b": np.array([1.0, np.nan, 2.0]),
        "c": np.array(["x", None, "y"], object),
    }
    kept = {name: values.copy() for name, values in raw.items()}
    apply(WHOLE, raw)
    for name, values in kept.items():
        assert str(raw[name].tolist()) == str(values.tolist())


def test_preprocessing_imports_numpy_and_nothing_else_from_outside() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import edgegen_runtime.preprocess, edgegen_runtime.signals\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'numpy'})"
    )
    path = str(Path(edgegen_runtime.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert done.stdout.split() == ["edgegen_runtime"]
