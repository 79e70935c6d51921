"""Why a figure moved between two builds: operators, passes, settings, tools and data that changed, first cause first.

Only counts can be taken apart exactly, for they add up: what the operators moved and what the runtime does outside them
make the whole. A model file that is the same byte for byte cannot have moved anything, so then the runtime, the
emulator or the core did. Where both changed, operators that came, went or became another kernel are the model's; those
that are there on both sides and cost another number are the runtime's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.bench.operators_matched import Matched, match_operators
from edgegen.bench.sides import MADE_FROM, Side

Kind = Literal["candidate", "operator", "operators", "runtime", "core", "tool", "step", "setting", "data", "version"]

_RUNTIME_TOOLS = {
    "onnxruntime": ("onnxruntime",),
    "litert": ("litert", "ai-edge-litert"),
    "executorch": ("executorch",),
}
_RUNNING_TOOLS = ("qemu", "plugin", "runner", "guest-libraries", "edgegen_runtime", "null", "driver", "kernels")
# What an operator's figure may differ by although its work is equal: its memory lies elsewhere on the heap.
_NOISE, _NOISE_RATIO = 600, 0.01
_ENVIRONMENTS_RATIO = 0.005  # counts of equal work differ by up to this much between environments


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that differs between two builds."""

    kind: Kind
    name: str
    said: str  # one clause: what became of it
    moved: float | None = None  # how much of the figure's change it makes; None: not to be told apart
    share: float | None = None  # of the whole change
    operators: tuple[Mapping[str, Any], ...] = ()  # where it shows, the most moved first


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The change of one figure, taken apart."""

    metric: str
    old: float
    new: float
    causes: tuple[Cause, ...]  # those with a part of their own first, the greatest first
    unexplained: float | None  # what no cause moved; None: the figure cannot be taken apart
    notes: tuple[str, ...]

    @property
    def moved(self) -> float:
        """New less old."""
        return self.new - self.old


def attribute(old: Side, new: Side, metric: str) -> Attribution:
    """What moved ``metric``, which both sides have."""
    before, after = old.figures[metric], new.figures[metric]
    moved = after - before
    notes: list[str] = []
    parts: list[Cause] = []
    exact = metric == "instructions"
    if exact:
        parts = _chosen(old, new) or _of_counts(old, new, moved, notes)
    elif old.candidate != new.candidate:
        parts = [_candidate(old, new, moved)]
    silent = " and ".join(side.source for side in (old, new) if not side.build_told)
    if silent:
        notes.append(f"passes, settings and data cannot be compared: a run does not tell them ({silent})")
        if old.model_sha256 != new.model_sha256:
            notes.append("the model file is not the same")
    if old.core != new.core and exact:
        notes.append(f"counted on two cores, {old.core} and {new.core}: what that moved is in every part")
    known = {(part.kind, part.name) for part in parts}
    rest = [cause for cause in _differences(old, new) if (cause.kind, cause.name) not in known]
    explained = sum(part.moved or 0.0 for part in parts)
    parts = sorted(parts, key=lambda part: -abs(part.moved or 0.0))
    return Attribution(
        metric=metric,
        old=before,
        new=after,
        causes=(*(_with_share(part, moved) for part in parts), *rest),
        unexplained=moved - explained if parts or exact else None,
        notes=tuple(notes),
    )


def _chosen(old: Side, new: Side) -> list[Cause]:
    """Another candidate ships: how much that moved, and how much the old one itself would have."""
    if old.candidate == new.candidate:
        return []
    stayed = new.others.get(old.candidate)
    if stayed is None:
        return [_candidate(old, new, new.figures["instructions"] - old.figures["instructions"])]
    causes = [_candidate(old, new, new.figures["instructions"] - stayed)]
    own = stayed - old.figures["instructions"]
    if own:
        said = f"built anew it takes {stayed:,.0f} instructions, {own:+,.0f}"
        causes.append(Cause(kind="candidate", name=f"{old.candidate} itself", said=said, moved=own))
    return causes


def _candidate(old: Side, new: Side, moved: float) -> Cause:
    said = f"another candidate ships: {old.candidate} before, {new.candidate} now"
    return Cause(kind="candidate", name=new.candidate, said=said, moved=moved)


def _of_counts(old: Side, new: Side, moved: float, notes: list[str]) -> list[Cause]:
    """The change of the instructions by cause."""
    running = _running(old, new)
    told = bool(old.operators and new.operators)
    matched = match_operators(old.operators, new.operators) if told else []
    if moved and abs(moved) <= _ENVIRONMENTS_RATIO * old.figures["instructions"]:
        notes.append("a change of up to 0.5 % may be the environment's: counts of equal work differ by that much")
    if not told:
        notes.append("the operators were not counted one by one on both sides: models under emulation are")
    if old.model_sha256 is not None and old.model_sha256 == new.model_sha256:
        if running and moved:
            return [_joint(running, moved, matched)]
        parts = _in_place(matched)
    elif not running:
        parts = [*_structure(matched), *_in_place(matched)]
    else:
        own = [item for item in matched if item.same and _beyond_noise(item)]
        environment = float(sum(item.moved for item in own))
        parts = [*_structure(matched), *([_joint(running, environment, own)] if own else [])]
    return [*parts, *(_rest(old, new, matched, parts) if told else [])]


def _rest(old: Side, new: Side, matched: Sequence[Matched], parts: Sequence[Cause]) -> list[Cause]:
    """What is no operator's, and what operators moved by too little to be a cause: both known to the instruction."""
    before, after = (
        side.figures["instructions"] - sum(item.instructions for item in side.operators) for side in (old, new)
    )
    found = []
    if after != before:
        said = f"the runtime takes {before:,.0f} outside the operators before, {after:,.0f} now"
        found.append(Cause(kind="runtime", name="outside the operators", said=said, moved=after - before))
    little = sum(item.moved for item in matched) - sum(part.moved or 0.0 for part in parts)
    if little:
        said = f"each of them by less than can be told from chance ({_NOISE} instructions, or 1 % of it)"
        found.append(Cause(kind="operators", name="other operators together", said=said, moved=float(little)))
    return found


def _running(old: Side, new: Side) -> list[Cause]:
    """What the model ran on and differs, the likeliest to move a count first."""
    found = []
    if old.core != new.core:
        found.append(Cause(kind="core", name="core", said=f"{old.core} before, {new.core} now"))
    names = (*_RUNTIME_TOOLS.get(new.runtime, ()), *_RUNNING_TOOLS)
    return [*found, *_tools(old, new, names)]


def _tools(old: Side, new: Side, names: Iterable[str]) -> list[Cause]:
    return [
        Cause(kind="tool", name=name, said=f"{_short(old.tools[name])} before, {_short(new.tools[name])} now")
        for name in names
        if name in old.tools and name in new.tools and old.tools[name] != new.tools[name]
    ]


def _joint(running: Sequence[Cause], moved: float, matched: Sequence[Matched]) -> Cause:
    """The first of what differs, with all that they moved together: apart they cannot be told."""
    first = running[0]
    others = ", ".join(item.name for item in running[1:])
    said = f"{first.said}; together with {others}" if others else first.said
    return Cause(kind=first.kind, name=first.name, said=said, moved=moved, operators=_where(matched))


def _in_place(matched: Sequence[Matched]) -> list[Cause]:
    """Operators of the same name and kind that cost another number, by more than the noise of one operator."""
    return [
        Cause(
            kind="operator",
            name=item.new.name,
            said=f"{item.new.operator} takes {item.old.instructions:,} before, {item.new.instructions:,} now",
            moved=float(item.moved),
            operators=_where([item]),
        )
        for item in matched
        if item.same and item.old is not None and item.new is not None and _beyond_noise(item)
    ]


def _beyond_noise(item: Matched) -> bool:
    size = max(side.instructions for side in (item.old, item.new) if side is not None)
    return abs(item.moved) > max(_NOISE, _NOISE_RATIO * size)


def _structure(matched: Sequence[Matched]) -> list[Cause]:
    """Operators that came, went or became another kernel; neighbours are one cause, for they come and go together."""
    causes: list[Cause] = []
    group: list[Matched] = []
    for item in [*matched, None]:
        if item is not None and not item.same:
            group.append(item)
            continue
        # Work that stayed as it is ends a group; what only carries numbers lies within one.
        helper = item is not None and item.new is not None and item.new.helps
        if group and not helper:
            causes.append(_group(group))
            group = []
    return causes


def _group(group: Sequence[Matched]) -> Cause:
    """One cause of neighbours, named by the operator that does the work."""
    lead = max(group, key=_lead)
    moved = float(sum(item.moved for item in group))
    if lead.old is not None and lead.new is not None:
        name, said = lead.new.name, f"{lead.old.operator} before, {lead.new.operator} now"
    elif lead.new is not None:
        name, said = lead.new.name, f"{lead.new.operator} was added"
    else:
        assert lead.old is not None
        name, said = lead.old.name, f"{lead.old.operator} is gone"
    if len(group) > 1:
        said += f", with {len(group) - 1} beside it"
    return Cause(kind="operator", name=name, said=said, moved=moved, operators=_where(group))


def _lead(item: Matched) -> tuple[bool, float]:
    """Work before what carries numbers, the most moved before others."""
    present = item.new or item.old
    assert present is not None
    return not present.helps, abs(item.moved)


def _where(matched: Sequence[Matched]) -> tuple[Mapping[str, Any], ...]:
    rows = [
        {
            "name": (item.new or item.old).name,  # type: ignore[union-attr]
            "old_operator": None if item.old is None else item.old.operator,
            "new_operator": None if item.new is None else item.new.operator,
            "old": None if item.old is None else item.old.instructions,
            "new": None if item.new is None else item.new.instructions,
            "moved": item.moved,
        }
        for item in matched
        if item.moved or not item.same
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row["moved"])))


def _differences(old: Side, new: Side) -> list[Cause]:
    """What differs and has no part of its own: what may be behind the parts that have one."""
    found = _running(old, new)
    if old.build_told and new.build_told:
        if old.candidate == new.candidate:
            found += _steps(old, new)
        found += _settings(old, new)
    found += [
        Cause(kind="data", name=name, said="other data than before")
        for name, digest in new.data.items()
        if name in old.data and old.data[name] != digest
    ]
    tools = [name for name in new.tools if name not in _RUNNING_TOOLS]
    found += [item for item in _tools(old, new, tools) if item.name not in {cause.name for cause in found}]
    if old.version != new.version:
        found.append(Cause(kind="version", name="version", said=f"{old.version} before, {new.version} now"))
    return found


def _steps(old: Side, new: Side) -> list[Cause]:
    """Passes that came, went, or left another model behind."""
    before, after = ({str(item["step"]): item for item in side.passes} for side in (old, new))
    found = [Cause(kind="step", name=name, said="this pass is new") for name in after if name not in before]
    found += [Cause(kind="step", name=name, said="this pass is gone") for name in before if name not in after]
    for name in (item for item in after if item in before):
        moved = [
            f"{key} after it {before[name]['after'][key]} before, {after[name]['after'][key]} now"
            for key in ("macs", "parameters", "bytes")
            if key in before[name]["after"] and before[name]["after"][key] != after[name]["after"].get(key)
        ]
        if moved:
            found.append(Cause(kind="step", name=name, said="; ".join(moved)))
    return found


def _settings(old: Side, new: Side) -> list[Cause]:
    """Settings that differ, of those that both sides tell."""
    both = old.made_from_told and new.made_from_told
    names = [name for name in dict.fromkeys((*new.settings, *old.settings)) if both or not name.startswith(MADE_FROM)]
    found = []
    for name in names:
        if name.startswith("compress.") and old.candidate != new.candidate:
            continue  # another recipe has other steps: that is the cause itself
        before, after = old.settings.get(name, "unset"), new.settings.get(name, "unset")
        if before != after:
            found.append(Cause(kind="setting", name=name, said=f"{_short(before)} before, {_short(after)} now"))
    return found


def _with_share(cause: Cause, moved: float) -> Cause:
    if cause.moved is None or not moved:
        return cause
    return Cause(
        kind=cause.kind,
        name=cause.name,
        said=cause.said,
        moved=cause.moved,
        share=cause.moved / moved,
        operators=cause.operators,
    )


def _short(text: str) -> str:
    """Digests by their first digits: nobody reads sixty-four."""
    return text[:12] if len(text) >= 40 and all(digit in "0123456789abcdef" for digit in text) else text[:80]
