"""The same network given as ONNX, LiteRT and torch gives the same outputs on every target.

What is compared are the golden vectors of the bundle: outputs of the file that ships, of the target's own kernels. In
CI three targets with the roads that cost least; every target and road, with the figures as a table:

python -m pytest -m long -s tests/emulated/test_same_network.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE, absent, library

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import alias_of, load_target, target_names
from edgegen.devices import host
from support.same_network import INPUTS, expected, rows, write_network

TOLERANCE = 1e-5
"""Greatest difference of two outputs: probabilities from scores that add 300 products of float32, in any order."""

IN_CI = ("linux-x86_64", "raspberrypi2", "raspberrypi4")
NOT_RUN = {"null": "its outputs are invented", "nvidia-gpu": "needs a GPU", "nvidia-jetson": "needs a GPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """From a file as it was given to a format as it ships."""

    given: str  # kind of file
    format: str

    def __str__(self) -> str:
        return f"{self.given} as {self.format}"


ROADS = (
    Road(given="onnx", format="onnx"),
    Road(given="tflite", format="litert"),
    Road(given="pt2", format="onnx"),
    Road(given="pt2", format="litert"),
)
Given = Callable[[str, Road], Any]


@pytest.fixture(scope="module", autouse=True)
def _one_clock() -> Iterator[None]:
    """One process measures where a verdict on latency rests on seven: none is asked for here."""
    kept, host._PROCESSES = host._PROCESSES, 1
    yield
    host._PROCESSES = kept


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """What the file that ships gives on a target for a road, (8, 6)."""
    library("litert_torch")
    folder, files = tmp_path_factory.mktemp("same"), {}
    (folder / "cache").mkdir()
    (folder / "cache" / "tools").symlink_to(TOOLS_CACHE / "tools")

    def on(target: str, road: Road) -> Any:
        if road.given not in files:
            files[road.given] = write_network(folder / "files", road.given)
        try:
            built = edgegen.build(
                model=files[road.given],
                evaluate=folder / "files" / f"{road.given}.npz",
                target=target,
                out=folder / f"{road.given}-{road.format}",
                overrides=('compress.recipes=["float32"]', f'export.formats=["{road.format}"]'),
                cache=Cache(folder / "cache"),
                jobs=1,
            )
        except ToolMissingError as error:
            absent(str(error))
        assert built.exit_code == 0, built.document["candidates"]
        assert built.document["chosen"]["format"] == road.format
        with np.load(built.folder / "files" / "golden.npz") as golden:
            assert np.array_equal(golden[f"input/{INPUTS[road.given]}"], rows())
            (output,) = (golden[name] for name in golden.files if name.startswith("output/"))
            return output

    return on


def _differences(found: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Greatest absolute difference of every two, torch's own outputs among them."""
    whole = {"torch": expected(), **found}
    return {(one, two): float(np.abs(whole[one] - whole[two]).max()) for one, two in combinations(whole, 2)}


@pytest.mark.parametrize("target", IN_CI)
def test_a_network_gives_the_same_as_onnx_litert_and_torch(given: Given, target: str) -> None:
    roads = ROADS[:2] if target == "raspberrypi2" else ROADS[:3]  # a Python guest on 32 bits takes its time
    differences = _differences({str(road): given(target, road) for road in roads})
    assert max(differences.values()) < TOLERANCE, differences
    assert np.ptp(expected(), axis=0).max() > 0.5  # outputs that say something


@pytest.mark.long
def test_a_network_gives_the_same_on_every_target(given: Given) -> None:
    targets = [name for name in target_names() if alias_of(name) is None and name not in NOT_RUN]
    assert set(IN_CI) < set(targets)
    everything: dict[str, Any] = {}
    for target in targets:
        runtimes = load_target(target).runtimes
        found = {str(road): given(target, road) for road in ROADS if road.format in runtimes}
        differences = _differences(found)
        print(f"\n{target}: " + "; ".join(f"{one} / {two} {value:.1e}" for (one, two), value in differences.items()))
        everything |= {f"{target}, {road}": output for road, output in found.items()}
        assert max(differences.values()) < TOLERANCE, (target, differences)
    across = _differences(everything)
    worst = max(across, key=lambda pair: across[pair])
    print(f"\nall {len(everything)} files: {' / '.join(worst)} {across[worst]:.1e}")
    assert across[worst] < TOLERANCE


def test_a_target_without_a_runtime_for_a_file_says_so() -> None:
    assert set(load_target("riscv64-linux").runtimes) == {"onnx"}
    assert all(load_target(name).device == "gpu:" for name in NOT_RUN if name != "null")
