"""What is known of a set, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgegen.bench.data_page import column_rows, concerns, facts
from edgegen.cli.console import plain_table

if TYPE_CHECKING:
    from edgegen.pipeline.inspect import Inspected

_SHOWN_COLUMNS = 30


def show(inspected: Inspected) -> None:
    """Prints the first screen of the page on stdout."""
    console, document = Console(highlight=False), inspected.document
    console.print(f"\n[bold]{escape(document['form']['name'])}[/]")
    for name, value in facts(document):
        console.print(f"  [dim]{name:<12}[/]{escape(value)}", soft_wrap=True)
    said = concerns(document)
    console.print("\n[bold]To look at[/]" if said else "\nNothing out of the ordinary was found.")
    for sentence in said:
        console.print(f"  [yellow]•[/] {escape(sentence)}", soft_wrap=True)
    rows = column_rows(document)
    if rows:
        console.print()
        console.print(_columns(rows[:_SHOWN_COLUMNS]))
    console.print(f"\n  page  {inspected.page}", soft_wrap=True)


def _columns(rows: list[dict[str, Any]]) -> Table:
    table = plain_table()
    for title in ("column", "missing", "distinct", "range", "mean"):
        table.add_column(title, justify="left" if title == "column" else "right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(escape(row["name"]), row["missing"], row["distinct"], row["range"], row["mean"])
    return table


def show_drift(document: Mapping[str, Any]) -> None:
    """Prints a comparison of two sets on stdout."""
    console = Console(highlight=False)
    sizes = f"{document['present_samples']:,} samples beside {document['reference_samples']:,} of the reference"
    console.print(f"\n[bold]{escape(document['present'])}[/]  {sizes}\n", soft_wrap=True)
    table = plain_table()
    for title in ("feature", "KS", "p", "Wasserstein", "PSI", ""):
        table.add_column(title, justify="left" if title in ("feature", "") else "right", no_wrap=True)
    for item in document["features"]:
        cells = [_number(item[key]) for key in ("ks", "p_adjusted", "wasserstein", "psi")]
        table.add_row(escape(item["name"]), *cells, "[bold red]drifted[/]" if item["drifted"] else "")
    console.print(table)
    moved = sum(item["drifted"] for item in document["features"])
    said = f"[bold red]{moved} of {len(document['features'])} features have drifted[/]"
    console.print(f"\n{said if moved else 'no drift was found'}", soft_wrap=True)
    for note in document["notes"]:
        console.print(f"  [yellow]•[/] {escape(note)}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
