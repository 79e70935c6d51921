"""Cases of the onnx package, drawn by seed: each is built and right, or refused for a rule that has a name."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.cache import Cache
from support.onnx_cases import drawn
from support.onnx_outcomes import RULE, outcome

_CASES, _SEED, _LEAST_BUILT = 60, 0, 45


def test_node_cases_are_built_or_refused(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "cache")
    outcomes = {case.name: outcome(case, "linux-x86_64", tmp_path / case.name, kept) for case in drawn(_CASES, _SEED)}
    assert {name: reason for name, reason in outcomes.items() if reason and not RULE.search(reason)} == {}
    assert sum(not reason for reason in outcomes.values()) >= _LEAST_BUILT
