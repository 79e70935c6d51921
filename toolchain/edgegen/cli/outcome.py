"""A build's outcome on the terminal: candidates, verdicts, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgegen.bench.wording import figure, sign, size, subject_of

if TYPE_CHECKING:
    from edgegen.pipeline.build import Result

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


def show(result: Result) -> None:
    """Prints a build's outcome on stdout."""
    console = Console(highlight=False)
    document = result.document
    console.print()
    console.print(_candidates(document["candidates"]))
    if document["verdicts"]:
        console.print(_verdicts(document))
    _conclusion(console, result)


def _candidates(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(title="Candidates", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("", "left"),
        ("size", "right"),
        ("instructions", "right"),
        ("peak RAM", "right"),
        ("PSNR worst 5 %", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("status", overflow="fold")
    for row in rows:
        paired = (row["quality"] or {}).get("paired", {})
        latency = figure(row["counted"]["instructions"]) if row["counted"] else _clock(row["measured"])
        known = row["size_bytes"] is not None
        table.add_row(
            escape(row["name"]),
            size(row["size_bytes"]) if known else "",
            latency,
            size(row["peak_ram_bytes"]) if row["peak_ram_bytes"] is not None else "",
            f"{paired['psnr_db_worst5']:.1f} dB" if "psnr_db_worst5" in paired else "",
            _status(row),
        )
    return table


def _clock(measured: Mapping[str, Any] | None) -> str:
    return f"{measured['p50_ms']:.3f} ms measured" if measured else ""


def _status(row: Mapping[str, Any]) -> str:
    words = f"[{_STATUS[row['status']]}]{row['status']}[/]"
    detail = "; ".join(part for part in (row["why_rejected"], *row["alarms"]) if part)
    return f"{words} [dim]{escape(detail)}[/]" if detail else words


def _verdicts(document: Mapping[str, Any]) -> Table:
    judged = document["chosen"]["candidate"] if document["chosen"] else document["closest"]
    table = Table(title=f"\nVerdicts on {judged}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("budget", "verdict", "value", "", "limit"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("value", "limit") else "left")
    table.add_column("kind", overflow="fold")
    for item in document["verdicts"]:
        relation = sign(item["direction"], item["status"]) if item["status"] in ("pass", "fail") else ""
        note = (
            item["kind"]
            + ("" if item["required"] else ", not required")
            + (f": {item['reason']}" if item["reason"] else "")
        )
        table.add_row(
            escape(subject_of(item["budget"], item["metric"])),
            f"[{_STATUS[item['status']]}]{item['status']}[/]",
            _with_unit(item["value"], item["unit"]),
            relation,
            _with_unit(item["limit"], item["unit"]),
            f"[dim]{escape(note)}[/]",
        )
    return table


def _with_unit(value: float | None, unit: str) -> str:
    return size(int(value)) if unit == "bytes" and value is not None else figure(value, unit)


def _conclusion(console: Console, result: Result) -> None:
    document, chosen = result.document, result.document["chosen"]
    console.print()
    if chosen:
        console.print(
            f"[bold green]{document['name']} {document['version']}[/] for {document['target']}: "
            f"ships as {chosen['candidate']}"
        )
        console.print(f"  bundle   {result.folder / 'bundle'}  {chosen['bundle_digest']}", soft_wrap=True)
    else:
        failed = [item for item in document["verdicts"] if item["required"] and item["status"] != "pass"]
        reason = f"{len(failed)} required budget(s) not kept" if failed else "nothing could be judged"
        console.print(f"[bold red]{document['name']} for {document['target']}: nothing ships[/], {reason}")
        if document["closest"]:
            console.print(f"  closest  {document['closest']}")
        for item in failed:
            value, limit = _with_unit(item["value"], item["unit"]), _with_unit(item["limit"], item["unit"])
            console.print(
                f"  budget   {item['budget']}: {item['status']}, value {value}, limit {limit}", soft_wrap=True
            )
    console.print(f"  report   {result.folder / 'report.html'}", soft_wrap=True)
