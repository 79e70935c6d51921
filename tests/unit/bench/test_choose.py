from dataclasses import replace

import pytest
from example_build import PROFILE, budgets, candidate, candidates, choice
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.bench.choose import choose, outcome, with_second_file
from edgegen.core.errors import ExitCode
from edgegen.core.results import MeasuredLatency

FLOAT = candidate("float32@onnx", size=912_000, instructions=4_410_000, psnr=(150.0, 150.0))


def pick(*made, table=None):
    return choose(made, budgets(table), PROFILE)


def named(chosen, name):
    return next(item for item in chosen.candidates if item.name == name)


def test_the_cheapest_that_keeps_every_required_budget_ships():
    made = choice()
    assert made.chosen is not None
    assert made.chosen.name == "distilled+static-int8@litert"
    assert made.chosen.status == "chosen"
    assert made.closest is None
    assert [item.status for item in made.candidates].count("chosen") == 1
    assert [item.name for item in made.candidates] == [item.name for item in candidates()]


def test_every_other_candidate_has_a_sentence():
    made = choice()
    assert all(item.why_rejected for item in made.candidates if item.status != "chosen")
    assert named(made, "pruned+static-int8@onnx").why_rejected == "psnr_db worst5 20.8 dB < 25 dB"
    assert named(made, "dynamic-int8@onnx").why_rejected == "instructions 3,910,000 > 3,000,000"
    assert "12.1 % more instructions" in named(made, "distilled+static-int8@onnx").why_rejected
    assert named(made, "pruned@litert").status == "not built"


def test_a_compressed_candidate_that_costs_more_than_its_float_raises_an_alarm():
    made = choice()
    (alarm,) = named(made, "weight-int8@onnx").alarms
    assert "1.19 times" in alarm
    assert "cortex-a72" in alarm
    assert not named(made, "static-int8@onnx").alarms
    again = choose(made.candidates, budgets(), PROFILE)
    assert named(again, "weight-int8@onnx").alarms == (alarm,)


def test_an_alarmed_candidate_ships_only_when_no_other_keeps_the_budgets():
    table = {"size": {"max_bytes": 400_000}}
    dear = candidate("weight-int8@onnx", size=100_000, instructions=5_000_000)
    sound = candidate("static-int8@litert", size=300_000, instructions=9_000_000)
    assert pick(FLOAT, dear, sound, table=table).chosen.name == "static-int8@litert"
    assert pick(FLOAT, dear, table=table).chosen.name == "weight-int8@onnx"


def test_the_median_decides_when_nothing_was_counted_and_then_the_size():
    def clocked(name, p50, size):
        clock = MeasuredLatency(p50_ms=p50, p90_ms=p50, p99_ms=p50, runs=9, device="host")
        return candidate(name, instructions=None, measured=clock, size=size)

    slow, fast = clocked("static-int8@onnx", 2.0, 10), clocked("float16@onnx", 1.0, 20)
    assert pick(slow, fast, table={"size": {"max_bytes": 99}}).chosen.name == "float16@onnx"
    small, large = (candidate(name, instructions=None, size=size) for name, size in (("a@onnx", 5), ("b@onnx", 9)))
    assert pick(large, small, table={}).chosen.name == "a@onnx"


DEAR = candidate("dear@onnx", instructions=9_000_000)
LESS_DEAR = candidate("less-dear@onnx", instructions=3_100_000)
TWO_FAIL = candidate("two@onnx", instructions=3_100_000, psnr=(1, 1))
UNMEASURED = candidate("unmeasured@onnx", instructions=None, status="unmeasured")
UNCOUNTED = candidate("uncounted@onnx", instructions=None)
NOT_BUILT = candidate("not-built@onnx", status="not built")


@pytest.mark.parametrize(
    ("made", "table", "closest", "code"),
    [
        ([TWO_FAIL, DEAR], None, DEAR, ExitCode.BUDGET_FAILED),  # fewer failed budgets
        ([DEAR, LESS_DEAR], None, LESS_DEAR, ExitCode.BUDGET_FAILED),  # then the smaller overshoot
        ([DEAR, UNMEASURED], None, DEAR, ExitCode.BUDGET_FAILED),  # one that ran before one that did not
        ([UNMEASURED], None, UNMEASURED, ExitCode.NOT_JUDGED),
        ([UNMEASURED], {}, UNMEASURED, ExitCode.NOT_JUDGED),
        ([UNCOUNTED], None, UNCOUNTED, ExitCode.NOT_JUDGED),
        ([NOT_BUILT], None, None, ExitCode.BUILD),
        ([], None, None, ExitCode.BUILD),
    ],
)
def test_the_closest_is_named_when_none_keeps_the_budgets(made, table, closest, code):
    chosen = pick(*made, table=table)
    assert chosen.chosen is None
    assert (chosen.closest and chosen.closest.name) == (closest and closest.name)
    assert outcome(chosen) == code


def test_a_choice_is_a_success():
    assert outcome(choice()) is ExitCode.OK


def test_a_candidate_that_cannot_be_judged_is_unmeasured_and_never_ships():
    made = pick(candidate(), table={"latency": {"max_ms": 1000}})
    assert made.chosen is None
    assert made.candidates[0].status == "unmeasured"
    assert "unverified" in made.candidates[0].why_rejected


def test_a_budget_that_is_not_required_rejects_nobody():
    made = pick(candidate(), table={"size": {"max_bytes": 1, "required": False}})
    assert made.chosen is not None
    assert made.verdicts[0].status == "fail"


FIGURES = st.tuples(st.integers(1, 6_000_000), st.integers(1, 800_000), st.floats(0, 60))


def several(figures):
    return [
        candidate(f"step{number}@onnx", instructions=instructions, size=size, psnr=(psnr, psnr))
        for number, (instructions, size, psnr) in enumerate(figures)
    ]


@settings(max_examples=60, deadline=None)
@given(figures=st.lists(FIGURES, min_size=1, max_size=6), extra=FIGURES, index=st.integers(0, 6))
def test_adding_a_worse_candidate_never_changes_the_choice(figures, extra, index):
    made = several(figures)
    before = pick(*made)
    if before.chosen is None:
        return
    assert before.chosen.counted is not None
    worse = candidate(
        "worse@onnx",
        instructions=before.chosen.counted.instructions + extra[0],
        size=extra[1],
        psnr=(extra[2], extra[2]),
    )
    after = pick(*made[:index], worse, *made[index:])
    assert after.chosen == before.chosen


@settings(max_examples=60, deadline=None)
@given(figures=st.lists(FIGURES, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(figures, order):
    made = several(figures)
    shuffled = list(made)
    order.shuffle(shuffled)
    first, second = pick(*made), pick(*shuffled)
    assert (first.chosen, first.closest) == (second.chosen, second.closest)


@settings(max_examples=60, deadline=None)
@given(figures=st.lists(FIGURES, min_size=1, max_size=6))
def test_what_ships_keeps_every_required_budget_and_no_cheaper_one_does(figures):
    made = pick(*several(figures))
    if made.chosen is None:
        assert all(item.status != "eligible" for item in made.candidates)
        return
    assert all(item.status == "pass" for item in made.verdicts if item.required)
    rivals = [item for item in made.candidates if item.status == "eligible"]
    assert all(item.counted.instructions >= made.chosen.counted.instructions for item in rivals)


def test_choosing_changes_nothing_but_status_alarm_and_sentence():
    for before, after in zip(candidates(), choice().candidates, strict=True):
        assert replace(after, status="eligible", why_rejected="", alarms=()) == replace(
            before, status="eligible", why_rejected="", alarms=()
        )


@pytest.mark.parametrize(("limit", "status"), [(300_000, "pass"), (299_999, "fail")])
def test_the_size_counts_a_second_file_that_ships(limit, status):
    table = {"size": {"max_bytes": limit, "required": False}, "instructions": {"max": 3_000_000}}
    made = pick(candidate("static-int8@onnx", size=200_000, instructions=2_000_000), table=table)
    whole = with_second_file(made, budgets(table), PROFILE, "prefill.onnx", 100_000)
    size, instructions = whole.verdicts
    assert (size.status, size.value) == (status, 300_000)
    assert size.reason == "200,000 bytes of the model and 100,000 of prefill.onnx"
    assert instructions == made.verdicts[1]
    assert outcome(whole) is ExitCode.OK
    assert whole.chosen == made.chosen  # a candidate's size stays that of its own file: others ship none
