"""The gate's outcome: exit codes, waivers that lift, waivers that ended, and what nobody asked about."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest
from example_build import document as result
from example_runs import run, with_figure

from edgegen.bench.gate import Judged, absolute, checks_of, exit_code, gate_document
from edgegen.bench.gate_said import headline
from edgegen.bench.regression import Check, Rules, regressions
from edgegen.bench.runs import line_of
from edgegen.bench.waivers import Waiver
from edgegen.core.errors import BuildError, ExitCode

TODAY = datetime.date(2026, 11, 27)


def judged(value: float = 750_045, **changes: object) -> Judged:
    new = with_figure("instructions", value)
    made = Judged(
        target="raspberrypi5",
        name="digits",
        version="0.1.0",
        candidate="static-int8@onnx",
        subject="build/raspberrypi5",
        baseline="bench.jsonl",
        device="qemu, cortex-a76",
        checks=regressions(new, run(), Rules(tolerances={})),
        run=json.loads(line_of(new)),
    )
    return replace(made, **changes)


def waiver(days: int, **changes: object) -> Waiver:
    made = Waiver(
        budget="instructions regression",
        target="raspberrypi5",
        reason="a new kernel is on its way",
        owner="ada",
        expires=TODAY + datetime.timedelta(days=days),
    )
    return replace(made, **changes)


def outcome(*items: Judged, waivers: tuple[Waiver, ...] = ()) -> dict:
    return gate_document(items, when="2026-11-27T20:00:00Z", today=TODAY, waivers=waivers)


def test_an_unchanged_build_passes() -> None:
    found = outcome(judged())
    assert found["exit_code"] == 0
    assert headline(found) == "Passed: 3 of 3 checks"


def test_an_optional_check_that_is_not_kept_is_not_counted_as_passed() -> None:
    optional = tuple(replace(check, required=False) for check in judged(765_046).checks)
    found = outcome(judged(checks=optional))
    assert found["exit_code"] == 0
    assert headline(found) == "Passed: 2 of 3 checks; 1 optional not kept or not judged"


def test_two_percent_more_fail() -> None:
    found = outcome(judged(765_046))
    assert found["exit_code"] == 1
    assert headline(found) == "instructions regression on raspberrypi5 fails"


def test_a_waiver_lifts_the_check_and_is_shown() -> None:
    found = outcome(judged(765_046), waivers=(waiver(0),))
    check = next(item for item in checks_of(found) if item.metric == "instructions")
    assert (found["exit_code"], check.status, check.waiver["owner"]) == (0, "waived", "ada")
    assert "would be fail" in check.reason
    assert headline(found) == "Passed: 2 of 3 checks; 1 lifted by a waiver"
    assert found["notes"] == []


@pytest.mark.parametrize("value", [750_045, 765_046])
def test_a_waiver_that_ended_fails_by_itself(value: float) -> None:
    found = outcome(judged(value), waivers=(waiver(-1),))
    assert found["exit_code"] == 1
    ended = next(item for item in checks_of(found) if item.budget == "waiver of instructions regression")
    assert (ended.status, ended.value) == ("fail", 1.0)
    assert "ada: a new kernel is on its way" in ended.reason


def test_a_waiver_of_another_target_neither_lifts_nor_fails() -> None:
    others = (waiver(9, target="raspberrypi4"), waiver(-9, target="raspberrypi4", budget="latency"))
    assert outcome(judged(765_046), waivers=others)["exit_code"] == 1
    assert outcome(judged(), waivers=others)["exit_code"] == 0


def test_a_waiver_of_every_target_lifts() -> None:
    assert outcome(judged(765_046), waivers=(waiver(9, target="*"),))["exit_code"] == 0


def test_a_waiver_that_lifts_nothing_is_told() -> None:
    assert outcome(judged(), waivers=(waiver(9),))["notes"][0].endswith("lifts nothing: remove it")


def test_a_waiver_of_a_check_that_there_is_not_tells_the_nearest() -> None:
    note = outcome(judged(765_046), waivers=(waiver(9, budget="instruction regression"),))["notes"][0]
    assert "no check of this gate has that name; did you mean 'instructions regression'?" in note


def _check(status: str, required: bool = True) -> Check:
    return replace(judged().checks[0], status=status, required=required)


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([], 4),
        ([_check("pass")], 0),
        ([_check("pass"), _check("waived")], 0),
        ([_check("unverified"), _check("pass")], 4),
        ([_check("inconclusive")], 4),
        ([_check("fail"), _check("inconclusive")], 1),
        ([_check("fail", required=False), _check("pass")], 0),
    ],
)
def test_exit_codes_are_the_designs(checks: list[Check], code: int) -> None:
    assert exit_code(checks) == code


def test_absolute_budgets_are_the_results_verdicts() -> None:
    found = absolute(result())
    assert [check.budget for check in found] == [item["budget"] for item in result()["verdicts"]]
    assert {check.baseline for check in found} == {None}


def test_a_build_that_ended_early_fails_as_one_check() -> None:
    error = BuildError("the converter failed")
    found = absolute(result(choice=None, exit_code=ExitCode.BUILD, error=error))
    assert [(check.budget, check.status, check.reason) for check in found] == [
        ("build", "fail", "the converter failed")
    ]
