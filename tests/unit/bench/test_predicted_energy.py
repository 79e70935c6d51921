"""Energy: measured by a meter, else predicted with its band, and never the one for the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from example_build import PROFILE, budgets, candidate, cost, document

from edgegen.bench.choose import choose
from edgegen.bench.judge import judge
from edgegen.bench.predict import predict
from edgegen.bench.read_result import check_result
from edgegen.bench.report import render_report
from edgegen.bench.result import result_schema
from edgegen.bench.summary import summary_markdown
from edgegen.bench.view import energy_rows, verdict_rows
from edgegen.bench.wording import energy_check, joule_band, joules
from edgegen.core.errors import TargetError, UsageError
from edgegen.core.results import EnergyPrediction, MeasuredLatency, Prediction
from edgegen.core.share import share_dir
from edgegen.core.targets import CostModel, EnergyModel, TargetProfile, load_target

WATTS = EnergyModel(origin="a meter in the supply of a board of the test's own", low_watts=2.0, high_watts=5.0)
METERED = replace(PROFILE, energy_model=WATTS)
FITTED = "23 readings of a board"
PUBLISHED = (  # facts of the shipped model: microjoules and milliseconds of MLPerf Tiny's closed results
    *((5496, 165.7), (1431, 43.4), (3030, 89.4), (160, 4.79)),
    *((29207, 704), (7374, 182), (24313, 601), (416, 10.1)),
    *((20236, 390), (5230, 99.8), (15531, 301), (443, 8.6)),
    *((21342, 389), (7951, 144), (17132, 337), (634, 11.7)),
)


def clock(joules_found: float | None, *, interval: tuple[float, float] | None = None, drift: tuple[str, ...] = ()):
    return MeasuredLatency(
        p50_ms=4.0,
        p90_ms=4.1,
        p99_ms=4.2,
        runs=7,
        device="kitchen",
        joules=joules_found,
        joules_interval=interval,
        board={"drift": drift},
    )


def prediction(low: float, middle: float, high: float, origin: str = FITTED) -> Prediction:
    energy = EnergyPrediction(joules=middle, low_j=low, high_j=high, model="m", origin="o")
    return Prediction(latency_ms=10, low_ms=5, high_ms=20, model="m", origin=origin, energy=energy)


def of_energy(table: dict, **changes):
    (verdict,) = judge(budgets({"energy": table}), candidate(**changes), METERED)
    return verdict


def told(**changes):
    """The document of a build whose only candidate is predicted, and measured too where ``changes`` say so."""
    table = {"energy": {"max_joules": 1.0, "kind": "predicted", "required": False}}
    made = candidate(predicted=predict(cost(2_410_000), METERED), **changes)
    return document(choice=choose([made], budgets(table), METERED))


def test_predicted_energy_is_the_latencys_band_by_the_band_of_watts():
    found = predict(cost(1_800_000), METERED)
    assert found is not None
    assert found.energy is not None
    assert found.energy.low_j == pytest.approx(found.low_ms / 1000 * 2.0)
    assert found.energy.high_j == pytest.approx(found.high_ms / 1000 * 5.0)
    assert found.energy.joules == pytest.approx(found.latency_ms / 1000 * 3.5)
    assert found.energy.origin == WATTS.origin
    assert replace(found, energy=None) == predict(cost(1_800_000), PROFILE)


def test_no_energy_is_predicted_where_no_latency_is():
    assert predict(cost(1000), replace(METERED, cost_model=None)) is None
    assert predict(None, METERED) is None
    without = predict(cost(1000), PROFILE)
    assert without is not None
    assert without.energy is None


def test_instructions_that_nobody_told_apart_have_one_price():
    model = CostModel(
        origin=FITTED,
        frequency_hz=120e6,
        low_ratio=0.9,
        high_ratio=1.2,
        cycles={"instruction": 1.5},
        basis="total",
    )
    board = replace(load_target("nucleo-l4r5zi"), cost_model=model)
    counted = replace(cost(1_200_000), by_class={})
    found = predict(counted, board)
    assert found is not None
    assert found.energy is not None
    assert found.latency_ms == pytest.approx(1000 * 1.5 * 1_200_000 / 120e6)
    assert found.energy.low_j == pytest.approx(0.9 * 0.015 * 0.033)
    assert predict(None, board) is None


def test_the_shipped_watts_are_the_band_of_the_published_figures():
    board = load_target("nucleo-l4r5zi")
    watts = [microjoules / milliseconds / 1000 for microjoules, milliseconds in PUBLISHED]
    assert board.energy_model is not None
    assert board.energy_model.low_watts == pytest.approx(min(watts), rel=2e-3)
    assert board.energy_model.high_watts == pytest.approx(max(watts), rel=2e-3)
    assert predict(replace(cost(1_200_000), by_class={}), board) is None  # no run on the board gave a cost model


@pytest.mark.parametrize(
    ("budget", "changes", "status"),
    [
        ({"max_joules": 0.3}, {"measured": clock(0.25)}, "pass"),
        ({"max_joules": 0.2}, {"measured": clock(0.25)}, "fail"),
        ({"max_joules": 0.3}, {"measured": clock(0.25, interval=(0.2, 0.3))}, "pass"),
        ({"max_joules": 0.26}, {"measured": clock(0.25, interval=(0.2, 0.3))}, "inconclusive"),
        ({"max_joules": 0.24}, {"measured": clock(0.25, interval=(0.2, 0.3))}, "inconclusive"),
        ({"max_joules": 0.19}, {"measured": clock(0.25, interval=(0.2, 0.3))}, "fail"),
        ({"max_joules": 9}, {"measured": clock(0.25, drift=("it was throttled",))}, "inconclusive"),
        ({"max_joules": 9}, {"measured": clock(None)}, "unverified"),
        ({"max_joules": 9}, {"predicted": prediction(0.1, 0.2, 0.3)}, "unverified"),
        ({"max_joules": 9, "kind": "predicted"}, {"measured": clock(0.25), "predicted": None}, "unverified"),
        ({"max_joules": 0.25, "kind": "predicted"}, {"predicted": prediction(0.26, 0.4, 0.6)}, "fail"),
        ({"max_joules": 0.25, "kind": "predicted"}, {"predicted": prediction(0.26, 1, 2, "uncalibrated")}, "fail"),
        (
            {"max_joules": 9, "kind": "predicted"},
            {"predicted": prediction(0.1, 0.2, 0.3, "uncalibrated")},
            "unverified",
        ),
        ({"max_joules": 0.3, "kind": "predicted"}, {"predicted": prediction(0.1, 0.2, 0.3)}, "pass"),
        ({"max_joules": 0.29, "kind": "predicted"}, {"predicted": prediction(0.1, 0.2, 0.3)}, "inconclusive"),
    ],
)
def test_energy_is_judged_by_the_kind_that_the_budget_accepts(budget, changes, status):
    verdict = of_energy(budget, **changes)
    assert verdict.status == status
    assert verdict.kind == budget.get("kind", "measured")
    assert verdict.unit == "J"
    assert bool(verdict.reason) == (status != "pass" and (verdict.kind, status) != ("measured", "fail"))


def test_a_budget_says_why_no_energy_was_predicted():
    without = of_energy({"max_joules": 1, "kind": "predicted"}, predicted=predict(cost(9), PROFILE))
    assert "the profile has no energy model" in without.reason
    assert "no latency was predicted" in of_energy({"max_joules": 1, "kind": "predicted"}, predicted=None).reason


def test_a_predicted_energy_alone_is_labelled_with_its_band_and_origin():
    made = told()
    jsonschema.validate(made, result_schema())
    (row,) = energy_rows(made)
    found = made["candidates"][0]["predicted"]["energy"]
    assert (row["kind"], row["value"]) == ("predicted", joule_band(found["low_j"], found["high_j"]))
    assert "never measured" in row["detail"]
    assert "milliseconds never fitted to a device" in row["detail"]
    assert row["detail"].endswith(f"watts from {WATTS.origin}")
    (judged,) = verdict_rows(made)
    assert (judged["budget"], judged["kind"], judged["value"]) == ("energy", "predicted", row["value"])
    assert row["value"] in render_report(made)
    assert f"| predicted | {row['value']} |" in summary_markdown(made)
    (said,) = [item for item in made["not_measured"] if item.startswith("energy")]
    assert said.startswith("energy: not measured, no device with a power meter was given; its predicted figures")


@pytest.mark.parametrize(("measured_j", "word"), [(0.01, "inside"), (1e-6, "below"), (1.0, "above")])
def test_a_measured_energy_comes_first_and_the_predicted_one_is_a_check_of_it(measured_j, word):
    made = told(measured=clock(measured_j, interval=(measured_j * 0.9, measured_j * 1.1)))
    measured, predicted = energy_rows(made)
    assert (measured["kind"], measured["value"]) == ("measured", joules(measured_j))
    assert f"the measured energy is {word} its band" in predicted["detail"]
    assert not [item for item in made["not_measured"] if item.startswith("energy")]
    head = render_report(made).partition("</header>")[0]
    assert joules(measured_j) in head


def test_a_document_without_energy_has_no_word_of_it():
    made = document()
    assert energy_rows(made) == []
    assert [item for item in made["not_measured"] if "energy" in item] == [
        "energy: not measured, no device with a power meter was given"
    ]


def test_a_result_of_before_there_was_energy_is_still_read():
    made = document()
    for item in made["candidates"]:
        if item["predicted"]:
            del item["predicted"]["energy"]
    check_result(made, "result.json")
    assert energy_rows(made) == []
    assert len(verdict_rows(made)) == len(made["verdicts"])


@pytest.mark.parametrize(
    ("value", "text"), [(2.4, "2.4 J"), (0.00241, "2.41 mJ"), (1.5e-5, "15 µJ"), (2e-8, "20 nJ"), (0.0, "0 nJ")]
)
def test_joules_are_told_in_the_unit_that_fits(value, text):
    assert joules(value) == text


def test_a_band_of_joules_has_one_unit_and_two_digits():
    assert joule_band(0.000123, 0.00345) == "0.12 to 3.4 mJ"
    assert energy_check(1.0, 1.0, 2.0) == "the measured energy is inside its band"


def profile_with(folder: Path, table: str) -> TargetProfile:
    text = (share_dir("targets") / "null" / "target.toml").read_text().replace('name = "null"', 'name = "mine"')
    place = folder / "targets" / "mine"
    place.mkdir(parents=True)
    (place / "target.toml").write_text(f"{text}\n[energy_model]\n{table}\n")
    return load_target("mine", folder)


def test_watts_change_no_reading_and_so_no_digest(tmp_path):
    mine = profile_with(tmp_path, 'origin = "my meter"\nlow_watts = 1\nhigh_watts = 2.5')
    assert mine.energy_model == EnergyModel(origin="my meter", low_watts=1, high_watts=2.5)
    assert mine.digest == replace(mine, energy_model=None).digest


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("low_watts = 1\nhigh_watts = 2", "origin"),
        ('origin = " "\nlow_watts = 1\nhigh_watts = 2', "what its watts were taken from"),
        ('origin = "m"\nlow_watts = 2\nhigh_watts = 1', "no band"),
        ('origin = "m"\nlow_watts = 1\nhigh_watts = inf', "watts"),
        ('origin = "m"\nlow_watts = nan\nhigh_watts = 1', "watts"),
        ('origin = "m"\nlow_watts = 0\nhigh_watts = 1', "low_watts"),
        ('origin = "a\\nb"\nlow_watts = 1\nhigh_watts = 1', "text of the target profile"),
    ],
)
def test_watts_that_are_no_band_or_nobodys_are_refused(tmp_path, table, said):
    with pytest.raises((TargetError, UsageError)) as caught:
        profile_with(tmp_path, table)
    assert said in caught.value.paragraph()
