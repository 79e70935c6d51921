"""Declared features: what people may write, what it means, and what is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.expressions import parse
from edgegen_runtime.expressions import check, evaluate

COLUMNS = {"weight": np.array([70.0, 80.0]), "height": np.array([2.0, 1.6]), "a": np.array([4.0, -1.0])}


def value(text: str, columns: dict[str, np.ndarray] | None = None) -> list[float]:
    known = COLUMNS if columns is None else columns
    return evaluate(parse("f", text, list(known)), known, 2).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weight / height ** 2", [17.5, 31.25]),
        ("log(a + 2)", [math.log(6), 0.0]),
        ("log1p(a * a)", [math.log1p(16), math.log1p(1)]),
        ("(a > 3) * weight", [70.0, 0.0]),
        ("-a ** 2", [-16.0, -1.0]),
        ("- -a", [4.0, -1.0]),
        ("2", [2.0, 2.0]),
        ("1e-3 - 2.5", [-2.499, -2.499]),
        ("exp(0 * a) + sqrt(a * a) + abs(a)", [9.0, 3.0]),
        ("min(a, 0, weight) + max(a, 1)", [4.0, 0.0]),
        ("where(a >= 0, 10, weight)", [10.0, 80.0]),
        ("(a == 4) + (a != 4) * 2 + (a <= -1) * 3 + (a < 0) * 4", [1.0, 9.0]),
    ],
)
def test_an_expression_means_what_arithmetic_says(text: str, expected: list[float]) -> None:
    assert value(text) == pytest.approx(expected, abs=1e-12)


def test_columns_with_other_names_stand_in_backquotes_or_in_their_normal_form() -> None:
    columns = {"blood pressure (mm)": np.array([1.0, 2.0]), "µ": np.array([3.0, 4.0])}
    assert value("`blood pressure (mm)` * µ", columns) == [3.0, 8.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "weight +",
        "weight; height",
        "x = 3",
        "__import__('os').system('true')",
        "weight.real",
        "weight[0]",
        "lambda: 3",
        "[a for a in weight]",
        "f'{a}'",
        "'text'",
        "True",
        "None",
        "3j",
        "1" + "0" * 400,
        "1e999",
        "a and weight",
        "not a",
        "~a",
        "+a",
        "0 < a < 3",
        "a // 2",
        "a % 2",
        "a @ weight",
        "a is 3",
        "a in weight",
        "a if weight else 3",
        "sin(a)",
        "log(a, 2)",
        "log()",
        "min(a)",
        "max(*weight)",
        "log(x=a)",
        "negative(a)",
        "(a)(3)",
        "a\0",
        "(" * 400 + "a" + ")" * 400,
        "-" * 900 + "a",
        "+".join(["a"] * 300),
        "max(" * 120 + "a,a" + ")" * 120,
        "a" * 2000,
        "(yield a)",
        "(a := 3)",
    ],
)
def test_anything_else_is_refused_by_the_features_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"\[data\.features\] bmi"):
        parse("bmi", text, list(COLUMNS))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wieght", "did you mean 'weight'"),
        ("`` + 1", "''"),
        ("a and weight", r"\(a > 3\) \* \(b < 2\)"),
        ("weight ** 2 + label", "'label'"),
    ],
)
def test_a_refusal_says_what_to_do(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse("f", text, list(COLUMNS))


def test_a_sum_of_many_columns_is_not_too_large() -> None:
    assert check(parse("f", "+".join(["a"] * 60), ["a"])) == {"a"}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aw+-*/<>=!() .,123elogmaxwhre`\n\\'\"#:[]{}", max_size=40))
def test_any_text_gives_a_checked_tree_or_a_usage_error(text: str) -> None:
    try:
        tree = parse("f", text, ["a", "w"])
    except UsageError:
        return
    assert check(tree) <= {"a", "w"}
    assert evaluate(tree, {"a": np.ones(3), "w": np.zeros(3)}, 3).shape == (3,)


leaves = st.sampled_from(["a", "w", "2", "0.5"])
sums = st.recursive(
    leaves, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner), max_leaves=20
)


@settings(max_examples=100, deadline=None)
@given(sums, st.floats(-10, 10), st.floats(-10, 10))
def test_arithmetic_agrees_with_python(text: str, a: float, w: float) -> None:
    expected = eval(text, {"a": a, "w": w})
    found = evaluate(parse("f", text, ["a", "w"]), {"a": np.array([a]), "w": np.array([w])}, 1)
    assert found.tolist() == [expected]
