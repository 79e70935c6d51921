"""Models of sequences: the step and the whole row agree, and everything else a family must do."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from edgegen.compress.context import StepContext
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.errors import UsageError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Part
from edgegen.export.formats import convert
from edgegen.export.host_runtime import run_on_host
from edgegen.train import epochs
from edgegen.train.autoregressive import AUTOREGRESSIVE, AutoregressiveSettings
from edgegen.train.deployed import MODEL_FILES, load_model, save_deployed
from edgegen.train.families import Batch
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from support.datasets import image_form, token_form, vector_form

CELLS = ("gru", "transformer")
CONTEXT, LETTERS = 12, "abcdefgh"
WORDS = ("bad", "face", "head", "cage", "beach", "deaf", "a", "hedge")


def settings(cell: str, **changes) -> AutoregressiveSettings:
    chosen = {"cell": cell, "layers": 2, "width": 24, "heads": 4, "vocabulary": len(LETTERS), "context": CONTEXT}
    return AutoregressiveSettings(**{**chosen, **changes})


def rows(count: int = 200, seed: int = 0) -> np.ndarray:
    """Words one after the other: what follows a letter can partly be learnt."""
    draw = np.random.Generator(np.random.PCG64(seed))
    text = "".join(WORDS[number] for number in draw.integers(0, len(WORDS), count * CONTEXT))
    tokens = np.array([LETTERS.index(letter) for letter in text], np.uint8)
    return np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT + 1)[: count * CONTEXT : CONTEXT]


def dataset(count: int = 200) -> DataSet:
    form = replace(
        token_form(context=CONTEXT, vocabulary=LETTERS), samples={"train": count, "validation": 8, "test": 8}
    )
    return DataSet(form=form, train=Part(x=rows(count)), validation=Part(x=rows(8, 1)), test=Part(x=rows(8, 2)))


def fresh(cell: str, **changes) -> torch.nn.Module:
    """A model whose every weight takes part: a fresh transformer's layers add nothing."""
    torch.manual_seed(3)
    model = AUTOREGRESSIVE.build(settings(cell, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def run(folder, cell, training=None, *, progress=None, checkpoint=None, start=None, **changes):
    folder.mkdir(exist_ok=True)
    record = train(
        "autoregressive", settings(cell, **changes), training or TrainSettings(epochs=2, batch_size=16), dataset(),
        digest="words", seed=5, folder=folder, progress=progress or Silent(), checkpoint=checkpoint, start=start,
    )  # fmt: skip
    return record, load_model(folder)[0].state_dict()


@pytest.fixture(scope="module", params=CELLS)
def trained(request, tmp_path_factory):
    """A cell, the folder of a trained model, its settings and the model."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder, request.param, TrainSettings(epochs=12, batch_size=8, learning_rate=0.01))
    return request.param, folder, settings(request.param), load_model(folder)[0]


def stepped(cell: str, tokens: np.ndarray, step) -> np.ndarray:
    """Logits (tokens, vocabulary) of a step that takes and gives arrays by name, fed one token after the other."""
    chosen = settings(cell)
    memory, found = AUTOREGRESSIVE.begin(chosen), []
    for token in tokens:
        inputs = {**memory, "token": np.array([[token]], np.int32)}
        outputs = step(inputs)
        memory = AUTOREGRESSIVE.remember(chosen, inputs, outputs)
        found.append(outputs["logits"][0])
    return np.array(found)


def step_of(cell: str, model: torch.nn.Module):
    takes, gives = AUTOREGRESSIVE.signature(settings(cell))
    deployed = AUTOREGRESSIVE.deployed(model)

    def step(inputs):
        with torch.no_grad():
            given = deployed(*(torch.from_numpy(inputs[spec.name]) for spec in takes))
        assert [tuple(value.shape) for value in given] == [spec.shape for spec in gives]
        return {spec.name: value.numpy() for spec, value in zip(gives, given, strict=True)}

    return step


def whole(model: torch.nn.Module, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return AUTOREGRESSIVE.scores(model, torch.from_numpy(tokens.astype(np.int64))[None])[0].numpy()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("changes", [{}, {"layers": 1}], ids=["two-layers", "one-layer"])
def test_steps_give_what_the_whole_row_gives_however_long_it_is(cell, changes):
    model = fresh(cell, **changes)
    tokens = np.random.default_rng(1).integers(0, len(LETTERS), 3 * CONTEXT + 5)
    chosen = settings(cell, **changes)
    memory, found = AUTOREGRESSIVE.begin(chosen), []
    for token in tokens:
        inputs = {**memory, "token": np.array([[token]], np.int32)}
        with torch.no_grad():
            given = model(*(torch.from_numpy(inputs[spec.name]) for spec in AUTOREGRESSIVE.signature(chosen)[0]))
        outputs = {
            spec.name: value.numpy() for spec, value in zip(AUTOREGRESSIVE.signature(chosen)[1], given, strict=True)
        }
        memory = AUTOREGRESSIVE.remember(chosen, inputs, outputs)
        found.append(outputs["logits"][0])
    expected = whole(model, tokens)
    assert np.abs(np.array(found) - expected).max() < 1e-4
    assert np.abs(expected - expected[0]).max() > 0.1


def test_a_transformer_looks_back_on_the_last_tokens_alone():
    model = fresh("transformer", layers=1)
    tokens = np.random.default_rng(2).integers(0, len(LETTERS), 2 * CONTEXT)
    other = tokens.copy()
    other[:CONTEXT] = (other[:CONTEXT] + 1) % len(LETTERS)
    before, after = whole(model, tokens), whole(model, other)
    assert np.abs(before[-1] - after[-1]).max() < 1e-5
    assert np.abs(before[CONTEXT] - after[CONTEXT]).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_foretold_from_what_comes_later(cell):
    model = fresh(cell)
    tokens = np.arange(CONTEXT) % len(LETTERS)
    changed = tokens.copy()
    changed[7:] = 0
    assert np.array_equal(whole(model, tokens)[:7], whole(model, changed)[:7])
    assert not np.array_equal(whole(model, tokens)[7], whole(model, changed)[7])


@pytest.mark.parametrize("cell", CELLS)
def test_the_loss_is_the_cross_entropy_of_the_next_tokens(cell):
    model = fresh(cell)
    x = rows(3).astype(np.int64)
    found = AUTOREGRESSIVE.loss(model, settings(cell), Batch(x=torch.from_numpy(x)), torch.Generator())["loss"]
    logits = np.array([whole(model, row[:-1]) for row in x], np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    expected = -np.log(np.take_along_axis(chances, x[:, 1:, None], axis=2)).mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_is_drawn_from_the_given_noise_and_only_while_training(cell):
    model, x = fresh(cell, dropout=0.3), Batch(x=torch.from_numpy(rows(4).astype(np.int64)))

    def loss(seed):
        torch.manual_seed(seed + 100)  # the global generator must not matter
        return AUTOREGRESSIVE.loss(model, settings(cell), x, torch.Generator().manual_seed(seed))["loss"].item()

    assert loss(1) == loss(2)
    model.train()
    assert loss(1) == loss(1)
    assert len({loss(1), loss(2), loss(3)}) == 3


@pytest.mark.parametrize("cell", CELLS)
def test_a_draw_holds_tokens_of_the_part_with_the_memory_of_their_row(cell):
    model, part, chosen = fresh(cell), Part(x=rows(40)), settings(cell)
    draw = AUTOREGRESSIVE.draw(chosen, 150, 7, part=part, model=model)
    assert {name: (array.dtype.name, (1, *array.shape[1:])) for name, array in draw.inputs.items()} == {
        spec.name: (spec.dtype, spec.shape) for spec in AUTOREGRESSIVE.signature(chosen)[0]
    }
    assert draw.targets.dtype == np.int64
    takes, _ = AUTOREGRESSIVE.signature(chosen)
    with torch.no_grad():
        logits = model(*(torch.from_numpy(draw.inputs[spec.name]) for spec in takes))[0].numpy()
    every = np.array([whole(model, row[:-1]) for row in part.x]).reshape(-1, len(LETTERS))
    following = part.x[:, 1:].ravel()
    here = part.x[:, :-1].ravel()
    for row, token, target in zip(logits, draw.inputs["token"][:, 0], draw.targets, strict=True):
        near = np.abs(every - row).max(axis=1) < 1e-4
        assert np.any(near & (here == token) & (following == target))
    assert len(np.unique(logits.round(4), axis=0)) > 60  # many places, not one


@pytest.mark.parametrize("context", [CONTEXT, 5, 2])
def test_a_model_that_looks_back_less_far_draws_the_same_tokens_with_its_own_ring(context):
    """Past its context the ring has wrapped: the step from it gives what reading the whole row gives."""
    part, chosen = Part(x=rows(30)), settings("transformer", context=context)
    model = fresh("transformer", context=context)
    draw = AUTOREGRESSIVE.draw(chosen, 80, 7, part=part, model=model)
    usual = AUTOREGRESSIVE.draw(settings("transformer"), 80, 7, part=part, model=fresh("transformer"))
    assert all(np.array_equal(draw.inputs[name], usual.inputs[name]) for name in ("token", "position"))
    assert np.array_equal(draw.targets, usual.targets)
    takes, _ = AUTOREGRESSIVE.signature(chosen)
    with torch.no_grad():
        logits = model(*(torch.from_numpy(draw.inputs[spec.name]) for spec in takes))[0].numpy()
    every = np.array([whole(model, row[:-1]) for row in part.x])  # (rows, places, vocabulary)
    for row, place in zip(logits, draw.inputs["position"][:, 0], strict=True):
        assert np.abs(every[:, place] - row).max(axis=1).min() < 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_a_longer_draw_begins_with_the_shorter_one(cell):
    model, part, chosen = fresh(cell), Part(x=rows(40)), settings(cell)
    few, many, other = (
        AUTOREGRESSIVE.draw(chosen, count, seed, part=part, model=model) for count, seed in ((20, 4), (90, 4), (20, 5))
    )
    for name, array in few.inputs.items():
        assert np.allclose(array, many.inputs[name][:20], atol=1e-6)
    assert np.array_equal(few.targets, many.targets[:20])
    again = AUTOREGRESSIVE.draw(chosen, 20, 4, part=part, model=model)
    assert all(np.array_equal(array, again.inputs[name]) for name, array in few.inputs.items())
    assert not np.array_equal(few.inputs["token"], other.inputs["token"])


def test_a_draw_wants_a_part_and_a_model():
    with pytest.raises(UsageError, match="drawn from data"):
        AUTOREGRESSIVE.draw(settings("gru"), 3, 1, part=Part(x=rows(4)))
    with pytest.raises(UsageError, match="drawn from data"):
        AUTOREGRESSIVE.draw(settings("gru"), 3, 1, model=fresh("gru"))
    with pytest.raises(UsageError, match="drawn from data"):
        AUTOREGRESSIVE.draw(settings("gru"), 3, 1, part=Part(x=rows(4)[:0]), model=fresh("gru"))


@pytest.mark.parametrize("form", [image_form(), vector_form(), vector_form(kind="series")])
def test_other_data_than_tokens_are_refused(form):
    with pytest.raises(UsageError, match="rows of tokens"):
        AUTOREGRESSIVE.complete(AutoregressiveSettings(), form)


def test_written_sizes_must_be_the_data_s():
    form = token_form(context=8, vocabulary="abcd")
    found = AUTOREGRESSIVE.complete(AutoregressiveSettings(), form)
    assert (found.vocabulary, found.context) == (4, 8)
    for wrong in ({"vocabulary": 5}, {"context": 9}):
        with pytest.raises(UsageError, match="do not fit"):
            AUTOREGRESSIVE.complete(AutoregressiveSettings(**wrong), form)


def test_settings_that_cannot_be_built_are_refused():
    with pytest.raises(UsageError, match="share the width"):
        AutoregressiveSettings(width=96, heads=5)
    assert AutoregressiveSettings(cell="gru", width=90, heads=4).width == 90  # a GRU has no heads
    with pytest.raises(UsageError, match="not known"):
        AUTOREGRESSIVE.build(AutoregressiveSettings())


@pytest.mark.parametrize("cell", CELLS)
def test_training_learns_and_repeats(tmp_path, cell):
    record, first = run(tmp_path / "a", cell)
    again, second = run(tmp_path / "b", cell)
    assert record == again
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [epoch["loss"] for epoch in record["history"]]
    assert losses[-1] < losses[0] < np.log(len(LETTERS)) + 0.2
    assert record["parameters"] == record["deployed_parameters"]


@pytest.mark.parametrize("cell", CELLS)
def test_training_in_half_precision_learns_too(tmp_path, cell):
    record, _ = run(tmp_path / "a", cell, TrainSettings(epochs=2, batch_size=16, precision="bfloat16"))
    assert record["history"][1]["loss"] < record["history"][0]["loss"]


@pytest.mark.parametrize("cell", CELLS)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, monkeypatch, cell):
    monkeypatch.setattr(epochs, "_CHECKPOINT_SECONDS", 0.0)
    _, unbroken = run(tmp_path / "whole", cell, dropout=0.2)

    class Killed(Exception):
        pass

    class Stop(Silent):
        def __init__(self, at):
            self.at = at

        def advance(self, task, done, total, detail=""):
            if done >= self.at:
                raise Killed

    place = tmp_path / "checkpoint.pt"
    for at in (4, 11, 20):
        with pytest.raises(Killed):
            run(tmp_path / "killed", cell, dropout=0.2, progress=Stop(at), checkpoint=place)
    _, resumed = run(tmp_path / "killed", cell, dropout=0.2, checkpoint=place)
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_low_rank_updates_change_the_named_matrices_alone(tmp_path):
    _, before = run(tmp_path / "first", "transformer")
    files = {name: tmp_path / "first" / name for name in MODEL_FILES}
    tuned = TrainSettings(
        epochs=2, batch_size=16, learning_rate=0.01, start="first", lora_rank=2, lora=("layers.*.looks.weight",)
    )
    record, after = run(tmp_path / "tuned", "transformer", tuned, start=files)
    named = {"layers.0.looks.weight", "layers.1.looks.weight"}
    assert {name for name in before if not torch.equal(before[name], after[name])} == named
    assert set(after) == set(before)
    assert all(torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4) == 2 for name in named)
    assert record["trained_parameters"] == 2 * 2 * (24 + 72)
    assert record["history"][-1]["loss"] < record["history"][0]["loss"]


def test_low_rank_updates_work_on_a_gru_too(tmp_path):
    _, before = run(tmp_path / "first", "gru")
    files = {name: tmp_path / "first" / name for name in MODEL_FILES}
    tuned = TrainSettings(epochs=1, batch_size=16, start="first", lora_rank=2, lora=("recalls.*",))
    _, after = run(tmp_path / "tuned", "gru", tuned, start=files)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"recalls.0.weight", "recalls.1.weight"}


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_exported_steps_give_the_same_as_the_whole_row_and_int8_agrees(trained, form, tmp_path):
    if form == "litert" and find_spec("litert_torch") is None:
        pytest.skip("the extra litert is not installed")
    cell, folder, chosen, model = trained
    base = tmp_path / "float32"
    base.mkdir()
    convert(folder, base, form="torch", to=form)
    file = base / FORMATS[form]
    tokens = rows(3, seed=9)[:, :-1].ravel()[: CONTEXT + 8]  # past the context: the ring wraps
    found = stepped(cell, tokens, lambda inputs: run_on_host(file, form, inputs))
    assert np.abs(found - whole(model, tokens)).max() < 1e-4

    draw = AUTOREGRESSIVE.draw(chosen, 300, 3, part=Part(x=rows(100, seed=8)), model=model)
    reference = run_on_host(file, form, draw.inputs)["logits"].argmax(axis=1)
    assert np.mean(reference == draw.targets) > 0.4  # it has learnt something: chance is 1/8
    for recipe in ("weight-int8", "dynamic-int8"):
        small = tmp_path / recipe
        small.mkdir()
        step = find_step(recipe, form)
        applied = apply_step(step, base, small, step.settings(), StepContext(inputs=draw.inputs))
        assert applied.after.bytes < applied.before.bytes
        logits = run_on_host(small / FORMATS[form], form, draw.inputs)["logits"]
        assert np.mean(logits.argmax(axis=1) == reference) > 0.95


@pytest.mark.parametrize("cell", CELLS)
def test_the_signature_is_what_the_step_takes_and_gives(cell):
    model = fresh(cell)
    logits = stepped(cell, np.array([1, 2]), step_of(cell, model))  # looks at every output's shape
    assert logits.shape == (2, len(LETTERS))
    takes, _ = AUTOREGRESSIVE.signature(settings(cell))
    assert set(AUTOREGRESSIVE.meaning(settings(cell))) == {spec.name for spec in takes}
    assert {spec.dtype for spec in takes if spec.name in ("token", "position")} == {"int32"}


def test_a_saved_step_is_built_again_without_random_numbers(tmp_path):
    model = fresh("transformer")
    save_deployed(model, "autoregressive", settings("transformer"), tmp_path)
    assert (tmp_path / "deployed.json").is_file()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    from edgegen.train.deployed import load_deployed

    found, _, _ = load_deployed(tmp_path)
    assert torch.equal(torch.rand(2), expected)
    tokens = np.arange(5)
    assert np.array_equal(whole(found, tokens), whole(model, tokens))
