"""Models of sequences on a microcontroller: the firmware keeps their memory as the host would, token for token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.c_model import CModel
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen.devices.mcu.client import McuClient
from edgegen.devices.mcu.interface import read_interface
from edgegen.devices.mcu.speech import spoken
from edgegen.devices.mcu.wiring import choose, wiring_of
from edgegen.links.c_blocks import real, stored
from support.mcu_devices import client, host_firmware, running
from support.mcu_models import write_model, write_sequence_model

PROMPT = [3, 19, 0, 7, 7, 1, 12, 5, 2, 11, 4, 9]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("speech")
    return host_firmware(folder, model=write_sequence_model(folder / "model"))


@pytest.fixture(scope="module")
def told(built: tuple[Path, Path]) -> CModel:
    return read_interface(built[1].parent)


@pytest.fixture
def device(built: tuple[Path, Path]) -> Iterator[McuClient]:
    with running(built[0]) as connection:
        found = client(connection)
        found.greeted()
        yield found


def _modulo(value: int, by: int) -> int:
    """C's remainder, which has the sign of the dividend."""
    return int(np.fmod(value, by))


def _step(token: int, position: int, state: Any, keys: Any) -> tuple[Any, Any, Any]:
    """``SEQUENCE`` in Python, on stored numbers."""
    total = [int(state[i]) * 3 + int(state[(i + 1) % 8]) + token * (7 + i) + position for i in range(8)]
    following = np.array([_modulo(value, 101) - 50 for value in total]).astype(np.int8)
    added = np.array([_modulo(token * 5 + int(following[i]) * 2 + i, 90) - 40 for i in range(6)])
    flat = keys.reshape(-1)
    sums = [
        int(following[i % 8]) * (i + 1) + sum(int(flat[j]) * ((i + j) % 7 - 3) for j in range(30)) for i in range(20)
    ]
    logits = np.array([_modulo(value, 100) for value in sums])
    return logits.astype(np.int8), following, added.astype(np.int8)


def simulated(model: CModel, prompt: list[int], count: int, ratio: int, seed: int) -> list[int]:
    """The text by the host's own conversions between scales, and its own choice."""
    inputs, outputs = ({tensor.name: tensor for tensor in side} for side in (model.inputs, model.outputs))
    state = np.full((1, 8), inputs["state"].zero_point, np.int8)
    keys = np.full((1, 2, 5, 3), inputs["keys"].zero_point, np.int8)
    read, tokens, scores = 0, [], np.zeros(20, np.int8)

    def take(token: int) -> None:
        nonlocal read, state, keys, scores
        scores, following, added = _step(token, read, state[0], keys)
        state = stored(inputs["state"], real(outputs["next_state"], following[None]))
        keys[:, :, read % 5] = stored(inputs["keys"], real(outputs["new_keys"], added.reshape(1, 2, 3)))
        read += 1

    for token in prompt:
        take(token)
    for draw in range(count):
        tokens.append(choose(scores.tolist(), ratio, seed, draw))
        take(tokens[-1])
    return tokens


@pytest.mark.parametrize("temperature", [0.0, 0.5, 3.0])
def test_mcu_speech_is_what_the_host_would_say(device: McuClient, told: CModel, temperature: float) -> None:
    wiring = wiring_of(told)
    assert wiring is not None
    text = list(spoken(device, told, PROMPT, 40, seed=11, temperature=temperature))
    assert text == simulated(told, PROMPT, 40, wiring.ratio(temperature), 11)
    assert len(set(text)) > 3


def test_mcu_speech_depends_on_its_seed_alone(device: McuClient, told: CModel) -> None:
    texts = [list(spoken(device, told, PROMPT, 30, seed=seed, temperature=2.0)) for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_mcu_speech_chooses_by_weight() -> None:
    scores, temperature = [10, 8, 10, -20], 0.5
    ratio = int(np.exp(-0.1 / temperature) * 2**32)
    drawn = np.bincount([choose(scores, ratio, 5, draw) for draw in range(4000)], minlength=4) / 4000
    weights = np.exp(np.array(scores) * 0.1 / temperature)
    np.testing.assert_allclose(drawn, weights / weights.sum(), atol=0.03)
    assert choose(scores, 0, 5, 0) == 0


@pytest.mark.parametrize(
    ("prompt", "count", "seed", "temperature"),
    [([], 1, 0, 1.0), ([20], 1, 0, 1.0), ([-1], 1, 0, 1.0), ([1], 0, 0, 1.0), ([1], 1, -1, 1.0), ([1], 1, 0, -1.0)],
)
def test_mcu_speech_refuses_what_is_out_of_range(
    device: McuClient, told: CModel, prompt: list[int], count: int, seed: int, temperature: float
) -> None:
    with pytest.raises(UsageError):
        list(spoken(device, told, prompt, count, seed=seed, temperature=temperature))


def test_mcu_firmware_refuses_texts_out_of_range(device: McuClient) -> None:
    for command in ("x-read 20", "x-read 1 x", "x-gen 5", "x-gen 5 1 0", "x-gen 99999999 1 0"):
        assert device._command(command, refused=True)[0].startswith("e-[x-")
    device.read_tokens([1, 2, 3], 0)
    with pytest.raises(ToolMissingError, match="came damaged"):
        device.read_tokens([4], 0)


@pytest.mark.parametrize(
    ("side", "place", "change"),
    [
        ("inputs", 0, {"name": "tokens"}),
        ("inputs", 0, {"dtype": "float32"}),
        ("inputs", 3, {"name": "values"}),
        ("inputs", 3, {"shape": [1, 2, 3, 5]}),
        ("outputs", 0, {"dtype": "uint8"}),
        ("outputs", 1, {"dtype": "uint8"}),
    ],
)
def test_mcu_wiring_is_of_models_that_can_be_fed(tmp_path: Path, side: str, place: int, change: dict[str, Any]) -> None:
    folder = write_sequence_model(tmp_path).parent
    assert wiring_of(read_interface(folder)) is not None
    table = json.loads((folder / "model.json").read_text())
    table[side][place] |= change
    (folder / "model.json").write_text(json.dumps(table))
    assert wiring_of(read_interface(folder)) is None


def test_mcu_wiring_takes_the_models_own_word_for_its_states(tmp_path: Path) -> None:
    folder = write_sequence_model(tmp_path).parent
    table = json.loads((folder / "model.json").read_text())
    table["outputs"][1]["name"] = "anything"
    (folder / "model.json").write_text(json.dumps(table))
    assert wiring_of(read_interface(folder)) is None
    (folder / "model.json").write_text(json.dumps({**table, "states": [[2, 1]]}))
    wiring = wiring_of(read_interface(folder))
    assert wiring is not None
    assert [(kept.outer, kept.places, kept.inner) for kept in wiring.kept] == [(1, 1, 8), (2, 5, 3)]


def test_mcu_model_that_is_none_of_sequences_writes_nothing(device: McuClient, tmp_path: Path) -> None:
    other = read_interface(write_model(tmp_path).parent)
    with pytest.raises(UsageError, match="writes no tokens"):
        list(spoken(device, other, [1], 1, seed=0, temperature=1.0))
