"""``compare`` names what was made slower, on real counts of an emulated core; and operators' figures are true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgegen.bench.attribution import Attribution, attribute
from edgegen.bench.operators_matched import Operator
from edgegen.bench.sides import Side
from edgegen.core.digests import sha256_file
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import Counted, DeviceSettings
from edgegen.devices.qemu_user import QemuUserDevice, provision, wheels
from support.attributed import chain, left_in_float, name_of_added, quantized, sample, with_slow_node, write

TARGET = "raspberrypi5"
EARLIER = {  # what a runtime is downgraded to
    "version": "1.29.0",
    "sha256": "16925ef8497e2c07e4b5ae15b504079b3ab3f65e22c58efd10dde0f3caea969a",
    "library": "onnxruntime/capi/libonnxruntime.so.1.29.0",
}


@pytest.fixture(scope="module", name="counted")
def _counted(emulated: Callable[..., QemuUserDevice]) -> Callable[[Path], Counted]:
    device = emulated(TARGET)

    def counted(path: Path) -> Counted:
        found = device.measure(path, "onnxruntime", sample(path)).counted
        assert found is not None
        return found

    return counted


def side(path: Path, found: Counted, runtime: str = "1.32.0") -> Side:
    """A build of which nothing is known but its file, its counts and its runtime."""
    operators = [
        Operator(name=item.name, operator=item.operator, instructions=item.instructions)
        for item in found.per_operator or ()
    ]
    return Side(
        source=path.name,
        name="chain",
        version="1",
        target=TARGET,
        candidate="float32@onnx",
        runtime="onnxruntime",
        core="cortex-a76",
        model_sha256=sha256_file(path),
        figures={"instructions": float(found.instructions)},
        operators=operators,
        tools={"onnxruntime": runtime},
    )


def named(found: Attribution) -> tuple[str, str]:
    """Kind and name of the first cause, the name without what the runtime's optimizer adds."""
    first = found.causes[0]
    return first.kind, Operator(name=first.name, operator="", instructions=0).base_name


def is_named(found: Attribution, expected: tuple[str, tuple[str, ...]]) -> bool:
    """Whether the first cause is of that kind and has one of those names."""
    kind, name = named(found)
    return kind == expected[0] and name in expected[1]


def node_added(
    seed: int, folder: Path, counted: Callable[[Path], Counted]
) -> tuple[Attribution, tuple[str, tuple[str, ...]]]:
    nodes = chain(seed)
    slow = with_slow_node(nodes, seed)
    paths = write(nodes, folder / "old.onnx", seed=seed), write(slow, folder / "new.onnx", seed=seed)
    old, new = (side(path, counted(path)) for path in paths)
    return attribute(old, new, "instructions"), ("operator", (name_of_added(slow),))


def layer_in_float(
    seed: int, folder: Path, counted: Callable[[Path], Counted]
) -> tuple[Attribution, tuple[str, tuple[str, ...]]]:
    nodes = chain(seed)
    left = left_in_float(nodes, seed)
    source = write(nodes, folder / "float.onnx", seed=seed)
    paths = quantized(source, folder / "old.onnx"), quantized(source, folder / "new.onnx", in_float=left)
    old, new = (side(path, counted(path)) for path in paths)
    return attribute(old, new, "instructions"), ("operator", tuple(left))


@pytest.fixture(scope="session", name="earlier")
def _earlier(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Counted]:
    """The same core with an earlier runtime."""
    with pytest.MonkeyPatch.context() as patch:
        known = dict(wheels.read_wheels())
        known["onnxruntime"] = replace(known["onnxruntime"], **EARLIER)
        patch.setattr(wheels, "read_wheels", lambda: known)
        cache = tmp_path_factory.mktemp("earlier")
        settings = DeviceSettings(cache=cache, offline=False, progress=Silent())
        provision(load_target(TARGET), cache)
        device = QemuUserDevice(load_target(TARGET), settings)
        device.identity()

    def counted(path: Path) -> Counted:
        found = device.measure(path, "onnxruntime", sample(path)).counted
        assert found is not None
        return found

    return counted


@pytest.mark.parametrize("make", [node_added, layer_in_float])
def test_compare_names_the_slow_operator_first(
    counted: Callable[[Path], Counted],
    tmp_path: Path,
    make: Callable[..., tuple[Attribution, tuple[str, tuple[str, ...]]]],
) -> None:
    found, expected = make(1, tmp_path, counted)
    assert is_named(found, expected)
    assert found.unexplained == 0
    # What the runtime does outside the operators, and what the others moved by, are causes by themselves, and small.
    rest = sum(abs(cause.moved or 0) for cause in found.causes if cause.kind in ("runtime", "operators"))
    assert rest < max(0.01 * found.old, 0.2 * abs(found.moved))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_compare_names_an_injected_cause_first_in_20_of_20(
    seed: int, counted: Callable[[Path], Counted], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if seed % 3 == 2:
        path = write(chain(seed), tmp_path / "model.onnx", seed=seed)
        before = request.getfixturevalue("earlier")(path)
        found = attribute(side(path, counted(path)), side(path, before, EARLIER["version"]), "instructions")
        expected = ("tool", ("onnxruntime",))
    else:
        found, expected = (node_added, layer_in_float)[seed % 3](seed, tmp_path, counted)
    print(seed, expected, named(found), f"{found.moved / found.old:+.1%}", f"unexplained {found.unexplained:+.0f}")
    assert is_named(found, expected)


def risen(seed: int, folder: Path, counted: Callable[[Path], Counted]) -> SimpleNamespace:
    """What duplicating one seeded operator of a chain does to the total, and to the figures of that operator."""
    nodes = chain(seed)
    whole = counted(write(nodes, folder / "whole.onnx", seed=seed))
    assert whole.per_operator is not None
    heavy = [item for item in whole.per_operator if item.instructions > 0.01 * whole.instructions]
    chosen = heavy[int(np.random.default_rng(seed).integers(len(heavy)))]
    base = Operator(name=chosen.name, operator="", instructions=0).base_name
    place = int(base.rsplit("_", 1)[1])
    once = counted(write(nodes, folder / "once.onnx", seed=seed, twin=place, idle=True))
    assert once.per_operator is not None
    before = next(item.instructions for item in once.per_operator if item.name == chosen.name)
    twice = counted(write(nodes, folder / "twice.onnx", seed=seed, twin=place))
    assert twice.per_operator is not None
    own = sum(
        item.instructions for item in twice.per_operator if f"{base}_again" in item.name or item.name == chosen.name
    )
    return SimpleNamespace(
        name=base,
        total=twice.instructions - once.instructions,
        operator=own - before,
        share=chosen.instructions / whole.instructions,
    )


def test_an_operator_that_is_there_twice_costs_twice(counted: Callable[[Path], Counted], tmp_path: Path) -> None:
    found = risen(3, tmp_path, counted)
    assert found.operator == pytest.approx(found.total, rel=0.1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_operators_figures_rise_with_the_total(seed: int, counted: Callable[[Path], Counted], tmp_path: Path) -> None:
    found = risen(seed, tmp_path, counted)
    print(seed, found)
    assert found.operator == pytest.approx(found.total, rel=0.1)
