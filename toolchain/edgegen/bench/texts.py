"""What a model that writes tokens costs and writes, as rows for the summary and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.bench.wording import figure, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """``generation`` of a result document in words."""

    costs: tuple[Mapping[str, str], ...]  # name, instructions, bytes, speed, ram; a token each
    facts: tuple[str, ...]
    prompt: str  # what both texts follow; empty: the tokens are no text
    same: str  # of the candidate's text, what is the float model's too
    other: str  # the rest of it
    parents_other: str  # the rest of the float model's


def texts_of(document: Mapping[str, Any]) -> Texts | None:
    """None for a model that writes no tokens."""
    told = document.get("generation")
    if not told:
        return None
    rolled = told["rolled_out"] or {"prompt_text": "", "text": "", "parents_text": ""}
    pairs = zip(rolled["text"], rolled["parents_text"], strict=False)
    shortest = min(len(rolled["text"]), len(rolled["parents_text"]))
    same = next((place for place, pair in enumerate(pairs) if len(set(pair)) > 1), shortest)
    return Texts(
        costs=tuple(_costs(told)),
        facts=tuple(_facts(told)),
        prompt=rolled["prompt_text"],
        same=rolled["text"][:same],
        other=rolled["text"][same:],
        parents_other=rolled["parents_text"][same:],
    )


def _costs(told: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    rows = {"a token written (tg)": told["decode"]}
    if told["prefill"]:
        block = told["prefill"]["block"]
        rows["a token of a prompt" + (f", {block} at once (pp)" if block > 1 else " (pp)")] = told["prefill"]
    for name, item in rows.items():
        counts = (item[key] for key in ("instructions_per_token", "bytes_per_token"))
        instructions, moved = ("not counted" if count is None else figure(count) for count in counts)
        speed = "not measured" if item["tokens_per_s"] is None else figure(item["tokens_per_s"])
        ram = size(item["peak_ram_bytes"])
        yield {"name": name, "instructions": instructions, "bytes": moved, "speed": speed, "ram": ram}


def _facts(told: Mapping[str, Any]) -> Iterator[str]:
    memory, rolled, lacks = told["memory"], told["rolled_out"], told["no_rolled_out"]
    if told["prefill"] and told["prefill"]["file"]:
        read = told["prefill"]
        yield f"{read['file']}, {size(read['size_bytes'])}, reads the prompt; without it the model's own file does"
    elif told["no_prefill"]:
        yield f"No second file that reads a prompt in blocks: {told['no_prefill']}"
    kept = f"Memory: {size(memory['bytes_at_full_context'])}, all of it from the first token on"
    yield f"{kept}; {size(memory['bytes_per_token'])} a token" if memory["bytes_per_token"] else kept
    if rolled:
        agreed = f"the same first token in {100 * rolled['top1_agreement_ratio']:.1f} % of {rolled['places']} places"
        parted = f"{rolled['same_tokens']} of {rolled['written_tokens']} tokens of a text before the first difference"
        yield f"Beside the float model, each with its own memory, on {rolled['kernels']}: {agreed}; {parted}"
    elif lacks:
        yield f"Not read beside the float model: {lacks}"
