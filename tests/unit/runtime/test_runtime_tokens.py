"""Tokenizers on a device: what is encoded comes back, and a record that a stranger wrote is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen_runtime.contract import PreprocessError
from edgegen_runtime.tokens import PIECE_BYTES, UNKNOWN, contract_tokenizer, encode, merge_pair, pieces, read_tokenizer

MERGES = [[116, 104], [256, 101], [32, 257], [97, 97], [259, 259], [195, 169], [10, 10]]  # th the " the" aa aaaa é \n\n
SUBWORD = {"kind": "subword", "merges": MERGES}
BINS = {"kind": "bins", "edges": [0.0, 1.5], "centres": [-3.0, 0.75, 9.0]}
TEXT = st.text(max_size=300) | st.text("the aé\n", max_size=300)


@settings(max_examples=150, deadline=None)
@given(TEXT)
@pytest.mark.parametrize("record", [{"kind": "byte"}, SUBWORD], ids=["byte", "subword"])
def test_any_text_comes_back_from_its_tokens(record, text):
    tokenizer = read_tokenizer(record)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode(tokens.tolist()) == text
    assert tokens.dtype == np.uint16


@settings(max_examples=150, deadline=None)
@given(TEXT, TEXT)
def test_text_of_an_alphabet_comes_back_and_other_characters_become_the_unknown_one(training, text):
    if not training:
        return
    tokenizer = read_tokenizer({"kind": "character", "alphabet": "".join(sorted(set(training)))})
    assert tokenizer.decode(tokenizer.encode(training)) == training
    expected = "".join(letter if letter in training else UNKNOWN for letter in text)
    assert tokenizer.decode(tokenizer.encode(text)) == expected
    assert len(tokenizer.encode(text)) == len(text)


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_pieces_are_short_and_make_up_the_text(text):
    found = pieces(text.encode())
    assert b"".join(found) == text.encode()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", [b"one", b" two"]),
        ("a  b", [b"a", b" ", b" b"]),
        ("end.\n\nNew", [b"end", b".", b"\n", b"\n", b"New"]),
        ("it's 2x", [b"it", b"'", b"s", b" 2x"]),
        ("caf\u00e9 \u65e5", ["caf\u00e9".encode(), " \u65e5".encode()]),
        ("\x00\x7f", [b"\x00", b"\x7f"]),
        (" " * 70, [b" " * 64, b" " * 6]),
    ],
)
def test_pieces_are_words_signs_and_blanks(text, expected):
    assert pieces(text.encode()) == expected


def test_subwords_do_the_earliest_merge_first_and_stay_inside_pieces():
    tokenizer = read_tokenizer(SUBWORD)
    assert tokenizer.size == 256 + len(MERGES)
    assert tokenizer.encode("the the").tolist() == [257, 258]
    assert tokenizer.encode("aaaaa").tolist() == [260, 97]
    assert tokenizer.encode("a\n\nb").tolist() == [97, 10, 10, 98]  # a lone line end belongs to what follows
    assert tokenizer.encode("at he").tolist() == [97, 116, 32, 104, 101]


def test_subwords_keep_words_that_were_seen_before():
    tokenizer = read_tokenizer(SUBWORD)
    assert tokenizer.encode("the " * 3).tolist() == tokenizer.encode("the " * 3).tolist()
    long = "".join(chr(0x100 + number % 500) for number in range(70_000))
    assert tokenizer.decode(tokenizer.encode(long)) == long


def test_subwords_take_a_run_of_a_million_letters():
    tokenizer = read_tokenizer(SUBWORD)
    assert tokenizer.decode(tokenizer.encode("a" * 1_000_000)) == "a" * 1_000_000


def test_merge_pair_merges_from_the_left():
    assert merge_pair([1, 1, 1, 2, 1, 1], (1, 1), 9) == [9, 1, 2, 9]


@given(st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_bins_come_back_as_centres_that_fall_into_the_same_bins(values):
    tokenizer = read_tokenizer(BINS)
    tokens = tokenizer.encode(np.array(values, np.float64))
    assert tokens.tolist() == [int(value >= 0) + int(value >= 1.5) for value in values]
    centres = tokenizer.decode(tokens)
    assert centres.tolist() == [[-3.0, 0.75, 9.0][token] for token in tokens]
    assert tokenizer.encode(centres).tolist() == tokens.tolist()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"kind": "byte"}, {10: "\\n", 65: "A", 32: " ", 200: "\\xc8"}),
        ({"kind": "character", "alphabet": "\n aé"}, {0: UNKNOWN, 1: "\\n", 2: " ", 4: "é"}),
        (SUBWORD, {258: " the", 261: "é", 262: "\\n\\n"}),
        (BINS, {0: "-3", 1: "0.75", 2: "9"}),
    ],
    ids=["byte", "character", "subword", "bins"],
)
def test_tokens_can_be_read_by_people(record, expected):
    tokenizer = read_tokenizer(record)
    texts = tokenizer.texts()
    assert len(texts) == tokenizer.size
    assert {token: texts[token] for token in expected} == expected
    assert all(text.isprintable() for text in texts)


REFUSED = {
    "no table": [],
    "no kind": {},
    "unknown kind": {"kind": "word"},
    "kind no text": {"kind": ["byte"]},
    "key too many": {"kind": "byte", "alphabet": "a"},
    "key missing": {"kind": "subword"},
    "no alphabet": {"kind": "character", "alphabet": ""},
    "alphabet no text": {"kind": "character", "alphabet": ["a", "b"]},
    "alphabet not in order": {"kind": "character", "alphabet": "ba"},
    "letter twice": {"kind": "character", "alphabet": "aab"},
    "alphabet too long": {"kind": "character", "alphabet": "".join(map(chr, range(0x10000, 0x20000)))},
    "half a surrogate": {"kind": "character", "alphabet": "a\ud800"},
    "merges no list": {"kind": "subword", "merges": "ab"},
    "merge of three": {"kind": "subword", "merges": [[1, 2, 3]]},
    "merge of one": {"kind": "subword", "merges": [[1]]},
    "merge of itself": {"kind": "subword", "merges": [[256, 1]]},
    "merge of text": {"kind": "subword", "merges": [["a", "b"]]},
    "merge of true": {"kind": "subword", "merges": [[True, 1]]},
    "merge below zero": {"kind": "subword", "merges": [[-1, 1]]},
    "merge twice": {"kind": "subword", "merges": [[1, 2], [1, 2]]},
    "merges that double": {"kind": "subword", "merges": [[number, number] for number in (1, *range(256, 300))]},
    "too many merges": {"kind": "subword", "merges": [[0, 0]] * 65_281},
    "one bin": {"kind": "bins", "edges": [], "centres": [1.0]},
    "edge missing": {"kind": "bins", "edges": [0.0], "centres": [-1.0, 1.0, 2.0]},
    "edges descend": {"kind": "bins", "edges": [1.0, 0.0], "centres": [-1.0, 0.5, 2.0]},
    "centre outside": {"kind": "bins", "edges": [0.0], "centres": [1.0, 2.0]},
    "edge infinite": {"kind": "bins", "edges": [float("inf")], "centres": [1.0, 2.0]},
    "centre text": {"kind": "bins", "edges": [0.0], "centres": ["-1", 2.0]},
}


@pytest.mark.parametrize("record", REFUSED.values(), ids=REFUSED)
def test_a_record_that_is_no_tokenizer_is_refused(record):
    with pytest.raises(PreprocessError):
        read_tokenizer(record)


@pytest.mark.parametrize("tokens", [[256], [-1], [1.0], [[1]], "a"], ids=["large", "negative", "float", "rows", "text"])
def test_what_is_no_token_is_not_decoded(tokens):
    with pytest.raises(PreprocessError, match="tokens are"):
        read_tokenizer({"kind": "byte"}).decode(tokens)


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [[1.0]], ["1"]], ids=["nan", "inf", "two-axes", "text"])
def test_what_falls_into_no_bin_is_refused(values):
    with pytest.raises(PreprocessError, match="finite numbers"):
        read_tokenizer(BINS).encode(np.array(values))


def test_bytes_that_are_no_text_become_the_unknown_character():
    assert read_tokenizer({"kind": "byte"}).decode([65, 255, 66]) == f"A{UNKNOWN}B"


def _contract(record, *steps, **declared):
    return {"schema_version": 1, "input": declared, "steps": [*steps, {"do": "tokens", "tokenizer": record}]}


def test_a_contract_of_text_encodes_and_decodes():
    contract = _contract(SUBWORD, kind="text", encoding="utf-8")
    tokens = encode(contract, "in the end")
    assert contract_tokenizer(contract).decode(tokens) == "in the end"


def test_a_contract_of_numbers_encodes_a_column():
    columns = [{"name": "flow", "type": "number", "missing": True}]
    steps = ({"do": "fill", "values": {"flow": 2.0}}, {"do": "select", "columns": ["flow"]})
    contract = _contract(BINS, *steps, kind="table", columns=columns)
    assert encode(contract, {"flow": [-1.0, 0.0, None]}).tolist() == [0, 1, 2]
    assert contract_tokenizer(contract).decode([2]).tolist() == [9.0]


@pytest.mark.parametrize(
    ("contract", "raw", "message"),
    [
        ({"input": {}, "steps": []}, "a", "last step"),
        ({"input": {}}, "a", "steps"),
        ([], "a", "contract"),
        (_contract({"kind": "byte"}, kind="text"), b"a", "no text"),
        (_contract({"kind": "byte"}, kind="text"), "\udc80", "not Unicode"),
        (_contract(BINS, shape=[2]), np.zeros((4, 2)), "one column"),
    ],
    ids=["no-step", "no-steps", "no-contract", "bytes", "surrogate", "two-columns"],
)
def test_encoding_refuses_what_does_not_fit(contract, raw, message):
    with pytest.raises(PreprocessError, match=message):
        encode(contract, raw)
