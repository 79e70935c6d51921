"""Acceptance: templates built for a microcontroller board, whose firmware gives the host's own C, byte for byte.

python -m pytest -m long tests/emulated/test_mcu_in_full.py -s
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings
from edgegen.devices.mcu.interface import read_interface
from edgegen.devices.mcu.speech import spoken
from edgegen.devices.mcu.wiring import wiring_of
from edgegen.devices.qemu_system import QemuSystemDevice
from support.mcu_devices import client, host_firmware, running
from support.mcu_tools import mcu_tools
from support.projects import edgegen

pytestmark = pytest.mark.long

BOARD = "nucleo-l4r5zi"
CORES = ("mps2-an385", BOARD, "nucleo-f746zg", "mps3-an547", "riscv32-virt")  # M3, M4, M7, M55, RV32
VECTORS, BY_DB = 300, 5
TEMPLATES = {  # name -> what makes its build short; the bytes do not depend on how well a model is trained
    "classifier": (),
    "keyword": (),
    "vae": ("--set", "train.epochs=2"),
    "gan": ("--set", "train.epochs=2"),
    "autoregressive": ("--set", "train.epochs=1"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mps2-an386", "riscv32-virt"):
        mcu_tools(name)
    return tmp_path_factory.mktemp("mcu") / "cache"


@pytest.mark.parametrize("name", TEMPLATES)
def test_mcu_template_gives_the_bytes_of_the_hosts_c(name: str, tmp_path: Path, cache: Path) -> None:
    project = tmp_path / "project"
    assert edgegen("init", str(project), "--template", name, cache=cache).code == 0
    recipes = ("--set", 'compress.recipes=["static-int8"]', "--set", "quality.second_training=false")
    # What a model must reach is not asked here.
    lenient = ("--set", "budgets={}", "--set", "targets={}")
    done = edgegen(
        *("build", "--target", BOARD, *recipes, *lenient, *TEMPLATES[name]), cache=cache, cwd=project, timeout=3600
    )
    assert done.code == 0, done.err
    files = project / "build" / BOARD / "files"
    program, model = host_firmware(tmp_path / "host", model=files / "model.c")
    told = read_interface(files)
    random = np.random.Generator(np.random.PCG64(3))
    blocks = [random.bytes(told.input_bytes) for _ in range(VECTORS)] if wiring_of(told) is None else []
    prompt = [5, 1, 4, 2]
    with running(program) as connection:
        host = client(connection, timeout_s=60.0)
        host.greeted()
        host.facts()
        wanted = []
        for block in blocks:
            host.load(block)
            wanted.append(host.run(told.output_bytes)[0])
        text = [] if blocks else list(spoken(host, told, prompt, 100, seed=1, temperature=0.7))
        if text:
            how = ("--prompt", "And", "--tokens", "40", "--seed", "1", "--temperature", "0.7", "--json")
            said = edgegen("speak", str(project / "build" / BOARD), *how, cache=cache, cwd=project)
            assert said.code == 0, said.err
            streamed = json.loads(said.out)
            own = list(spoken(host, told, streamed["prompt_tokens"], 40, seed=1, temperature=0.7))
            assert streamed["tokens"] == own
            result = json.loads((files.parent / "result.json").read_text(encoding="utf-8"))
            pace = [result["generation"][key]["instructions_per_token"] for key in ("prefill", "decode")]
            print(
                f"{name} on {BOARD}: {pace[0]:,} instructions a token of a prompt, {pace[1]:,} a token that is written"
            )
            assert 0 < pace[0] < pace[1]
    for core in CORES:
        device = QemuSystemDevice(load_target(core), DeviceSettings(cache=TOOLS_CACHE, offline=True, progress=Silent()))
        try:
            if text:
                assert list(device.speak(model, "edgegen-c", prompt, 100, seed=1, temperature=0.7)) == text, core
                continue
            given = _given(device, model, blocks)
            differing = sum(one != other for one, other in zip(given, wanted, strict=True))
            print(f"{name} on {core}: {differing} of {VECTORS} outputs differ")
            assert differing == 0
        finally:
            device.close()


def _given(device: QemuSystemDevice, model: Path, blocks: list[bytes]) -> list[bytes]:
    """The outputs of every block: the first of them loaded by MLPerf Tiny's own command."""
    running_firmware = device._ready(model, "edgegen-c", profiled=False)
    machine, place = running_firmware.machine, running_firmware.facts.place
    outputs = []
    for number, block in enumerate(blocks):
        if number < BY_DB:
            machine.client.db_load(block)
        else:
            machine.client.placed(block, partial(machine.debugger.write, place, block))
        outputs.append(machine.client.run(running_firmware.firmware.model.output_bytes)[0])
    return outputs
