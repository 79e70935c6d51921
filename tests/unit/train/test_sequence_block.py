"""A block of tokens at once gives what as many steps give, and what the full forward pass gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.data.dataset import Part
from edgegen.train.autoregressive import AUTOREGRESSIVE, block_length
from edgegen.train.deployed import load_deployed, save_deployed, save_reading_blocks
from edgegen_runtime.generate import Reading
from support.datasets import token_form
from support.texts import BLOCK, CONTEXT, fresh, in_torch, random_tokens, rules_of, settings, torch_reading, whole

LENGTH = 3 * CONTEXT + 4  # past the context: the rings wrap


@pytest.mark.parametrize("changes", [{}, {"layers": 1}, {"prefill": CONTEXT}, {"prefill": 1}, {"heads": 2}])
def test_every_token_of_every_cut_scores_as_in_the_full_forward_pass(changes):
    chosen, tokens = settings(**changes), random_tokens(LENGTH)
    expected = whole(chosen, tokens)
    blocks = AUTOREGRESSIVE.reading_blocks(chosen)
    assert blocks is not None
    length = block_length(blocks)
    takes, _ = AUTOREGRESSIVE.signature(blocks)
    model, memory = in_torch(blocks), {spec.name: np.zeros(spec.shape, spec.dtype) for spec in takes}
    for first in range(0, LENGTH, length):
        for count in range(1, min(length, LENGTH - first) + 1):  # filled in part, up to the whole
            memory["tokens"][:] = 7  # what lies behind the last token must not matter
            memory["tokens"][0, :count] = tokens[first : first + count]
            memory["position"][:], memory["count"][:] = first, count
            given = model.infer(memory)
            assert np.abs(given["logits"][0] - expected[first + count - 1]).max() < 1e-4
        for name in ("keys", "values"):
            for step in range(count):
                memory[name][:, :, (first + step) % CONTEXT] = given[f"new_{name}"][:, :, step]


@pytest.mark.parametrize("cell", ["gru", "transformer"])
@pytest.mark.parametrize("blocks", [False, True], ids=["steps", "blocks"])
def test_a_prompt_and_the_steps_after_it_score_as_in_the_full_forward_pass(cell, blocks):
    if cell == "gru" and blocks:
        assert AUTOREGRESSIVE.reading_blocks(settings("gru")) is None
        return
    chosen, tokens = settings(cell), random_tokens(LENGTH)
    expected = whole(chosen, tokens)
    for prompt in (1, BLOCK - 1, BLOCK, BLOCK + 1, CONTEXT):
        reading = torch_reading(chosen, blocks=blocks)
        assert np.abs(reading.read(tokens[:prompt]) - expected[prompt - 1]).max() < 1e-4
        for place in range(prompt, LENGTH):
            assert np.abs(reading.read([tokens[place]]) - expected[place]).max() < 1e-4


def test_a_block_never_reaches_further_back_than_the_context():
    chosen = settings(prefill=64)
    blocks = AUTOREGRESSIVE.reading_blocks(chosen)
    assert blocks is not None
    assert block_length(blocks) == CONTEXT
    assert block_length(chosen) == 0


@pytest.mark.parametrize("changes", [{"prefill": 0}, {"cell": "gru"}])
def test_models_without_blocks_have_no_second_form(tmp_path, changes):
    chosen = replace(settings(), **changes)
    assert AUTOREGRESSIVE.reading_blocks(chosen) is None
    save_deployed(fresh(chosen), "autoregressive", chosen, tmp_path)
    written = tmp_path / "block"
    written.mkdir()
    assert not save_reading_blocks({name.name: name for name in tmp_path.iterdir() if name.is_file()}, written)
    assert not list(written.iterdir())


def test_the_second_form_has_the_very_weights(tmp_path):
    chosen = settings()
    save_deployed(fresh(chosen), "autoregressive", chosen, tmp_path)
    written = tmp_path / "block"
    written.mkdir()
    assert save_reading_blocks({name.name: name for name in tmp_path.iterdir() if name.is_file()}, written)
    assert (written / "deployed.safetensors").read_bytes() == (tmp_path / "deployed.safetensors").read_bytes()
    module, _, found = load_deployed(written)
    assert found == replace(chosen, reads="block")
    assert torch.equal(module.embed.weight, fresh(chosen).embed.weight)


def test_blocks_are_drawn_at_the_places_of_the_steps_with_the_same_answers():
    chosen = settings()
    blocks = replace(chosen, reads="block")
    rows = np.array([random_tokens(CONTEXT + 1, seed) for seed in range(30)], np.uint8)
    steps, drawn = (AUTOREGRESSIVE.draw(each, 60, 4, part=Part(x=rows), model=fresh(each)) for each in (chosen, blocks))
    assert np.array_equal(steps.targets, drawn.targets)
    assert len(np.unique(drawn.inputs["count"])) == BLOCK
    for sample in range(60):
        one, block = (
            {name: array[sample : sample + 1] for name, array in each.inputs.items()} for each in (steps, drawn)
        )
        first, second = in_torch(chosen).infer(one)["logits"], in_torch(blocks).infer(block)["logits"]
        assert np.abs(first - second).max() < 1e-4
    shapes = {name: (array.dtype.name, (1, *array.shape[1:])) for name, array in drawn.inputs.items()}
    assert shapes == {spec.name: (spec.dtype, spec.shape) for spec in AUTOREGRESSIVE.signature(blocks)[0]}
    assert set(AUTOREGRESSIVE.meaning(blocks)) == set(shapes)


def test_a_project_does_not_say_what_a_step_reads():
    with pytest.raises(UsageError, match="reads"):
        AUTOREGRESSIVE.complete(
            replace(settings(vocabulary=None, context=None), reads="block"), token_form(context=8, vocabulary="abcd")
        )


def test_the_rules_name_the_step_s_own_tensors():
    for cell in ("gru", "transformer"):
        takes, gives = AUTOREGRESSIVE.signature(settings(cell))
        rules = rules_of(settings(cell), blocks=False)
        named = {rules.token, *(kept.input for kept in rules.memory)} | ({rules.position} if rules.position else set())
        assert named == {spec.name for spec in takes}
        assert {rules.scores, *(kept.output for kept in rules.memory)} == {spec.name for spec in gives}
        Reading(rules, in_torch(settings(cell)))
