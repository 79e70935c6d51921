"""What an operator is said to cost is what it costs: a second one raises the total by its figure.

A second operator also moves where the memory of all others lies, and in a graph of a hundred small ones the walks of
malloc through its lists move the total by more than a small operator costs. They are no operator's; so that they do not
hide what is looked for, the guest's malloc is told to keep all that it gets back at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from emulated_presence import library

from edgegen.devices.device import Counted, OperatorCost
from edgegen.devices.qemu_user import QemuUserDevice, guest
from support.template_graphs import FORMS, sample_of, template_graph, with_twin

TARGET = "raspberrypi5"
LEAST_SHARE = 0.01
AT_HAND = ("-E", "GLIBC_TUNABLES=glibc.malloc.tcache_count=60000")
Measure = Callable[[Path], Counted]


@dataclass(frozen=True, kw_only=True)
class Rise:
    """What a second operator did."""

    template: str
    operator: OperatorCost
    share: float
    total: int
    own: int

    def __str__(self) -> str:
        said = f"{self.template} {self.operator.operator} {self.share:.1%}"
        return f"{said}: total {self.total:+,}, its figures {self.own:+,} ({self.own / self.total - 1:+.1%})"


@pytest.fixture(scope="module", autouse=True)
def _malloc_that_keeps_all() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "_GUEST_OPTIONS", (*guest._GUEST_OPTIONS, *AT_HAND))
        yield


@pytest.fixture(scope="module", name="measure")
def _measure(emulated: Callable[..., QemuUserDevice]) -> Measure:
    device, known = emulated(TARGET), dict[Path, Counted]()

    def measure(path: Path) -> Counted:
        if path not in known:
            found = device.measure(path, "onnxruntime", sample_of(path)).counted
            assert found is not None
            known[path] = found
        return known[path]

    return measure


@pytest.fixture(scope="module", name="graph")
def _graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("templates")

    def graph(name: str) -> Path:
        path = folder / f"{name}.onnx"
        return path if path.exists() else template_graph(name, folder)

    return graph


def operators(found: Counted) -> tuple[OperatorCost, ...]:
    assert found.per_operator is not None
    assert found.unexplained_ratio is not None
    total = sum(item.instructions for item in found.per_operator)
    assert total == pytest.approx((1 - found.unexplained_ratio) * found.instructions, abs=1)
    return found.per_operator


def rise(seed: int, graph: Callable[[str], Path], measure: Measure, folder: Path) -> Rise:
    """A seeded operator of a seeded template, twice.

    Of those that take 1 % or more, or where none does the twenty dearest; of those, one whose twin leaves the rest of
    the graph to the optimizer as it was.
    """
    import onnx

    template = list(FORMS)[seed % len(FORMS)]
    path = graph(template)
    once = measure(path)
    named = {node.name for node in onnx.load(path).graph.node}
    ordered = sorted(operators(once), key=lambda item: -item.instructions)
    ordered = [item for item in ordered if item.name.removeprefix("fused ") in named]
    dear = [item for item in ordered if item.instructions >= LEAST_SHARE * once.instructions] or ordered[:20]
    before = Counter(item.operator for item in operators(once))
    for place in np.random.default_rng(seed).permutation(len(dear)):
        chosen = dear[int(place)]
        twin = with_twin(path, chosen.name.removeprefix("fused "), folder / f"twin-{place}.onnx")
        if twin is None:
            continue
        twice = measure(twin)
        came = [item for item in operators(twice) if "_again" in item.name]
        if len(came) == 1 and Counter(item.operator for item in operators(twice) if item not in came) == before:
            stayed = next(item for item in operators(twice) if item.name == chosen.name)
            return Rise(
                template=template,
                operator=chosen,
                share=chosen.instructions / once.instructions,
                total=twice.instructions - once.instructions,
                own=came[0].instructions + stayed.instructions - chosen.instructions,
            )
    pytest.fail(f"no operator of {template} can be there twice without another change of the graph")


def check(found: Rise) -> None:
    print(found)
    assert found.own == pytest.approx(found.total, rel=0.1)


def test_an_operator_of_a_template_that_is_there_twice_costs_twice(
    graph: Callable[[str], Path], measure: Measure, tmp_path: Path
) -> None:
    check(rise(6, graph, measure, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_figures_of_templates_operators_rise_with_the_total(
    seed: int, graph: Callable[[str], Path], measure: Measure, tmp_path: Path
) -> None:
    check(rise(seed, graph, measure, tmp_path))


def test_counting_operators_adds_nothing_to_an_empty_graph(
    emulated: Callable[..., QemuUserDevice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"], name="nothing")
    made = helper.make_graph([node], "empty", ends[:1], ends[1:])
    path = tmp_path / "empty.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    device = emulated(TARGET)
    watched = device.measure(path, "onnxruntime", sample_of(path)).counted
    monkeypatch.setattr(device, "_plan", lambda *_: None)
    plain = device.measure(path, "onnxruntime", sample_of(path)).counted
    assert watched is not None
    assert plain is not None
    print(f"an empty graph: {plain.instructions}, with its operators watched {watched.instructions}")
    assert watched.instructions == plain.instructions
    assert [item.name for item in operators(watched)] == ["nothing"]
    assert plain.per_operator is None


@pytest.mark.long
@pytest.mark.parametrize("kind", ["convolution", "transposed", "dense"])
def test_figures_of_litert_operators_rise_with_the_total(
    kind: str, emulated: Callable[..., QemuUserDevice], tmp_path: Path
) -> None:
    """A network of three equal layers, and of four: XNNPACK's operators, and LiteRT's own."""
    library("litert_torch")
    import litert_torch
    import torch
    from torch import nn

    layers: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "convolution": (lambda: nn.Conv2d(8, 8, 3, padding=1), (1, 8, 12, 12)),
        "transposed": (lambda: nn.ConvTranspose2d(8, 8, 3, padding=1), (1, 8, 12, 12)),
        "dense": (lambda: nn.Linear(64, 64), (1, 64)),
    }
    make, shape = layers[kind]
    device, found = emulated(TARGET), []
    torch.manual_seed(1)
    for count in (3, 4):
        network = nn.Sequential(*(part for _ in range(count) for part in (make(), nn.Tanh()))).eval()
        path = tmp_path / f"{count}.tflite"
        litert_torch.convert(network, (torch.zeros(shape),)).export(str(path))
        sample = np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
        counted = device.measure(path, "litert", {"args_0": sample}).counted
        assert counted is not None
        found.append(counted)
    rises = found[1].instructions - found[0].instructions
    own = sum(item.instructions for item in operators(found[1])) - sum(
        item.instructions for item in operators(found[0])
    )
    print(f"litert {kind}: total {rises:+,}, figures {own:+,} ({own / rises - 1:+.1%})")
    assert len(operators(found[1])) > len(operators(found[0]))
    assert own == pytest.approx(rises, rel=0.1)
