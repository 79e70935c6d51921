"""One text in torch, ONNX Runtime and LiteRT: scores token by token, and what is written with the likeliest tokens."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgegen.export.host_runtime import run_on_host
from support.texts import (
    CONTEXT,
    PROMPT,
    greedy,
    on_runner,
    random_tokens,
    settings,
    torch_reading,
    whole,
    write_forms,
)

FORMS = tuple(form for form in ("onnx", "litert") if form == "onnx" or find_spec("litert_torch"))
CELLS = ("transformer", "gru")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for cell in CELLS:
        write_forms(folder / cell, settings(cell), FORMS)
    return folder


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("form", FORMS)
def test_prompt_and_steps_score_as_the_full_forward_pass(files: Path, cell: str, form: str) -> None:
    chosen, tokens = settings(cell), random_tokens(2 * CONTEXT + 3)
    expected = whole(chosen, tokens)
    reading = on_runner(chosen, files / cell, form, run_on_host)
    prompt = CONTEXT - 2
    assert np.abs(reading.read(tokens[:prompt]) - expected[prompt - 1]).max() < 1e-4
    for place in range(prompt, len(tokens)):
        assert np.abs(reading.read([tokens[place]]) - expected[place]).max() < 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_the_likeliest_text_is_the_same_in_torch_and_in_every_runtime(files: Path, cell: str) -> None:
    chosen = settings(cell)
    texts = [greedy(torch_reading(chosen, blocks=cell == "transformer"), 2 * CONTEXT)]
    texts += [greedy(on_runner(chosen, files / cell, form, run_on_host), 2 * CONTEXT) for form in FORMS]
    row, written = list(PROMPT), []
    for _ in range(2 * CONTEXT):  # by the full forward pass alone, without any memory
        written.append(int(whole(chosen, row)[-1].argmax()))
        row.append(written[-1])
    assert all(text == written for text in texts)
    assert len(set(written)) > 1
