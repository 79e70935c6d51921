"""What a summary says of a model that writes tokens."""

from __future__ import annotations

from typing import Any

import pytest

from edgegen.bench.summary import _generation_table
from edgegen.bench.texts import texts_of

COSTS = {"instructions_per_token": 186_173, "bytes_per_token": 971_362, "tokens_per_s": None, "peak_ram_bytes": 1 << 20}
CLOCKED = {"instructions_per_token": None, "bytes_per_token": None, "tokens_per_s": 1234.5, "peak_ram_bytes": 1 << 20}
ROLLED = {
    "top1_agreement_ratio": 0.953125, "nats_per_token": 1.2, "parents_nats_per_token": 1.1, "places": 256,
    "same_tokens": 63, "written_tokens": 64, "kernels": "host x86_64",
    "prompt_text": "In the ", "text": "beginning God < made", "parents_text": "beginning God & made it",
}  # fmt: skip


def document(**changes: Any) -> dict[str, Any]:
    known = {
        "context": 64,
        "memory": {"kept": "ring", "bytes_per_token": 768, "bytes_at_full_context": 49_152},
        "decode": COSTS,
        "prefill": {
            **COSTS,
            "file": "prefill.onnx",
            "size_bytes": 283_696,
            "block": 16,
            "instructions_per_token": 77_539,
        },
        "no_prefill": "",
        "rolled_out": ROLLED,
        "no_rolled_out": "",
    }
    return {"generation": {**known, **changes}}


def told(**changes: Any) -> str:
    return "\n".join(_generation_table(document(**changes)))


@pytest.mark.parametrize("document", [{}, {"generation": None}])
def test_other_models_have_no_such_table(document: dict[str, Any]) -> None:
    assert _generation_table(document) == []


def test_both_files_memory_and_agreement_are_told() -> None:
    said = told()
    for part in (
        "186,173",
        "77,539",
        "16 at once",
        "prefill.onnx, 277.0 KiB",
        "768 bytes a token",
        "95.3 % of 256 places",
    ):
        assert part in said
    assert "63 of 64 tokens" in said
    assert said.count("not measured") == 2


def test_what_is_not_there_is_said() -> None:
    state = {"kept": "state", "bytes_per_token": 0, "bytes_at_full_context": 800}
    lacks = {
        "prefill": None,
        "no_prefill": "too large",
        "rolled_out": None,
        "no_rolled_out": "its memory is in integers",
    }
    said = told(decode=CLOCKED, memory=state, **lacks)
    assert "No second file that reads a prompt in blocks: too large" in said
    assert "Not read beside the float model: its memory is in integers" in said
    assert said.count("not counted") == 2
    assert "1,234" in said or "1,235" in said
    assert "a token\n" not in said.split("Memory:")[1]


def test_texts_part_where_they_differ_first() -> None:
    texts = texts_of(document())
    assert texts is not None
    assert (texts.prompt, texts.same) == ("In the ", "beginning God ")
    assert (texts.other, texts.parents_other) == ("< made", "& made it")


def test_a_text_that_only_goes_on_parts_at_its_end() -> None:
    texts = texts_of(document(rolled_out={**ROLLED, "text": "begin", "parents_text": "beginning"}))
    assert texts is not None
    assert (texts.same, texts.other, texts.parents_other) == ("begin", "", "ning")
