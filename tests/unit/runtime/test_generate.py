"""Tokens one after the other: what is chosen, what is remembered, and prompts and bundles that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgegen_runtime.__main__ import Status
from edgegen_runtime.contract import PreprocessError
from edgegen_runtime.generate import Model, Reading, Sampling, choose, generate, read_rules
from edgegen_runtime.generate_command import prompt_tokens, streamed
from edgegen_runtime.session import InputsError, ModelRefusedError, Port
from edgegen_runtime.tokens import read_tokenizer
from unit.runtime.example_models import FLOAT, INT32, onnx_model, run_runtime

LETTERS = "abcdefgh"
SCORES = st.lists(st.floats(-50, 50), min_size=1, max_size=40).map(np.array)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


# -- choosing ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(0, 5))
def test_no_temperature_takes_the_first_of_the_highest(scores: Any, seed: int) -> None:
    assert choose(scores, Sampling(temperature=0), random(seed)) == int(np.argmax(scores))
    assert choose(scores, Sampling(top_k=1), random(seed)) == int(np.argmax(scores))
    assert scores[choose(scores, Sampling(temperature=1e-300), random(seed))] == scores.max()


@settings(max_examples=100, deadline=None)
@given(SCORES, st.integers(1, 45), st.integers(0, 5), st.floats(0.05, 100))
def test_only_the_highest_k_are_chosen(scores: Any, top_k: int, seed: int, temperature: float) -> None:
    token = choose(scores, Sampling(temperature=temperature, top_k=top_k), random(seed))
    assert np.sum(scores > scores[token]) < top_k


@settings(max_examples=100, deadline=None)
@given(SCORES, st.floats(0.01, 1), st.integers(0, 5))
def test_only_the_likeliest_of_so_much_probability_are_chosen(scores: Any, top_p: float, seed: int) -> None:
    token = choose(scores, Sampling(top_p=top_p), random(seed))
    shares = np.exp(scores - scores.max())
    before = shares[scores > scores[token]].sum() / shares.sum()
    assert before < top_p + 1e-9  # without the chosen one the likelier ones do not suffice


@settings(max_examples=50, deadline=None)
@given(SCORES, st.integers(0, 2**40))
def test_a_seed_chooses_the_same_again(scores: Any, seed: int) -> None:
    sampling = Sampling(temperature=1.3, top_k=7, top_p=0.9)
    first, second = random(seed), random(seed)
    assert [choose(scores, sampling, first) for _ in range(8)] == [choose(scores, sampling, second) for _ in range(8)]


def test_tokens_come_as_often_as_their_probabilities_say() -> None:
    scores, draw = np.log([0.5, 0.3, 0.15, 0.05]), random(3)
    for temperature, expected in ((1.0, [0.5, 0.3, 0.15, 0.05]), (0.5, [0.685, 0.247, 0.062, 0.007])):
        chosen = [choose(scores, Sampling(temperature=temperature), draw) for _ in range(20_000)]
        assert np.bincount(chosen, minlength=4) / 20_000 == pytest.approx(expected, abs=0.015)
    chosen = [choose(scores, Sampling(top_p=0.7), draw) for _ in range(4_000)]
    assert np.bincount(chosen) / 4_000 == pytest.approx([0.625, 0.375], abs=0.03)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": 1e9}, {"top_k": -1}, {"top_p": 0.0},
     {"top_p": 1.1}, {"top_p": float("nan")}],
)  # fmt: skip
def test_a_sampling_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputsError, match="cannot be chosen so"):
        Sampling(**wrong)  # type: ignore[arg-type]


# -- reading -----------------------------------------------------------------------------------------------------------

RING = {
    "token": "token", "scores": "logits", "position": "position", "context": 4,
    "memory": [{"input": "seen", "output": "new", "kept": "ring"}],
}  # fmt: skip
BLOCK = {"tokens": "tokens", "count": "count", "length": 3}
PORTS = (
    Port(name="token", dtype="int32", shape=(1, 1)),
    Port(name="position", dtype="int32", shape=(1, 1)),
    Port(name="seen", dtype="float32", shape=(1, 1, 4, 1)),
)


def ring_step(calls: list[Any], **wrong: Any) -> Model:
    """Remembers every token plus one, and scores the tokens that its ring holds."""

    def infer(inputs: Any) -> dict[str, Any]:
        calls.append({name: array.copy() for name, array in inputs.items()})
        scores = np.zeros((1, 10))
        scores[0, inputs["seen"].ravel().astype(int)] = 1
        return {"logits": scores, "new": inputs["token"].astype(np.float32)[None] + 1, **wrong}

    return Model(inputs=PORTS, infer=infer)


def ring_block(calls: list[Any]) -> Model:
    def infer(inputs: Any) -> dict[str, Any]:
        calls.append({name: array.copy() for name, array in inputs.items()})
        return {"logits": np.ones((1, 10)), "new": inputs["tokens"].astype(np.float32)[None, ..., None] + 1}

    ports = (
        Port(name="tokens", dtype="int32", shape=(1, 3)),
        Port(name="count", dtype="int32", shape=(1, 1)),
        *PORTS[1:],
    )
    return Model(inputs=ports, infer=infer)


def test_a_ring_holds_the_last_tokens_at_their_places() -> None:
    calls: list[Any] = []
    reading = Reading(read_rules({"generation": RING}), ring_step(calls))
    reading.read([1, 2, 3, 4, 5, 6])
    assert [int(call["position"][0, 0]) for call in calls] == [0, 1, 2, 3, 4, 5]
    assert calls[0]["seen"].ravel().tolist() == [0, 0, 0, 0]
    assert calls[4]["seen"].ravel().tolist() == [2, 3, 4, 5]
    assert calls[5]["seen"].ravel().tolist() == [6, 3, 4, 5]
    assert reading.read_tokens == 6


def test_a_prompt_is_cut_into_blocks_and_a_lone_token_is_a_step() -> None:
    steps: list[Any] = []
    blocks: list[Any] = []
    rules = read_rules({"generation": {**RING, "block": BLOCK}})
    reading = Reading(rules, ring_step(steps), ring_block(blocks))
    reading.read([1, 2, 3, 4, 5])
    assert [(call["tokens"].ravel().tolist(), int(call["position"][0, 0]), int(call["count"][0, 0]))
            for call in blocks] == [([1, 2, 3], 0, 3), ([4, 5, 0], 3, 2)]  # fmt: skip
    reading.read([7])
    assert steps[0]["seen"].ravel().tolist() == [6, 3, 4, 5]
    assert int(steps[0]["position"][0, 0]) == 5
    alone = Reading(rules, ring_step(steps))  # a board without room for the second file
    alone.read([1, 2, 3, 4, 5, 7])
    assert steps[-1]["seen"].ravel().tolist() == [6, 3, 4, 5]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"logits": np.full((1, 10), np.nan)}, "not finite"),
        ({"logits": np.zeros((1, 0))}, "not finite"),
        ({"new": np.zeros((1, 2, 1), np.float32)}, "does not fit"),
    ],
)
def test_what_a_model_must_not_give_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelRefusedError, match=said):
        Reading(read_rules({"generation": RING}), ring_step([], **wrong)).read([1])


def test_a_model_of_other_tensors_is_refused() -> None:
    rules = read_rules({"generation": RING})
    for ports, said in (
        (PORTS[:2], "its contract says"),
        ((*PORTS[:2], Port(name="seen", dtype="float32", shape=(1, 1, 5, 1))), "has no 4 places"),
        ((*PORTS[:2], Port(name="seen", dtype="int8", shape=(1, 1, 4, 1))), "in integers"),
    ):
        with pytest.raises(ModelRefusedError, match=said):
            Reading(rules, Model(inputs=ports, infer=ring_step([]).infer))
    with pytest.raises(ModelRefusedError, match="does not give 'new'"):
        Reading(rules, Model(inputs=PORTS, infer=lambda _: {"logits": np.ones((1, 3))})).read([1])
    with pytest.raises(InputsError, match="no token"):
        Reading(rules, ring_step([])).read([])


@pytest.mark.parametrize(("tokens", "seed"), [(0, 0), (-1, 0), (1_000_001, 0), (1, -1)])
def test_numbers_out_of_range_are_refused(tokens: int, seed: int) -> None:
    with pytest.raises(InputsError):
        next(generate(Reading(read_rules({"generation": RING}), ring_step([])), [1], tokens, Sampling(), seed))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"generation": 3},
        {"generation": {**RING, "more": 1}},
        {"generation": {**RING, "context": 0}},
        {"generation": {**RING, "context": 1 << 40}},
        {"generation": {**RING, "memory": [{"input": "a", "output": "b", "kept": "somewhere"}]}},
        {"generation": {**RING, "memory": [{"input": "a"}] * 3}},
        {"generation": {**RING, "memory": [RING["memory"]] * 100}},
        {"generation": {**RING, "token": ["x"]}},
        {"generation": {**RING, "block": {**BLOCK, "length": 0}}},
        {"generation": {**RING, "block": {**BLOCK, "file": "/etc/passwd"}}},
    ],
)
def test_rules_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PreprocessError):
        read_rules(wrong)


# -- text --------------------------------------------------------------------------------------------------------------


def test_prompts_that_cannot_be_read_are_refused() -> None:
    rules = read_rules({"generation": RING})
    letters, raw = read_tokenizer({"kind": "character", "alphabet": LETTERS}), read_tokenizer({"kind": "byte"})
    assert prompt_tokens("abba", letters, rules) == [1, 2, 2, 1]
    for prompt, tokenizer, said in (
        ("", letters, "is empty"),
        ("", raw, "is empty"),
        ("abcab", letters, "5 tokens, and the model looks back on 4"),
        ("éé€", raw, "7 tokens"),
        ("a€é", letters, "'é', '€'"),
    ):
        with pytest.raises(InputsError, match=said):
            prompt_tokens(prompt, tokenizer, rules)
    with pytest.raises(PreprocessError, match="not Unicode"):
        prompt_tokens("\ud800", raw, rules)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_text_streams_in_whole_characters(written: str) -> None:
    tokenizer = read_tokenizer({"kind": "byte"})
    pieces = list(streamed([int(token) for token in tokenizer.encode(written)], tokenizer))
    assert "".join(pieces) == written
    assert all(len(piece) == 1 for piece in pieces if piece != "\ufffd")


def test_bytes_that_are_no_text_come_out_all_the_same() -> None:
    tokenizer = read_tokenizer({"kind": "byte"})
    assert "".join(streamed([0x61, 0xE2, 0x82], tokenizer)).startswith("a\ufffd")
    assert "".join(streamed([0xFF] * 9 + [0x62], tokenizer)).endswith("b")


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build's ``files/``: a model that follows every letter by the next one, and counts tokens in its state."""
    folder = tmp_path_factory.mktemp("files")
    table = np.zeros((9, 9), np.float32)
    table[np.arange(9), (np.arange(9) % 8) + 1] = 5
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["rows"]),
        helper.make_node("Squeeze", ["rows", "axes"], ["logits"]),
        helper.make_node("Add", ["state", "one"], ["next_state"]),
    ]
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in (("table", table), ("axes", np.array([1])), ("one", np.ones((1, 2), np.float32)))
    ]
    model = onnx_model(
        nodes,
        [("token", INT32, [1, 1]), ("state", FLOAT, [1, 2])],
        [("logits", FLOAT, [1, 9]), ("next_state", FLOAT, [1, 2])],
        constants,
    )
    (folder / "model.onnx").write_bytes(model)
    (folder / "manifest.json").write_text(json.dumps({"format": "onnx", "runtime": "onnxruntime"}))
    contract = {
        "generation": {
            "token": "token", "scores": "logits", "position": None, "context": None,
            "memory": [{"input": "state", "output": "next_state", "kept": "whole"}],
        },
        "data": {
            "preprocessing": {
                "schema_version": 1,
                "steps": [{"do": "tokens", "tokenizer": {"kind": "character", "alphabet": LETTERS}}],
            }
        },
    }  # fmt: skip
    (folder / "preprocessing.json").write_text(json.dumps(contract))
    return folder


def test_the_command_writes_the_prompt_and_what_follows(files: Path) -> None:
    done = run_runtime("generate", files, "--prompt", "fg", "--tokens", "5", "--temperature", "0", cwd=files)
    assert (done.returncode, done.stdout) == (Status.DONE, "fghabcd\n")
    assert "tokens/s" in done.stderr
    seeded = [
        run_runtime(
            "generate", files, "--prompt", "a", "--tokens", "30", "--temperature", "4", "--seed", seed, cwd=files
        )
        for seed in ("1", "1", "2")
    ]
    assert seeded[0].stdout == seeded[1].stdout != seeded[2].stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "xyz"], "never saw: 'x', 'y', 'z'"),
        (["--prompt", "a", "--top-p", "2"], "top-p"),
        (["--prompt", "a", "--tokens", "0"], "--tokens"),
        (["--prompt", "a", "--seed", "-1"], "--seed"),
    ],
)
def test_the_command_refuses_with_a_line(files: Path, arguments: list[str], said: str) -> None:
    done = run_runtime("generate", files, *arguments, cwd=files)
    assert done.returncode == Status.BAD_INPUT
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("manifest.json", "{", Status.BAD_INPUT),
        ("manifest.json", "[]", Status.BAD_INPUT),
        ("manifest.json", '{"format": "../onnx", "runtime": "onnxruntime"}', Status.BAD_INPUT),
        ("manifest.json", '{"format": "onnx", "runtime": "sh"}', Status.BAD_INPUT),
        ("preprocessing.json", "{}", Status.BAD_INPUT),
        ("preprocessing.json", "[" * 100_000, Status.BAD_INPUT),
        ("model.onnx", "not a model", Status.MODEL_REFUSED),
        ("model.onnx", None, Status.BAD_INPUT),
    ],
)
def test_files_that_are_no_bundle_s_are_refused(
    files: Path, tmp_path: Path, name: str, content: str | None, status: Status
) -> None:
    for path in files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    done = run_runtime("generate", tmp_path, "--prompt", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.splitlines()[-1].startswith("edgegen_runtime: ")
