"""A prompt on a microcontroller: its tokens take the model's short way, and the text is still the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgegen.devices.mcu.interface import read_interface
from edgegen.devices.mcu.speech import paced, spoken
from edgegen.devices.mcu.wiring import choose, wiring_of
from edgegen.export.c.cells import whole_cells
from edgegen.export.c.convert import write
from edgegen.export.c.emit import emit
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph
from edgegen.export.c.reference import run
from edgegen.export.c.states import fed_back
from support.mcu_devices import client, host_firmware, running
from support.spelled_steps import Gru

LETTERS = 11


@pytest.fixture(scope="module")
def graph() -> Graph:
    return fused(whole_cells(Gru(letters=LETTERS).graph(vocabulary=LETTERS))[0])


@pytest.fixture(scope="module")
def built(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("prompt")
    model = folder / "model"
    model.mkdir()
    write(emit(graph, "c", fed_back(graph, {})), model)
    return host_firmware(folder, model=model / "model.c")


def _wanted(graph: Graph, model: Path, prompt: Sequence[int], count: int, seed: int, temperature: float) -> list[int]:
    """By the reference, which gives scores for every token."""
    wiring = wiring_of(read_interface(model.parent))
    assert wiring is not None
    ratio, written = wiring.ratio(temperature), list[int]()
    before, after = (graph.tensors[name].scales for name in ("state", "next_state"))
    assert before is not None
    assert after is not None
    (scale, zero), (next_scale, next_zero) = before.one, after.one
    state = np.full(graph.tensors["state"].shape, zero, np.int8)
    tokens = list(prompt)
    while len(written) < count:
        for token in tokens:
            made = run(graph, {"token": np.array([[token]], np.int32), "state": state})
            real = (made["next_state"].astype(np.float32) - np.float32(next_zero)) * np.float32(next_scale)
            steps = real / np.float32(scale)
            rounded = np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5)) + zero
            state = np.clip(rounded, -128, 127).astype(np.int8)
        written.append(choose([int(score) for score in made["logits"].reshape(-1)], ratio, seed, len(written)))
        tokens = written[-1:]
    return written


@pytest.mark.parametrize("length", [1, 2, 9, 25])
def test_mcu_text_behind_a_prompt_is_the_references(graph: Graph, built: tuple[Path, Path], length: int) -> None:
    program, model = built
    told = read_interface(model.parent)
    assert 0 < told.prompt_operators < len(told.operators)
    prompt = [(3 * place + length) % LETTERS for place in range(length)]
    with running(program) as connection:
        device = client(connection)
        device.greeted()
        found = list(spoken(device, told, prompt, 30, seed=5, temperature=0.6))
    assert found == _wanted(graph, model, prompt, 30, 5, 0.6)
    assert len(set(found)) > 2


def test_mcu_pace_leaves_the_device_as_it_was(built: tuple[Path, Path]) -> None:
    program, model = built
    told = read_interface(model.parent)
    with running(program) as connection:
        device = client(connection)
        device.greeted()
        before = list(spoken(device, told, [1, 2, 3], 12, seed=2, temperature=0.9))
        pace = paced(device, told, None, 0)
        assert list(spoken(device, told, [1, 2, 3], 12, seed=2, temperature=0.9)) == before
    assert pace.prompt_ticks >= 0
    assert pace.written_ticks >= 0
