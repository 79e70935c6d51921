"""Two files of a model of sequences over whole rows on this host, each with what it remembers itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.export.golden import host_class
from edgegen.export.host_runtime import opened_on_host

if TYPE_CHECKING:
    import numpy as np

    from edgegen_runtime.generate import Reading

Fed = tuple[Path, Mapping[str, Any]]
"""A file that reads a token a step, and the rules of ``edgegen_runtime.generate`` by which it is fed."""


def rolled_out(
    candidate: Fed,
    parent: Fed,
    form: str,
    rows: np.ndarray[Any, Any],
    *,
    prompt: int,
    written: int,
    spell: Callable[[Sequence[int]], str],
) -> dict[str, Any]:
    """How often the two name the same next token first, and how far one text goes before they part.

    Args:
        rows: (rows, tokens + 1), read from the first token on; the last of each is only foretold.
        prompt: tokens of the first row that both texts follow, always with the likeliest token; ``written`` follow.
        spell: tokens as a person reads them; empty where they are no text.

    Returns:
        ``top1_agreement_ratio`` over all places; ``nats_per_token`` of both over the rows; ``same_tokens`` of
        ``written_tokens``: tokens of the two texts before their first difference; ``prompt_text`` and
        both texts; ``kernels``.

    Raises:
        BuildError: the runtime refuses a file, or it does not give what the rules say.
    """
    import numpy as np

    from edgegen_runtime.generate import Sampling, generate

    agree, nats, texts = [], [list[float](), list[float]()], []
    with ExitStack() as stack:
        sessions = [stack.enter_context(opened_on_host(path, form)) for path, _ in (candidate, parent)]

        def fresh(number: int) -> Reading:
            return _reading(sessions[number], (candidate, parent)[number][1])

        for row in rows:
            readings = [fresh(0), fresh(1)]
            for token, following in pairwise(row):
                scores = [reading.read([token]) for reading in readings]
                agree.append(int(np.argmax(scores[0])) == int(np.argmax(scores[1])))
                for number, given in enumerate(scores):
                    nats[number].append(float(np.logaddexp.reduce(given) - given[following]))
        greedy = Sampling(temperature=0)
        for number in (0, 1):
            texts.append(list(generate(fresh(number), rows[0, :prompt], written, greedy, seed=0)))
    same = next((place for place, pair in enumerate(zip(*texts, strict=True)) if len(set(pair)) > 1), written)
    return {
        "top1_agreement_ratio": float(f"{np.mean(agree):.6g}"),
        "nats_per_token": float(f"{np.mean(nats[0]):.6g}"),
        "parents_nats_per_token": float(f"{np.mean(nats[1]):.6g}"),
        "places": len(agree),
        "same_tokens": same,
        "written_tokens": written,
        "prompt_text": spell(rows[0, :prompt].tolist()),
        "text": spell(texts[0]),
        "parents_text": spell(texts[1]),
        "kernels": host_class(),
    }


def _reading(session: Any, rules: Mapping[str, Any]) -> Reading:
    from edgegen_runtime.generate import Model, Reading, read_rules

    return Reading(read_rules({"generation": dict(rules)}), Model(inputs=session.inputs, infer=session.infer))
