"""The table of steps: cheap to import, whole, and clear about what does not exist."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edgegen.compress.steps import NOT_BUILT, STEPS, find_step, read_settings
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen.core.records import json_schema


def test_listing_the_steps_imports_nothing_heavy() -> None:
    code = (
        "import sys, edgegen.compress.steps;"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'pandas', 'ai_edge_quantizer', 'litert_torch'};"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", STEPS.values(), ids=lambda step: f"{step.name}-{step.form}")
def test_every_step_leads_somewhere(step) -> None:  # type: ignore[no-untyped-def]
    if step.form == "litert":
        pytest.importorskip("ai_edge_quantizer")
    assert callable(load(step.target, extra=step.extra))
    assert json_schema(step.settings)["type"] == "object"
    assert step.settings() == read_settings(step, {}, "edgegen.toml")


def test_what_does_not_exist_says_why() -> None:
    assert not set(STEPS) & set(NOT_BUILT)
    for name, form in NOT_BUILT:
        with pytest.raises(BuildError) as caught:
            find_step(name, form)
        assert NOT_BUILT[name, form] in caught.value.paragraph()
    with pytest.raises(BuildError, match="for torch"):
        find_step("static-int8", "torch")
    with pytest.raises(UsageError, match="did you mean 'float16'"):
        find_step("flaot16", "onnx")


def test_settings_are_read_strictly() -> None:
    with pytest.raises(UsageError, match="unknown key"):
        read_settings(find_step("pruned", "torch"), {"ratoi": 0.5}, "edgegen.toml")
    with pytest.raises(UsageError, match="at most"):
        read_settings(find_step("pruned", "torch"), {"ratio": 1.5}, "edgegen.toml")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    for module in [name for name in sys.modules if name.startswith("edgegen.compress.quantize.litert_")]:
        monkeypatch.delitem(sys.modules, module)
    step = find_step("static-int8", "litert")
    with pytest.raises(ToolMissingError, match=r"edgegen\[litert\]"):
        load(step.target, extra=step.extra)
