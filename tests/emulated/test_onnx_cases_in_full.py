"""Every case of the onnx package, here and on an emulated core; prints what became of them (``-s`` shows it).

python -m pytest -m long -s tests/emulated/test_onnx_cases_in_full.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.core.cache import Cache
from edgegen.devices import host
from edgegen.devices.qemu_user import QemuUserDevice
from support.onnx_cases import OnnxCase, light_models, node_cases, simple_cases
from support.onnx_outcomes import RULE, counted, outcome, outcomes_together

pytestmark = pytest.mark.long

_TARGET = "raspberrypi4"
_SHARES = 64  # of the cases, each worked off by one process
_LEAST_RIGHT = 1400
_CONVERTED_OPSET = 17


@contextmanager
def _one_clock() -> Iterator[None]:
    """One process measures where a verdict on latency rests on seven: none is asked for here."""
    kept, host._PROCESSES = host._PROCESSES, 1
    try:
        yield
    finally:
        host._PROCESSES = kept


def _share(number: int, folder: Path) -> dict[str, str]:
    cases = _cases()[number::_SHARES]
    with _one_clock():
        return {case.name: outcome(case, "linux-x86_64", folder / case.name, Cache(folder / "cache")) for case in cases}


def _cases() -> list[OnnxCase]:
    return [*simple_cases(), *node_cases()]


@pytest.fixture(scope="module")
def natively(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Outcome of every case on this machine, by name."""
    folder = tmp_path_factory.mktemp("natively")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        shares = [pool.submit(_share, number, folder / str(number)) for number in range(_SHARES)]
        return {name: reason for share in shares for name, reason in share.result().items()}


@pytest.fixture(scope="module")
def on_the_core(emulated: Callable[..., QemuUserDevice]) -> Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]:
    device = emulated(_TARGET)
    return lambda model, given: device.run(model, "onnxruntime", given)


@pytest.fixture(scope="module")
def with_tools(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    cache = tmp_path_factory.mktemp("emulated-cache")
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    return Cache(cache)


def _say(title: str, outcomes: Mapping[str, str]) -> None:
    print(f"\n{title}: {len(outcomes)} cases")
    for kind, number in sorted(counted(outcomes).items()):
        print(f"| {kind} | {number} |")


def test_every_case_here(natively: Mapping[str, str]) -> None:
    _say("linux-x86_64", natively)
    assert {name: reason for name, reason in natively.items() if reason and not RULE.search(reason)} == {}
    assert sum(not reason for reason in natively.values()) >= _LEAST_RIGHT


def test_every_case_on_an_emulated_core(
    natively: Mapping[str, str], on_the_core: Any, with_tools: Cache, tmp_path: Path
) -> None:
    built = [case for case in _cases() if not natively[case.name]]
    outcomes = outcomes_together(built, _TARGET, tmp_path / "together", with_tools, on_the_core)
    for case in _cases():
        if natively[case.name]:
            outcomes[case.name] = outcome(case, _TARGET, tmp_path / "alone" / case.name, with_tools, on_the_core)
    _say(_TARGET, outcomes)
    assert {name: reason for name, reason in outcomes.items() if reason and not RULE.search(reason)} == {}
    assert sum(not reason for reason in outcomes.values()) >= _LEAST_RIGHT


@pytest.mark.parametrize("path", light_models(), ids=lambda path: path.stem)
def test_light_models_are_refused_for_their_opset_and_built_converted(path: Path, tmp_path: Path) -> None:
    kept = Cache(tmp_path / "cache")
    assert "EG101" in outcome(_light(path.read_bytes()), "linux-x86_64", tmp_path / "old", kept)
    with _one_clock():
        assert outcome(_light(_converted(path)), "linux-x86_64", tmp_path / "new", kept) == ""


@pytest.mark.parametrize("name", ["light_shufflenet", "light_squeezenet"])
def test_converted_light_models_on_an_emulated_core(
    name: str, on_the_core: Any, with_tools: Cache, tmp_path: Path
) -> None:
    (path,) = [path for path in light_models() if path.stem == name]
    assert outcome(_light(_converted(path)), _TARGET, tmp_path / "new", with_tools, on_the_core) == ""


def _converted(path: Path) -> bytes:
    """As the fix of EG101 says, and constants that are no inputs."""
    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    asked = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(asked)
    model.ir_version = 8
    return bytes(onnx.version_converter.convert_version(model, _CONVERTED_OPSET).SerializeToString())


def _light(data: bytes) -> OnnxCase:
    """The model with noise as its input and what onnxruntime gives for it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (value,) = [item for item in session.get_inputs() if item.name.endswith("data_0")]
    given = {value.name: np.random.default_rng(0).standard_normal(value.shape, dtype=np.float32)}
    right = tuple(session.run(None, given))
    return OnnxCase(name="light", model=data, inputs=given, outputs=right, rtol=1e-3, atol=1e-6)
