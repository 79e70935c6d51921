"""One measurement of a bundle as gates and histories keep it: a line of JSON, with all that its figures depend on.

A figure of one machine says nothing of another's, so a run carries the fingerprint of what its wall clock depends on.
Counts depend on the emulated core and the tools alone.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.digests import sha256_json
from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, setting, write_record
from edgegen.core.results import NumberKind
from edgegen.core.versions import machine_class
from edgegen.metrics.table import METRICS

SCHEMA_VERSION = 1
MAX_FIGURES, MAX_PROCESSES = 500, 10_000
_QUALITY_PARTS = ("paired", "task", "known", "expected")
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a run."""

    metric: str = setting(doc="its name, the unit as suffix")
    kind: NumberKind = setting(doc="counted, measured, exact or quality")
    value: float = setting(doc="the number")
    better: Literal["lower", "higher"] = setting("lower", doc="which side is the good one")
    processes: tuple[float, ...] = setting((), doc="measured: the number of every process by itself")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A bundle's figures on one device."""

    schema_version: Literal[1] = setting(SCHEMA_VERSION, doc="format of the line")
    when: str = setting(doc="UTC, as 2026-11-27T20:00:00Z")
    name: str = setting(doc="of the project")
    version: str = setting(doc="of the model")
    target: str = setting(doc="the profile's name")
    candidate: str = setting(doc="recipe@format")
    runtime: str = setting(doc="inference runtime")
    device: str = setting(doc="kind of device: qemu, host, ssh, …")
    core: str = setting(doc="what the device calls its core")
    machine: Mapping[str, str] = setting(doc="what a wall clock depends on")
    tools: Mapping[str, str] = setting({}, doc="versions and digests of what can change a figure")
    commit: str = setting("", doc="git commit of the project; empty: not known")
    dirty: bool = setting(False, doc="whether files differed from that commit")
    bundle_digest: str | None = setting(None, doc="of the bundle's core")
    model_sha256: str | None = setting(None, doc="of the model file")
    figures: tuple[Figure, ...] = setting(doc="the numbers")
    by_class: Mapping[str, int] | None = setting(None, doc="counted: instructions by class")
    per_operator: tuple[Mapping[str, Any], ...] | None = setting(None, doc="counted: name, operator, instructions")
    unsteady: str = setting("", doc="why its wall clock is not to be judged; empty: nothing was seen")
    notes: tuple[str, ...] = setting((), doc="what must be known before the figures are trusted")

    @property
    def fingerprint(self) -> str:
        """Short digest of ``machine``."""
        return sha256_json(dict(self.machine))[:16]

    def figure(self, metric: str) -> Figure | None:
        """The figure of that name, or None."""
        return next((item for item in self.figures if item.metric == metric), None)


def line_of(run: Run) -> str:
    """The run as one line of JSON, without the end of the line."""
    plain = {"fingerprint": run.fingerprint, **write_record(run)}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def run_of_line(data: Any, where: str) -> Run:
    """The run that a parsed line holds.

    Raises:
        UsageError: it is none, or one whose fingerprint is not its machine's.
    """
    if not isinstance(data, Mapping):
        raise UsageError("a line of the history is no object", where=where, got=type(data).__name__)
    plain = dict(data)
    said = plain.pop("fingerprint", None)
    run = read_record(Run, plain, "", where)
    if said != run.fingerprint:
        raise UsageError("the fingerprint is not the machine's", where=where, got=said, expected=run.fingerprint)
    if len(run.figures) > MAX_FIGURES or any(len(item.processes) > MAX_PROCESSES for item in run.figures):
        raise UsageError("a run holds more figures than it may", where=where, expected=f"at most {MAX_FIGURES}")
    for name in ("name", "version", "target", "candidate", "runtime", "device", "core", "commit", "when"):
        if not getattr(run, name).isprintable():
            raise UsageError(f"a run's {name} is no plain text", where=where, got=repr(getattr(run, name)[:80]))
    if len({item.metric for item in run.figures}) < len(run.figures):
        raise UsageError("a run holds one figure twice", where=where)
    for item in run.figures:
        if not all(math.isfinite(number) for number in (item.value, *item.processes)):
            raise UsageError("a figure is not finite", where=where, got=item.metric)
    return run


def here() -> dict[str, str]:
    """What the wall clock of this machine depends on: kind of machine, cores, memory; no name and no serial number."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (ValueError, OSError):
        memory = 0.0
    return {
        **machine_class(),
        "cores": str(os.cpu_count() or 1),
        "memory_gib": f"{memory:.0f}",
        "kernel": ".".join(platform.release().split(".")[:2]),
    }


def machine_of(*, kind: str, core: str, emulated: bool, tools: Mapping[str, str]) -> dict[str, str]:
    """The machine of a device's figures: an emulated core is the same everywhere, a board is itself.

    Args:
        tools: as the device's identity tells them; a board's name and processors are among them.
    """
    own = here() if kind in ("host", "gpu") else {}
    board = {name: tools[name] for name in ("board", "board-core") if name in tools}
    return {"core": core, "emulated": "yes" if emulated else "no", **board, **own}


def run_of_result(document: Mapping[str, Any], *, when: str, commit: str = "", dirty: bool = False) -> Run:
    """The run that a ``result.json`` tells of: its chosen candidate, else the closest.

    Raises:
        UsageError: nothing was measured, or the document is none.
    """
    candidate = shown(document)
    device = (document.get("environment") or {}).get("device")
    if candidate is None or not isinstance(device, Mapping):
        raise UsageError(
            "the result holds no measured candidate",
            where="result.json",
            got=f"exit code {document.get('exit_code')}",
            expected="a build whose device was there",
            next_step="edgegen doctor --target NAME says what is missing",
        )
    chosen = document.get("chosen") or {}
    counted = candidate.get("counted") or None
    tools = {str(name): str(version) for name, version in document["environment"].get("tools", {}).items()}
    kind, core, emulated = str(device.get("kind")), str(device.get("core")), bool(device.get("emulated"))
    return Run(
        when=when,
        name=str(document["name"]),
        version=str(document["version"]),
        target=str(document["target"]),
        candidate=str(candidate["name"]),
        runtime=str(candidate["runtime"]),
        device=kind,
        core=core,
        machine=machine_of(kind=kind, core=core, emulated=emulated, tools=tools),
        tools=tools,
        commit=commit,
        dirty=dirty,
        bundle_digest=chosen.get("bundle_digest"),
        model_sha256=candidate.get("sha256"),
        figures=tuple(_figures(candidate, document.get("generation"))),
        by_class=counted and dict(counted["by_class"]),
        per_operator=tuple(counted["per_operator"]) if counted and counted["per_operator"] else None,
        unsteady="; ".join(map(str, ((candidate.get("measured") or {}).get("board") or {}).get("drift", ()))),
        notes=tuple(map(str, device.get("notes", ()))),
    )


def shown(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The candidate that a result is about: the chosen one, else the closest."""
    chosen = document.get("chosen")
    name = chosen.get("candidate") if isinstance(chosen, Mapping) else document.get("closest")
    found: Iterable[Mapping[str, Any]] = (item for item in document.get("candidates", ()) if item["name"] == name)
    return next(iter(found), None)


def _figures(candidate: Mapping[str, Any], generation: Mapping[str, Any] | None) -> list[Figure]:
    counted, clock = candidate.get("counted"), candidate.get("measured")
    found = []
    if candidate.get("size_bytes") is not None:
        # What a device holds: the model, and the file that reads blocks of a prompt where the bundle has one.
        second = ((generation or {}).get("prefill") or {}).get("size_bytes") or 0
        found.append(Figure(metric="size_bytes", kind="exact", value=candidate["size_bytes"] + second))
    if counted:
        names = ("instructions", "bytes_loaded", "bytes_stored")
        known = [name for name in names if counted[name] is not None]
        found += [Figure(metric=name, kind="counted", value=counted[name]) for name in known]
    if candidate.get("peak_ram_bytes") is not None:
        kind: NumberKind = "counted" if counted else "measured"
        found.append(Figure(metric="peak_ram_bytes", kind=kind, value=candidate["peak_ram_bytes"]))
    if clock:
        more = (("first_ms", "latency_first_ms"), ("cold_start_ms", "cold_start_ms"), ("joules", "energy_joules"))
        found += [
            Figure(metric=metric, kind="measured", value=clock[key])
            for key, metric in more
            if clock.get(key) is not None
        ]
        if clock.get("stream_per_s") is not None:
            value = clock["stream_per_s"]
            found.append(Figure(metric="stream_per_s", kind="measured", value=value, better="higher"))
        for name in ("p50", "p90", "p99"):
            own = tuple(clock.get("processes_p50_ms", ())) if name == "p50" else ()
            found.append(Figure(metric=f"latency_{name}_ms", kind="measured", value=clock[f"{name}_ms"], processes=own))
    return [*found, *_quality_figures(candidate), *text_figures(generation)]


def _quality_figures(candidate: Mapping[str, Any]) -> Iterable[Figure]:
    for part in _QUALITY_PARTS:
        for metric, value in ((candidate.get("quality") or {}).get(part) or {}).items():
            if value is not None and math.isfinite(value):
                yield Figure(metric=f"{part}.{metric}", kind="quality", value=value, better=better_of(metric))


def better_of(metric: str) -> Literal["lower", "higher"]:
    """Which side of a quality figure is the good one; of one that no table knows the lower, as of errors."""
    base = metric.removesuffix("_mean").removesuffix("_worst5")
    return "higher" if base in METRICS and METRICS[base].better == "higher" else "lower"


def text_figures(generation: Mapping[str, Any] | None) -> Iterable[Figure]:
    """What a token costs, read (pp) and written (tg), where the model writes texts."""
    for short, key in (("tg", "decode"), ("pp", "prefill")):
        costs = (generation or {}).get(key) or {}
        if costs.get("instructions_per_token") is not None:
            yield Figure(
                metric=f"{short}_instructions_per_token", kind="counted", value=costs["instructions_per_token"]
            )
        if costs.get("tokens_per_s") is not None:
            yield Figure(metric=f"{short}_tokens_per_s", kind="measured", value=costs["tokens_per_s"], better="higher")


def refuse_unknown(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    """A misspelt figure must not be a check that nobody makes, or a curve that nobody draws.

    Raises:
        UsageError: one of ``names`` is not ``known``.
    """
    choices = list(dict.fromkeys(known))
    for name in names:
        if name not in choices:
            raise UsageError(
                "no run has such a figure", where=option, got=f"{name}{nearest(name, choices)}",
                expected=f"one of {', '.join(choices)}" if choices else None,
            )  # fmt: skip


def figures_of(runs: Iterable[Run]) -> list[str]:
    """Names of all figures that the runs have, each once."""
    return list(dict.fromkeys(figure.metric for run in runs for figure in run.figures))
