"""Text and series of numbers as rows of tokens: learnt from the training part, and the same on a device."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.clean import fit
from edgegen.data.collected import Collected
from edgegen.data.rows import RowsWriter, frame_type
from edgegen.data.settings import CleanSettings, Column, DataSettings, SplitSettings, TextSettings
from edgegen.data.shape.tokens import shape, text_parts
from edgegen.data.split import split as make_split
from edgegen.data.tokenizer import learn_bins, learn_tokenizer
from edgegen_runtime.tokens import contract_tokenizer, encode, merge_pair, pieces, read_tokenizer

PROSE = (
    "".join(f"line {number}: the quick brown fox and the lazy dog\n" for number in range(60)) + "Ende: \u00fc!\n" * 15
)
LINES = PROSE.count("\n")


class _Said:
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    def advance(self, task, done, total, detail=""):
        pass


def _collected(carrier, samples):
    return Collected(
        carrier=carrier,
        kind="text" if carrier == "text" else "table",
        name="own",
        samples=samples,
        source="own",
        sha256="0" * 64,
        origin="made up",
        licence="CC0-1.0",
    )


def _text(folder, text=PROSE, lines=None, progress=None, validation_ratio=0.0, **tokens):
    """Shapes a text whose lines are split as ``data.split`` does, or as ``lines`` says."""
    (folder / "text.txt").write_bytes(text.encode())
    data = DataSettings(
        source="own.txt", text=TextSettings(**tokens), split=SplitSettings(validation_ratio=validation_ratio)
    )
    collected = _collected("text", len(text.encode()))
    files = {"text.txt": folder / "text.txt", "split.npy": folder / "split.npy"}
    if lines is None:
        make_split(files, collected, data, 5, folder)
    else:
        np.save(folder / "split.npy", np.asarray(lines, np.uint8))
    return shape(files, collected, data, "by hand", progress or Silent())


KINDS = [
    {"tokens": "byte", "context": 16},
    {"tokens": "character", "context": 16},
    {"tokens": "subword", "vocabulary": 300, "context": 16},
]


@pytest.mark.parametrize("tokens", KINDS, ids=[item["tokens"] for item in KINDS])
def test_rows_hold_the_parts_of_the_text_one_after_the_other(tmp_path, tokens):
    dataset = _text(tmp_path, validation_ratio=0.2, **tokens)
    contract = json.loads(json.dumps(dataset.form.preprocessing))
    tokenizer = contract_tokenizer(contract)
    lines, numbers = PROSE.splitlines(keepends=True), np.load(tmp_path / "split.npy")
    for number, part in enumerate((dataset.train, dataset.validation, dataset.test)):
        text = "".join(line for line, place in zip(lines, numbers, strict=True) if place == number)
        rows = part.x.astype(np.int64)
        assert np.array_equal(rows[1:, 0], rows[:-1, -1])
        told = np.concatenate([rows[0], rows[1:, 1:].ravel()])
        tokens = encode(contract, text)
        assert np.array_equal(told, tokens[: len(told)])
        assert 0 <= len(tokens) - len(told) < 16
        assert tokens.max() < tokenizer.size
    assert dataset.form.kind == "tokens"
    assert dataset.form.shape == (17,)
    assert dataset.form.dtype == "int64"
    assert len(dataset.form.vocabulary) == tokenizer.size
    assert dataset.form.samples == {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}


@pytest.mark.parametrize(("tokens", "dtype"), zip(KINDS, ["uint8", "uint8", "uint16"], strict=True))
def test_tokens_are_kept_in_the_smallest_type(tmp_path, tokens, dtype):
    assert _text(tmp_path, **tokens).train.x.dtype == dtype


def test_bytes_per_token_are_those_of_the_test_part(tmp_path):
    lines = [0] * 60 + [2] * 15
    assert _text(tmp_path, lines=lines, tokens="byte", context=8).form.bytes_per_token == 1.0
    character = _text(tmp_path, lines=lines, tokens="character", context=8)
    assert character.form.bytes_per_token == pytest.approx(10 / 9)  # of "Ende: ü!\n" one character takes two bytes
    subword = _text(tmp_path, lines=lines, tokens="subword", vocabulary=300, context=8)
    tokens = encode(subword.form.preprocessing, "Ende: \u00fc!\n" * 15)
    assert subword.form.bytes_per_token == pytest.approx(150 / len(tokens))


def test_characters_that_training_has_not_seen_are_told_and_become_the_unknown_token(tmp_path):
    said = _Said()
    dataset = _text(tmp_path, lines=[0] * 60 + [2] * 15, tokens="character", context=8, progress=said)
    assert "\u00fc" not in dataset.form.vocabulary
    assert dataset.form.vocabulary[0] == "\ufffd"
    assert dataset.form.vocabulary[1:4] == ("\\n", " ", "0")
    assert (dataset.test.x == 0).any()
    assert not (dataset.train.x == 0).any()
    assert said.lines == ["45 of 135 characters of the test part never come in training"]  # E, ü and ! of each line


def test_tokenizers_learn_from_the_training_part_alone(tmp_path):
    changed = PROSE[: PROSE.index("Ende")] + "zzzz zzzz\n" * 15
    lines = [0] * 60 + [2] * 15
    for tokens in KINDS[1:]:
        contracts = [_text(tmp_path, text, lines=lines, **tokens).form.preprocessing for text in (PROSE, changed)]
        assert contracts[0] == contracts[1]


def test_text_without_a_last_line_end_is_all_there(tmp_path):
    dataset = _text(tmp_path, PROSE + "the end", tokens="byte", context=4)
    assert dataset.test.x.tobytes()[-3:] in b"the end"
    parts = text_parts(b"a\nb\nc", np.array([0, 255, 2]))
    assert parts == {"train": b"a\n", "validation": b"", "test": b"c"}


@pytest.mark.parametrize(
    ("data", "split", "message"),
    [
        (b"a\nb\nc\n", [0, 0, 0, 2], "split is not of this text"),
        (b"a\nb\nc", [0, 2], "split is not of this text"),
        (b"a\nb\nc\n", [0, 2, 0], "one piece"),
    ],
    ids=["a-line-more", "a-line-fewer", "scattered"],
)
def test_a_split_that_does_not_fit_the_text_is_refused(data, split, message):
    with pytest.raises(UsageError, match=message):
        text_parts(data, np.array(split))


@pytest.mark.parametrize(
    ("lines", "tokens", "message"),
    [
        ([0] * (LINES - 1) + [2], {"tokens": "byte", "context": 16}, "test part is shorter"),
        ([0] + [2] * (LINES - 1), {"tokens": "byte", "context": 64}, "train part is shorter"),
        ([0] * 60 + [2] * 15, {"tokens": "subword", "vocabulary": 256}, "begins with the 256 bytes"),
        ([0] * 60 + [2] * 15, {"tokens": "bins"}, "for a series of numbers"),
    ],
    ids=["short-test", "short-train", "small-vocabulary", "bins"],
)
def test_text_that_gives_no_tokens_is_refused(tmp_path, lines, tokens, message):
    with pytest.raises(UsageError, match=message):
        _text(tmp_path, lines=lines, **tokens)


def test_a_wanted_validation_part_needs_a_row(tmp_path):
    lines = [0] * 60 + [1] + [2] * 14
    with pytest.raises(UsageError, match="validation part is shorter"):
        _text(tmp_path, lines=lines, tokens="byte", context=16, validation_ratio=0.1)


def _slow_merges(text, count):
    """Byte pair encoding word for word as it is defined: all pairs counted anew for every merge."""
    words = [(list(piece), times) for piece, times in Counter(pieces(text.encode())).items()]
    merges = []
    for number in range(256, 256 + count):
        pairs = Counter()
        for word, times in words:
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        words = [(merge_pair(word, best, number), times) for word, times in words]
        merges.append(list(best))
    return merges


@settings(max_examples=60, deadline=None)
@given(st.text("ab \u00fc.", min_size=1, max_size=200) | st.text(min_size=1, max_size=60))
def test_merges_are_those_of_the_definition(text):
    record = learn_tokenizer(text, TextSettings(tokens="subword", vocabulary=290), Silent())
    assert record["merges"] == _slow_merges(text, 34)


def test_merges_end_when_no_pair_comes_twice_and_that_is_said():
    said = _Said()
    record = learn_tokenizer("abab", TextSettings(tokens="subword", vocabulary=300), said)
    assert record["merges"] == [[97, 98]]
    assert "no pair comes twice after 257 of 300" in said.lines[0]


def test_subwords_encode_the_training_text_as_it_was_merged():
    record = learn_tokenizer(PROSE, TextSettings(tokens="subword", vocabulary=330), Silent())
    tokenizer = read_tokenizer(record)
    tokens = tokenizer.encode(PROSE)
    assert tokenizer.decode(tokens) == PROSE
    assert len(PROSE.encode()) / len(tokens) > 2.5


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=200), st.integers(2, 20))
def test_bins_fit_the_runtime_and_none_is_empty(values, vocabulary):
    values = np.array(values)
    if len(set(np.sort(values)[np.arange(1, vocabulary) * len(values) // vocabulary]) - {values.min()}) == 0:
        with pytest.raises(UsageError, match="hardly varies"):
            learn_bins(values, vocabulary, Silent())
        return
    tokenizer = read_tokenizer(json.loads(json.dumps(learn_bins(values, vocabulary, Silent()))))
    tokens = tokenizer.encode(values)
    assert set(tokens.tolist()) == set(range(tokenizer.size))
    assert tokenizer.size <= vocabulary
    assert np.array_equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)


def test_bins_share_different_values_evenly():
    tokenizer = read_tokenizer(learn_bins(np.random.Generator(np.random.PCG64(1)).permutation(1000), 8, Silent()))
    assert np.bincount(tokenizer.encode(np.arange(1000))).tolist() == [125] * 8
    assert tokenizer.decode([0, 7]).tolist() == [62, 937]


def _numbers(folder, values, split, columns=None, scale="none", missing="refuse", table=None, **tokens):
    columns = {"flow": Column(), **(columns or {})}
    data = DataSettings(
        source="own.csv",
        columns=columns,
        text=TextSettings(**{"tokens": "bins", "vocabulary": 6, "context": 4, **tokens}),
        clean=CleanSettings(scale=scale, missing=missing),
    )
    frame = pd.DataFrame({"flow": values, **(table or {})})
    with RowsWriter(folder / "rows.parquet", columns) as writer:
        writer.append(frame.astype({name: frame_type(column) for name, column in columns.items()}))
    np.save(folder / "split.npy", np.asarray(split, np.uint8))
    files = {name: folder / name for name in ("rows.parquet", "split.npy")}
    collected = _collected("rows", len(frame))
    fit(files, collected, data, 3, folder)
    files |= {path.name: path for path in folder.glob("*.*") if path.name in ("fitted.json", "dropped.npy")}
    return shape(files, collected, data, "by hand", Silent())


def _flow(rows=60):
    return np.random.Generator(np.random.PCG64(4)).normal(10, 4, rows).round(3)


def test_a_column_of_numbers_becomes_rows_of_bins(tmp_path):
    values, split = _flow(), [0] * 40 + [2] * 20
    dataset = _numbers(tmp_path, values, split)
    contract = json.loads(json.dumps(dataset.form.preprocessing))
    tokens = encode(contract, {"flow": values})
    expected = [tokens[start : start + 5] for start in range(0, 36, 4)]
    assert np.array_equal(dataset.train.x, expected)
    assert np.array_equal(dataset.test.x, [tokens[start : start + 5] for start in range(40, 56, 4)])
    assert dataset.train.x.dtype == np.uint8
    assert dataset.form.features == ("flow",)
    assert dataset.form.bytes_per_token is None
    assert len(dataset.form.vocabulary) == 6
    centres = contract_tokenizer(contract).decode(tokens)
    assert np.sqrt(np.mean((centres - values) ** 2)) < 0.4 * values.std()


def test_bins_take_filled_gaps_and_lose_dropped_rows(tmp_path):
    values, split = _flow(), [0] * 40 + [2] * 20
    values[7] = np.nan
    (tmp_path / "filled").mkdir()
    (tmp_path / "dropped").mkdir()
    assert len(_numbers(tmp_path / "filled", values, split, missing="mean").train) == 9
    dropped = _numbers(tmp_path / "dropped", values, split, missing="drop")
    assert len(dropped.train) == 1 + 7  # rows 0 to 6 and 8 to 39


def test_bins_stay_inside_a_recording(tmp_path):
    columns = {"group": Column(type="category", role="group")}
    table = {"group": ["x"] * 7 + ["y"] * 33 + ["z"] * 20}
    dataset = _numbers(tmp_path, _flow(), [0] * 40 + [2] * 20, columns=columns, table=table)
    assert len(dataset.train) == 1 + 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": "character"}, "becomes tokens by bins"),
        ({"scale": "standard"}, "whatever their scale"),
        ({"columns": {"more": Column()}, "table": {"more": _flow()}}, "one column of numbers"),
        ({"context": 30}, "test part is shorter"),
        ({"values": np.full(60, 2.5)}, "hardly varies"),
    ],
    ids=["text-tokens", "scale", "two-features", "context", "constant"],
)
def test_numbers_that_give_no_tokens_are_refused(tmp_path, changed, message):
    with pytest.raises(UsageError, match=message):
        _numbers(tmp_path, **{"values": _flow(), "split": [0] * 40 + [2] * 20, **changed})
