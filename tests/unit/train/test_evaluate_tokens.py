"""How models of sequences are judged: figures of a source whose entropy is known, and the n-gram model beside them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Part
from edgegen.pipeline.alone import train_project
from edgegen.train.autoregressive import AUTOREGRESSIVE, AutoregressiveSettings
from edgegen.train.deployed import save_model
from edgegen.train.evaluate import evaluate
from edgegen.train.evaluate_tokens import SAMPLE_TOKENS
from edgegen.train.loop import train
from edgegen.train.ngram import LONGEST, fit_ngram
from edgegen.train.settings import TrainSettings
from support.datasets import token_form

CONTEXT = 16
CHAIN = np.array([[0.1, 0.7, 0.1, 0.1], [0.05, 0.05, 0.8, 0.1], [0.3, 0.1, 0.1, 0.5], [0.85, 0.05, 0.05, 0.05]])
"""Chance of each letter (columns) after each (rows): its entropy is known."""

ALPHABET = "abcd"  # tokens 1 to 4; 0 is a letter that training never had
SETTINGS = AutoregressiveSettings(cell="gru", layers=1, width=16, vocabulary=5, context=CONTEXT)


def entropy_nats() -> float:
    values, vectors = np.linalg.eig(CHAIN.T)
    share = np.real(vectors[:, np.argmax(np.real(values))])
    return float(-(share / share.sum()) @ (CHAIN * np.log(CHAIN)).sum(axis=1))


def chain_rows(count: int, seed: int) -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(seed)).random(count * CONTEXT + 1)
    tokens, sums = [0], CHAIN.cumsum(axis=1)
    for number in draw[1:]:
        tokens.append(min(int(np.searchsorted(sums[tokens[-1]], number, side="right")), 3))
    line = np.array(tokens, np.uint8) + 1
    return np.lib.stride_tricks.sliding_window_view(line, CONTEXT + 1)[::CONTEXT]


def dataset() -> DataSet:
    form = replace(
        token_form(context=CONTEXT, vocabulary="?" + ALPHABET),
        preprocessing={
            "schema_version": 1,
            "input": {"kind": "text", "encoding": "utf-8"},
            "steps": [{"do": "tokens", "tokenizer": {"kind": "character", "alphabet": ALPHABET}}],
        },
    )
    parts = {name: Part(x=chain_rows(count, seed)) for name, count, seed in (("train", 1500, 1), ("test", 300, 2))}
    return DataSet(form=form, validation=Part(x=chain_rows(1, 3)[:0]), **parts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that has learnt the chain, and the set."""
    folder, data = tmp_path_factory.mktemp("chain"), dataset()
    training = TrainSettings(epochs=4, batch_size=16, learning_rate=0.01)
    train("autoregressive", SETTINGS, training, data, digest="chain", seed=1, folder=folder, progress=Silent())
    return folder, data


def figures_of(record) -> dict:
    return {figure["name"]: figure for figure in record["figures"]}


def test_a_source_of_known_entropy_is_judged_right(trained):
    folder, data = trained
    torch.manual_seed(9)
    save_model(AUTOREGRESSIVE.build(SETTINGS), "autoregressive", SETTINGS, folder / "..")
    other = {name: folder / ".." / name for name in ("model.json", "model.safetensors")}
    record = evaluate(folder, data, None, seed=3, other=other)
    assert record == evaluate(folder, data, None, seed=3, other=other)
    found, known = figures_of(record), entropy_nats()
    nats = found["nats_per_token"]
    assert nats["value"] == pytest.approx(known, rel=0.05)
    assert nats["low"] < nats["value"] < nats["high"]
    assert nats["high"] - nats["low"] < 0.1
    assert found["perplexity"]["value"] == pytest.approx(math.exp(nats["value"]))
    assert found["perplexity"]["low"] == pytest.approx(math.exp(nats["low"]), rel=1e-3)
    bits = found["bits_per_byte"]
    assert bits["value"] == pytest.approx(nats["value"] / math.log(2))  # a byte a token
    assert nats["seeds"] > 0.2  # the other has learnt nothing
    assert found["late_bits_per_byte"]["value"] == pytest.approx(bits["value"], rel=0.05)  # one letter back is all
    accuracy = found["accuracy_ratio"]
    assert accuracy["value"] == pytest.approx(0.71, abs=0.05)
    assert accuracy["baseline"] is None
    simple = nats["baseline"]
    assert simple["value"] == pytest.approx(known, rel=0.05)
    assert simple["bytes"] <= 4 * sum(value.numel() for value in AUTOREGRESSIVE.build(SETTINGS).state_dict().values())
    assert bits["baseline"]["value"] == pytest.approx(simple["value"] / math.log(2))
    assert record["samples"] == len(data.test)
    assert "without memory" in record["notes"][0]


@pytest.mark.parametrize("width", [1, 3])
def test_bits_are_of_bytes_not_of_tokens(trained, width):
    folder, data = trained
    wide = replace(data, form=replace(data.form, bytes_per_token=float(width)))
    found = figures_of(evaluate(folder, wide, None, seed=3))
    assert found["bits_per_byte"]["value"] == pytest.approx(found["nats_per_token"]["value"] / math.log(2) / width)
    assert found["nats_per_token"]["seeds"] is None
    unknown = replace(data, form=replace(data.form, bytes_per_token=None))
    found = figures_of(evaluate(folder, unknown, None, seed=3))
    assert "bits_per_byte" not in found
    assert "late_nats_per_token" in found


def test_the_written_text_is_the_model_s_and_goes_by_its_seed(trained):
    folder, data = trained
    text, again, other = (evaluate(folder, data, None, seed=seed)["sample_text"] for seed in (3, 3, 4))
    prompt, _, written = text.partition("|")
    assert text == again
    assert prompt == "".join(ALPHABET[token - 1] for token in data.test.x[0, :CONTEXT])
    assert len(written) == SAMPLE_TOKENS
    assert written != other.partition("|")[2]
    pairs = Counter(pairwise(written))
    usual = sum(pairs[pair] for pair in [("a", "b"), ("b", "c"), ("c", "d"), ("c", "a"), ("d", "a")])
    assert usual > 0.75 * (SAMPLE_TOKENS - 1)  # 5 of 16 pairs are likely ones


def test_a_single_row_has_no_interval(trained):
    folder, data = trained
    found = figures_of(evaluate(folder, replace(data, test=Part(x=data.test.x[:1])), None, seed=3))
    assert found["nats_per_token"]["low"] is None


def test_a_model_that_is_not_finite_is_said(tmp_path):
    model = AUTOREGRESSIVE.build(SETTINGS)
    with torch.no_grad():
        model.head.bias.fill_(3e38)
        model.head.weight.fill_(3e38)
        model.embed.weight.fill_(1.0)
    save_model(model, "autoregressive", SETTINGS, tmp_path)
    with pytest.raises(BuildError, match="not finite"):
        evaluate(tmp_path, dataset(), None, seed=1)


def test_an_n_gram_model_is_witten_and_bell_s():
    rows = chain_rows(200, 5)
    model = fit_ngram(rows, 5, 10_000_000)
    every = np.arange(5)
    for history in ([1], [2, 3], [4, 1, 2], [0, 1], [1, 1, 1, 1, 1, 1]):
        chances = _chances(model, history, every)
        assert chances.sum() == pytest.approx(1.0)
        assert chances.min() > 0
    line = [*rows[0].tolist(), *rows[1:, 1:].ravel().tolist()]
    after = Counter(line[at + 1] for at, token in enumerate(line[:-1]) if token == 1)
    single = Counter(line)
    first = (single[2] + 4 / 5) / (len(line) + 4)  # four letters of five come, so much goes to the even chance
    second = (after[2] + len(after) * first) / (sum(after.values()) + len(after))
    assert _chances(model, [1], every)[2] == pytest.approx(second, rel=0.05)  # counts are kept in one byte


def _chances(model, history, tokens):
    return np.exp([model.log_likelihood(np.array([[*history, token]]))[0, -1] for token in tokens])


@pytest.mark.parametrize("most", [60, 200, 1000, 5000, 10**9])
def test_an_n_gram_model_keeps_to_its_bytes(most):
    rows = chain_rows(400, 6)
    model = fit_ngram(rows, 5, most)
    assert model.bytes <= most
    assert model.order <= LONGEST
    nats = -model.log_likelihood(chain_rows(100, 7)).mean()
    assert entropy_nats() * 0.97 < nats < math.log(5)
    if most >= 200:
        assert nats < entropy_nats() * 1.05


def test_n_grams_that_come_seldom_make_room():
    draw = np.random.Generator(np.random.PCG64(1))
    line = draw.zipf(2.0, 300 * 8 + 1).cumsum() * 7 % 40  # mostly seven on from the last
    rows = np.lib.stride_tricks.sliding_window_view(line, 9)[::8].astype(np.uint8)
    whole, cut = fit_ngram(rows, 40, 10**9), fit_ngram(rows, 40, 600)
    assert cut.bytes <= 600 < whole.bytes
    assert cut.least > 1 or cut.order < whole.order
    assert np.isfinite(cut.log_likelihood(rows)).all()


def test_no_n_gram_model_fits_into_nothing():
    assert fit_ngram(chain_rows(10, 1), 5, 1) is None


def test_n_grams_do_not_cross_from_one_recording_to_the_next():
    apart = np.array([[0, 1, 0, 1], [2, 3, 2, 3]] * 30)
    model = fit_ngram(apart, 4, 10**6)
    chances = np.exp(model.log_likelihood(np.array([[0, 1], [1, 2], [1, 0]]))[:, 0])
    assert chances[0] > 0.9
    assert chances[1] < 0.05
    together = np.array([[0, 1, 2, 3], [3, 0, 1, 2]])  # the second goes on with the token that ended the first
    assert fit_ngram(np.tile(together, (20, 1)), 4, 10**6).log_likelihood(np.array([[3, 0]]))[0, 0] > math.log(0.7)


def test_a_series_of_numbers_is_foretold_in_its_own_unit(tmp_path):
    draw = np.random.Generator(np.random.PCG64(2))
    at = np.arange(1600)
    flow = 20 + 5 * np.sin(at * 2 * math.pi / 8) + draw.normal(0, 0.3, len(at))
    (tmp_path / "flow.csv").write_text("flow\n" + "\n".join(f"{value:.3f}" for value in flow) + "\n")
    (tmp_path / "edgegen.toml").write_text("""
[project]
name = "flow"
seed = 3
[model]
family = "autoregressive"
cell = "gru"
layers = 1
width = 24
[data]
source = "flow.csv"
origin = "made up"
licence = "CC0-1.0"
[data.columns.flow]
unit = "l/s"
[data.split]
by = "time"
[data.check]
duplicates = "say"
[data.text]
tokens = "bins"
vocabulary = 12
context = 16
[train]
epochs = 40
batch_size = 16
learning_rate = 0.01
""")
    cache = Cache(tmp_path / "cache")

    class Sweeps(Silent):
        """Another build that begins meanwhile."""

        def advance(self, task, done, total, detail=""):
            cache.sweep()

    trained = train_project(tmp_path, cache=cache, progress=Sweeps())
    record = trained.document["evaluation"]
    found = figures_of(record)
    error = found["rmse"]
    assert error["value"] < 0.5 * error["baseline"]["value"]  # the value before lies up to 3.8 off
    assert error["low"] < error["value"] < error["high"]
    assert error["doc"].endswith("flow")
    assert found["nats_per_token"]["value"] < 0.6 * math.log(12)
    assert "bits_per_byte" not in found
    assert record["sample_text"] == ""
