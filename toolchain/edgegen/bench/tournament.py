"""The runtime tournament: of each recipe, which format and runtime is the cheapest on the target that keeps quality.

Every candidate is one format of one recipe on the runtime that the target has for it, so the tournament is read off
the judged candidates: by counted instructions where the target counts, by the measured median where it has a clock.
Which candidate ships is ``choose``'s to say, over all recipes; its rule is the one used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgegen.bench.choose import cost
from edgegen.bench.wording import figure, size
from edgegen.core.results import Candidate

_KEEPS = ("chosen", "eligible")


def tournament(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """A round a recipe (and point) that was tried in more than one format, in the order of the candidates.

    Returns:
        rounds with ``recipe``, ``point``, ``winner`` (a candidate's name, None where none keeps every required
        budget), ``why``, and ``entries``: ``candidate``, ``format``, ``runtime``, ``instructions`` and ``p50_ms``
        (None where that was not had), ``size_bytes``, ``quality`` (the paired figures), ``status`` and ``why_not``.
    """
    rounds: dict[tuple[str, str], list[Candidate]] = {}
    for item in candidates:
        rounds.setdefault((item.recipe, item.point), []).append(item)
    return [
        {"recipe": recipe, "point": point, **_won(entries), "entries": [_entry(item) for item in entries]}
        for (recipe, point), entries in rounds.items()
        if sum(item.status != "not built" for item in entries) > 1
    ]


def _won(entries: list[Candidate]) -> dict[str, Any]:
    keeping = sorted(
        (item for item in entries if item.status in _KEEPS), key=lambda item: (bool(item.alarms), cost(item))
    )
    # What could not be judged may keep them all the same.
    keeps = "is known to keep" if any(item.status == "unmeasured" for item in entries) else "keeps"
    if not keeping:
        return {"winner": None, "why": f"no format of it {keeps} every required budget"}
    winner = keeping[0]
    if len(keeping) == 1:
        return {"winner": winner.name, "why": f"the only format of it that {keeps} every required budget"}
    return {"winner": winner.name, "why": _why(winner, keeping[1])}


def _why(winner: Candidate, second: Candidate) -> str:
    if second.alarms and not winner.alarms:
        return f"{second.name} costs more than the float model in its format"
    if winner.counted and second.counted and winner.counted.instructions < second.counted.instructions:
        less = 100 * (1 - winner.counted.instructions / second.counted.instructions)
        return f"{figure(round(less, 2))} % fewer instructions than {second.name}"
    if winner.measured and second.measured and winner.measured.p50_ms < second.measured.p50_ms:
        less = 100 * (1 - winner.measured.p50_ms / second.measured.p50_ms)
        return f"{figure(round(less, 1))} % less time than {second.name}"
    return f"no dearer than {second.name}, and first by size or name"


def _entry(item: Candidate) -> dict[str, Any]:
    return {
        "candidate": item.name,
        "format": item.format,
        "runtime": item.runtime,
        "instructions": item.counted.instructions if item.counted else None,
        "p50_ms": item.measured.p50_ms if item.measured else None,
        "size_bytes": item.size_bytes,
        "quality": dict((item.quality or {}).get("paired", {})),
        "status": item.status,
        "why_not": item.why_rejected,
    }


def round_name(item: Mapping[str, Any]) -> str:
    """The recipe of a round of the document, with its point where it has one."""
    return f"{item['recipe']}:{item['point']}" if item["point"] else str(item["recipe"])


def round_winner(item: Mapping[str, Any]) -> str:
    """``onnx on onnxruntime``, or ``none``."""
    won = next((entry for entry in item["entries"] if entry["candidate"] == item["winner"]), None)
    return f"{won['format']} on {won['runtime']}" if won else "none"


def tournament_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rounds for the page: what each format costs, the winner marked."""
    return [
        {
            "name": round_name(item),
            "why": item["why"],
            "entries": [
                {
                    "format": entry["format"],
                    "runtime": entry["runtime"],
                    "cost": _cost_text(entry),
                    "size": size(entry["size_bytes"]),
                    "status": entry["status"],
                    "won": entry["candidate"] == item["winner"],
                }
                for entry in item["entries"]
            ],
        }
        for item in document.get("tournament") or []
    ]


def _cost_text(entry: Mapping[str, Any]) -> str:
    if entry["instructions"] is not None:
        return f"{figure(entry['instructions'])} instructions"
    return "not known" if entry["p50_ms"] is None else f"{figure(entry['p50_ms'])} ms"
