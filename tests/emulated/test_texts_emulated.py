"""The text of a float model is the same on the emulated core as here, in every runtime, prompt file and all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edgegen.devices.qemu_user import QemuUserDevice
from edgegen.export.host_runtime import run_on_host
from support.texts import CONTEXT, PROMPT, greedy, on_runner, settings, torch_reading, write_forms

RUNTIMES = {"onnx": "onnxruntime", "litert": "litert"}
TOKENS = 14  # with the prompt past the context


@pytest.mark.parametrize("form", [form for form in ("onnx", "litert") if form == "onnx" or find_spec("litert_torch")])
def test_a_text_is_the_same_in_torch_here_and_on_the_emulated_core(
    emulated: Callable[..., QemuUserDevice], tmp_path: Path, form: str
) -> None:
    chosen, device = settings(), emulated("raspberrypi5")
    write_forms(tmp_path / form, chosen, (form,))

    def run(path: Path, form: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return device.run(path, RUNTIMES[form], inputs)

    expected = greedy(torch_reading(chosen, blocks=True), TOKENS)
    assert greedy(on_runner(chosen, tmp_path / form, form, run_on_host), TOKENS) == expected
    assert greedy(on_runner(chosen, tmp_path / form, form, run), TOKENS) == expected
    assert len(PROMPT) + TOKENS > CONTEXT
