"""``edgegen trend``: a history of runs as a page, a table of a data frame, or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, plain_table, print_json, printable, wide_console

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example: edgegen trend bench.jsonl --out trend.html --parquet bench.parquet")
@click.argument("history")
@click.option("--out", type=_FILE, help="Write the page here: one self-contained file.")
@click.option("--parquet", type=_FILE, help="Write every figure of every run here, a row each.")
@click.option("--metric", "metrics", multiple=True, help="Show this figure beside those that gates look at.")
@output_options
def command(
    history: str, out: Path | None, parquet: Path | None, metrics: tuple[str, ...], as_json: bool, quiet: bool
) -> int:
    """Show how figures moved over time, and where their level changed.

    HISTORY is a file that edgegen bench --record or edgegen gate --record wrote, or git-notes.
    """
    from edgegen.bench.trend_page import render_trend, trend_document
    from edgegen.core.errors import StorageError
    from edgegen.core.whole_file import put_file
    from edgegen.pipeline.history import load_history

    found = load_history(history)
    document = trend_document(found, metrics)
    if parquet is not None:
        found.to_parquet(parquet)
    if out is not None:
        try:
            put_file(out, render_trend(document).encode())
        except OSError as error:
            raise StorageError("the page cannot be written", where=str(out), got=error.strerror) from error
    if as_json:
        print_json(document)
    else:
        _show(document, out, parquet)
    return 0


def _show(document: Mapping[str, Any], out: Path | None, parquet: Path | None) -> None:
    from rich.markup import escape

    console, document = wide_console(), printable(document)
    console.print(f"[italic]{document['runs']} {'run' if document['runs'] == 1 else 'runs'}[/]")
    table = plain_table()
    table.add_column("figure", overflow="fold")
    table.add_column("target", overflow="fold")
    for title in ("runs", "last", "since first"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("level moved")
    for item in document["series"]:
        moves = ", ".join(
            f"[{'red' if change['worse'] else 'green'}]{change['change']}[/] at run {change['run']}"
            + (f" ({change['commit'][:10]})" if change["commit"] else "")
            for change in item["changes"]
        )
        runs = str(len(item["points"]))
        table.add_row(item["metric"], escape(item["place"]), runs, item["last"], item["since_first"], moves)
    console.print(table)
    if document["torn"]:
        told = "1 line was" if document["torn"] == 1 else f"{document['torn']} lines were"
        console.print(f"  [magenta]{told} cut short and left out[/]")
    for path in (out, parquet):
        if path is not None:
            console.print(f"  written: {path}", soft_wrap=True)
