"""A build's outcome on the terminal: candidates, verdicts, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgegen.artifacts.layout import BUNDLE_DIR
from edgegen.bench.read_result import REPORT
from edgegen.bench.summary import brought_notes, fallback_notes, verdicts_of
from edgegen.bench.wording import (
    closeness,
    closeness_name,
    figure,
    judged_limit,
    judged_value,
    known_name,
    known_value,
    subject_of,
)
from edgegen.cli.console import plain_table, wide_console

_STATUS = {
    "chosen": "bold green",
    "eligible": "green",
    "rejected": "yellow",
    "failed": "red",
    "unmeasured": "magenta",
    "not built": "dim",
    "pass": "green",
    "fail": "bold red",
    "unverified": "magenta",
    "inconclusive": "magenta",
}


def show(document: Mapping[str, Any], folder: Path | None = None) -> None:
    """Prints a build's outcome on stdout, and where everything lies where there is a ``folder``."""
    console = wide_console()
    console.print()
    console.print(_candidates(document["candidates"]))
    _reasons(console, document["candidates"])
    if document["verdicts"]:
        console.print(_verdicts(document))
        _verdict_reasons(console, document["verdicts"])
    for note in brought_notes(document):
        console.print(f"  {escape(note)}", soft_wrap=True)
    for note in fallback_notes(document):
        console.print(f"  [yellow]{escape(note)}[/]", soft_wrap=True)
    for note in (document["environment"]["device"] or {}).get("notes", []):
        console.print(f"  [magenta]{escape(note)}[/]", soft_wrap=True)
    _conclusion(console, document, folder)


def _candidates(rows: list[Mapping[str, Any]]) -> Table:
    """Fits 80 columns: reasons stand below the table, where they have the room."""
    table = plain_table("Candidates")
    table.add_column("", overflow="fold")  # where there is little room the names are folded, and nothing is cut
    table.add_column("size", no_wrap=True, justify="right")
    measured = any(row["measured"] for row in rows)
    table.add_column("p50, measured" if measured else "counted", no_wrap=True, justify="right")
    table.add_column("RAM", no_wrap=True, justify="right")
    table.add_column(f"{closeness_name(rows)}*", no_wrap=True, justify="right")
    known = known_name(rows)
    if known:
        table.add_column(known, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row["name"]),
            _short(row["size_bytes"]),
            _clock(row["measured"]) if measured else _counted(row["counted"]),
            _short(row["peak_ram_bytes"]),
            closeness(row, "worst5"),
            *([known_value(row)] if known else []),
            f"[{_STATUS[row['status']]}]{row['status']}[/]" + (" [red]![/]" if row["alarms"] else ""),
        )
    return table


def _reasons(console: Console, rows: list[Mapping[str, Any]]) -> None:
    note = "* paired with the float model, mean of the worst 5 %; counted: instructions an inference; RAM: peak"
    console.print(f"[dim]{note}[/]", soft_wrap=True)
    for row in rows:
        for reason in (row["why_rejected"] if row["status"] != "eligible" else "", *row["alarms"]):
            if reason:
                console.print(
                    f"  [{_STATUS[row['status']]}]{escape(row['name'])}[/]: [dim]{escape(reason)}[/]", soft_wrap=True
                )


def _short(value: int | None) -> str:
    """Bytes in at most eight characters."""
    if value is None:
        return ""
    return f"{value / 1024:.0f} KiB" if value < 1 << 20 else f"{value / (1 << 20):.1f} MiB"


def _counted(counted: Mapping[str, Any] | None) -> str:
    return figure(counted["instructions"]) if counted else ""


def _clock(measured: Mapping[str, Any] | None) -> str:
    return f"{measured['p50_ms']:.3f} ms" if measured else ""


def _verdicts(document: Mapping[str, Any]) -> Table:
    judged = document["chosen"]["candidate"] if document["chosen"] else document["closest"]
    table = Table(title=f"\nVerdicts on {judged}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("budget", "verdict", "value", "limit"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("value", "limit") else "left")
    table.add_column("kind", no_wrap=True)
    for verdict in verdicts_of(document):
        own = verdict.origin == "profile"
        table.add_row(
            escape(subject_of(verdict.budget, verdict.metric)),
            f"[{_STATUS[verdict.status]}]{verdict.status}[/]",
            judged_value(document, verdict),
            judged_limit(verdict),
            f"[dim]{verdict.kind}{'' if verdict.required else ', optional'}{', profile' if own else ''}[/]",
        )
    return table


def _verdict_reasons(console: Console, verdicts: list[Mapping[str, Any]]) -> None:
    for item in verdicts:
        if item["reason"]:
            console.print(f"  {escape(item['budget'])}: [dim]{escape(item['reason'])}[/]", soft_wrap=True)


def _conclusion(console: Console, document: Mapping[str, Any], folder: Path | None) -> None:
    chosen = document["chosen"]
    console.print()
    if chosen:
        console.print(
            f"[bold green]{escape(document['name'])} {escape(document['version'])}[/] for {document['target']}: "
            f"ships as {chosen['candidate']}"
        )
        place = f"{folder / BUNDLE_DIR}  " if folder else ""
        console.print(f"  bundle   {place}{chosen['bundle_digest']}", soft_wrap=True)
    else:
        failed = [item for item in verdicts_of(document) if item.required and item.status != "pass"]
        reason = f"{len(failed)} required budget(s) not kept" if failed else "nothing could be judged"
        console.print(f"[bold red]{escape(document['name'])} for {document['target']}: nothing ships[/], {reason}")
        if document["closest"]:
            console.print(f"  closest  {document['closest']}")
        for item in failed:
            value, limit = judged_value(document, item), judged_limit(item)
            console.print(f"  budget   {item.budget}: {item.status}, value {value}, limit {limit}", soft_wrap=True)
    if folder:
        console.print(f"  report   {folder / REPORT}", soft_wrap=True)
