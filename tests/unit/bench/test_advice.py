"""Advice from probes: cost and quality come in as protocols; what is compared is what can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgegen.bench.advice import DECIDING, Offered, Probe, deciding_figure, ranked, reasons, told_by_probes, weigh
from edgegen.core.budgets import BytesBudget, CountBudget, LatencyBudget, QualityBudget
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.targets import INSTRUCTION_CLASSES, load_target

PROFILE = load_target("null")
BUDGETS = {"size": BytesBudget(max_bytes=50), "instructions": CountBudget(max=1000), "psnr_db": QualityBudget(min=20.0)}


def counts(instructions: int) -> dict[str, int]:
    shares = dict.fromkeys(INSTRUCTION_CLASSES, 0) | {"fma": instructions}
    rest = {"instructions_median": instructions, "bytes_loaded": 1, "bytes_stored": 1, "peak_ram_bytes": 7}
    return {"instructions": instructions, **rest, **shares}


def offered(folder: Path, name: str, size: int) -> Offered:
    path = folder / f"{name}-{size}"
    path.write_bytes(b"\0" * size)
    return Offered(name=f"{name}@onnx", recipe=name, format="onnx", runtime="onnxruntime", path=path)


def good(model: Path, runtime: str) -> Mapping[str, float]:
    return {"psnr_db_mean": 30.0}


def test_the_cheapest_file_that_keeps_the_budgets_is_shown(tmp_path: Path) -> None:
    files = [
        offered(tmp_path, "float32", 90),
        offered(tmp_path, "weight-int8", 40),
        offered(tmp_path, "static-int8", 30),
    ]
    cost = {"float32": 500, "weight-int8": 500, "static-int8": 300}
    found = weigh(
        files,
        lambda model, runtime: counts(cost[model.name.rpartition("-")[0]]),
        lambda model, runtime: {"psnr_db_mean": 10.0 if "static" in model.name else 30.0},
        BUDGETS,
        PROFILE,
    )
    assert found.keeps == "yes"
    assert found.shown is not None
    assert found.shown.name == "weight-int8@onnx"  # static-int8 is cheaper, and too far from the float model
    assert found.shown.counted is not None
    assert found.shown.counted.instructions == 500
    assert {verdict.budget for verdict in found.verdicts} == set(BUDGETS)


def test_no_file_within_the_budgets_is_no(tmp_path: Path) -> None:
    found = weigh([offered(tmp_path, "float32", 90)], lambda model, runtime: counts(5), good, BUDGETS, PROFILE)
    assert found.keeps == "no"
    assert found.shown is not None


def test_without_a_device_a_size_is_known_and_the_rest_unverified(tmp_path: Path) -> None:
    small = weigh([offered(tmp_path, "float32", 40)], None, None, BUDGETS, PROFILE, "no emulator")
    assert small.keeps == "unverified"
    large = weigh([offered(tmp_path, "float32", 90)], None, None, BUDGETS, PROFILE, "no emulator")
    assert large.keeps == "no"


def test_a_device_that_goes_and_a_file_that_does_not_run_are_told_apart(tmp_path: Path) -> None:
    def gone(model: Path, runtime: str) -> Mapping[str, int]:
        raise ToolMissingError("the emulator is gone")

    def broken(model: Path, runtime: str) -> Mapping[str, int]:
        raise BuildError("an operator is unknown")

    lost = weigh([offered(tmp_path, "float32", 40)], gone, good, BUDGETS, PROFILE)
    assert (lost.keeps, lost.candidates[0].status) == ("unverified", "unmeasured")
    failed = weigh([offered(tmp_path, "float32", 40)], broken, good, BUDGETS, PROFILE)
    assert (failed.keeps, failed.candidates[0].status) == ("no", "failed")
    assert failed.shown is None
    assert "an operator is unknown" in reasons(probe("x", weighed=failed), probe("x", weighed=failed), 1)[0]


def test_a_clock_is_taken_for_what_it_is(tmp_path: Path) -> None:
    clock = {"p50_ns": 1_000_000, "p90_ns": 3_000_000, "p99_ns": 4_000_000, "runs": 7}
    for limit, keeps in ((5.0, "yes"), (2.0, "no")):
        budgets = {"latency": LatencyBudget(max_ms=limit)}
        found = weigh([offered(tmp_path, "float32", 40)], lambda model, runtime: clock, None, budgets, PROFILE)
        assert found.keeps == keeps
        assert found.shown is not None
        assert found.shown.measured is not None
        assert found.shown.counted is None


def test_budgets_that_training_decides_are_not_judged_by_a_probe() -> None:
    budgets = {**BUDGETS, "accuracy_ratio": QualityBudget(min=0.9), "top1_agreement_ratio": QualityBudget(min=0.9)}
    assert set(told_by_probes(budgets, "image")) == set(BUDGETS)
    assert set(told_by_probes(budgets, "logits")) == {*BUDGETS, "top1_agreement_ratio"}


def figure(name: str, value: float, better: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("low", "high", "real", "draws", "seeds", "baseline"))
    return {"name": name, "value": value, "unit": "", "better": better, "doc": "", "group": "", **empty, **more}


def probe(name: str, deciding: dict[str, Any] | None = None, weighed: Any = None, instructions: int = 100) -> Probe:
    if weighed is None:
        path = Path(__file__)
        file = Offered(name="float32@onnx", recipe="float32", format="onnx", runtime="r", path=path)
        budgets = {"instructions": CountBudget(max=1000)}
        weighed = weigh([file], lambda model, runtime: counts(instructions), None, budgets, PROFILE)
    return Probe(name=name, family="f", settings={}, why="good", parameters=3, deciding=deciding, weighed=weighed)


def test_what_keeps_the_budgets_comes_before_what_is_better() -> None:
    first = probe("fits", figure("fid", 9.0, "lower"))
    second = probe("fits, worse", figure("fid", 12.0, "lower"))
    third = probe("too dear", figure("fid", 1.0, "lower"), instructions=5000)
    assert ranked([third, second, first]) == [("fid", [first, second, third])]


def test_figures_of_different_meaning_are_never_compared() -> None:
    drawn, named = probe("a", figure("fid", 9.0, "lower")), probe("b", figure("accuracy_ratio", 0.9, "higher"))
    without = probe("c")
    assert ranked([without, drawn, named]) == [("fid", [drawn]), ("accuracy_ratio", [named]), ("", [without])]
    assert "is not ranked" in reasons(without, without, 3)[-1]


@pytest.mark.parametrize("output", DECIDING)
def test_the_first_known_figure_decides(output: str) -> None:
    names = DECIDING[output]
    found = {"figures": [figure("other", 1.0, "")] + [figure(name, 2.0, "lower") for name in reversed(names)]}
    chosen = deciding_figure(found, output)
    assert chosen is not None
    assert chosen["name"] == names[0]
    assert deciding_figure({"figures": [figure("other", 1.0, "")]}, output) is None


def test_reasons_say_level_where_the_noise_is_larger_than_the_lead() -> None:
    best = probe("best", figure("accuracy_ratio", 0.90, "higher", low=0.88, high=0.92), instructions=400)
    near = probe("near", figure("accuracy_ratio", 0.89, "higher", low=0.87, high=0.91))
    far = probe("far", figure("accuracy_ratio", 0.50, "higher", low=0.48, high=0.52))
    dear = probe("dear", figure("accuracy_ratio", 0.99, "higher", low=0.98, high=1.0), instructions=5000)
    assert reasons(near, best, 3)[-1] == "level with best, at 0.25 times its instructions"
    assert reasons(far, best, 3)[-1] == "worse than best, at 0.25 times its instructions"
    assert reasons(dear, best, 3)[-1] == "better than best, at 12.5 times its instructions"
    assert "breaks the budgets" in reasons(dear, best, 3)[0]
    assert "after 3 epochs" in reasons(best, best, 3)[-1]
