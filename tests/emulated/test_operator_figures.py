"""What an operator is said to cost is what it costs: a second one raises the total by its figure.

A second operator also moves where the memory of all others lies, and in a graph of a hundred small ones the walks of
malloc through its lists move the total by more than a small operator costs. They are no operator's; so that they do not
hide what is looked for, the guest's malloc is told to keep all that it gets back at hand, and its clock goes on evenly.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from emulated_presence import absent, library

from edgegen.devices.device import Counted, OperatorCost
from edgegen.devices.qemu_user import QemuUserDevice, Tools, guest
from edgegen.devices.qemu_user.compilers import host_compiler
from support.template_graphs import FORMS, sample_of, template_graph, with_twin

TARGETS = ["raspberrypi5", "raspberrypi2", "riscv64-linux"]
"""ONNX Runtime's own wheel on aarch64; Debian's older build on 32-bit Arm and on RISC-V."""
LITERT_TARGET = "raspberrypi5"
LEAST_SHARE = 0.01
AT_HAND = ("-E", "GLIBC_TUNABLES=glibc.malloc.tcache_count=60000")
Measure = Callable[[str, Path], Counted]


@dataclass(frozen=True, kw_only=True)
class Rise:
    """What a second operator did."""

    target: str
    template: str
    operator: OperatorCost
    share: float
    total: int
    own: int

    def __str__(self) -> str:
        said = f"{self.target} {self.template} {self.operator.operator} {self.share:.1%}"
        return f"{said}: total {self.total:+,}, its figures {self.own:+,} ({self.own / self.total - 1:+.1%})"


# In an emulator that has it loaded, the guest's clock goes on by a microsecond whenever it is read.
STEADY_CLOCK = """
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    static long reads;
    (void)which;
    reads++;
    now->tv_sec = 1700000000 + reads / 1000000;
    now->tv_nsec = reads % 1000000 * 1000;
    return 0;
}
"""


@pytest.fixture(scope="module", autouse=True)
def _malloc_that_keeps_all() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "_GUEST_OPTIONS", (*guest._GUEST_OPTIONS, *AT_HAND))
        yield


@pytest.fixture(scope="module", autouse=True)
def _steady_clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For guests that are counted: on 32-bit Arm an inference's count depends on the times that it reads.

    Those that are profiled keep the real clock, for what took how long is told by it.
    """
    folder, compiler = tmp_path_factory.mktemp("clock"), host_compiler()
    if compiler is None:
        absent("no C compiler")
    source, made = folder / "steady.c", folder / "steady.so"
    source.write_text(STEADY_CLOCK, encoding="utf-8")
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", str(made), str(source)], check=True, timeout=60)
    run_guest = guest.run_guest

    def run(tools: Tools, job: guest.Job, folder: Path) -> None:
        env = dict(tools.qemu.env) | ({} if job.profile else {"LD_PRELOAD": str(made)})
        run_guest(replace(tools, qemu=replace(tools.qemu, env=env)), job, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "run_guest", run)
        yield


@pytest.fixture(scope="module", name="measure")
def _measure(emulated: Callable[..., QemuUserDevice]) -> Measure:
    known = dict[tuple[str, Path], Counted]()

    def measure(target: str, path: Path) -> Counted:
        if (target, path) not in known:
            found = emulated(target).measure(path, "onnxruntime", sample_of(path)).counted
            assert found is not None
            known[target, path] = found
        return known[target, path]

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


def rise(target: str, seed: int, graph: Callable[[str], Path], measure: Measure, folder: Path) -> Rise:
    """A seeded operator of a seeded template, twice.

    Of those that take 1 % or more, or where none does the twenty dearest; of those, one whose twin leaves the rest of
    the graph to the optimizer as it was.
    """
    import onnx

    template = list(FORMS)[seed % len(FORMS)]
    path = graph(template)
    once = measure(target, path)
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
        twice = measure(target, twin)
        came = [item for item in operators(twice) if "_again" in item.name]
        if len(came) == 1 and Counter(item.operator for item in operators(twice) if item not in came) == before:
            stayed = next(item for item in operators(twice) if item.name == chosen.name)
            return Rise(
                target=target,
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


@pytest.mark.parametrize(("target", "seed"), [("raspberrypi5", 6), ("raspberrypi2", 7)])
def test_an_operator_of_a_template_that_is_there_twice_costs_twice(
    target: str, seed: int, graph: Callable[[str], Path], measure: Measure, tmp_path: Path
) -> None:
    check(rise(target, seed, graph, measure, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(20))
def test_figures_of_templates_operators_rise_with_the_total(
    target: str, seed: int, graph: Callable[[str], Path], measure: Measure, tmp_path: Path
) -> None:
    check(rise(target, seed, graph, measure, tmp_path))


@pytest.mark.parametrize("target", TARGETS)
def test_counting_operators_adds_nothing_to_an_empty_graph(
    target: str, emulated: Callable[..., QemuUserDevice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"], name="nothing")
    made = helper.make_graph([node], "empty", ends[:1], ends[1:])
    path = tmp_path / "empty.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    device = emulated(target)
    watched = device.measure(path, "onnxruntime", sample_of(path)).counted
    monkeypatch.setattr(device, "_plan", lambda *_: None)
    plain = device.measure(path, "onnxruntime", sample_of(path)).counted
    assert watched is not None
    assert plain is not None
    own = [item.instructions for item in operators(watched)]
    print(f"{target}, an empty graph: {plain.instructions}, with its operators watched {watched.instructions}: {own}")
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
    device, found = emulated(LITERT_TARGET), []
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
