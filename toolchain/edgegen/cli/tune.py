"""``edgegen tune``: a search of settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, print_json, progress, set_option


@click.command(epilog="Example: edgegen tune --set tune.trials=40. Start it several times to share the work.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@set_option
@output_options
def command(project: Path | None, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Search the settings that [tune.space] names for the least validation loss."""
    from edgegen.pipeline.tune import tune_project

    with progress(quiet=quiet) as teller:
        document = tune_project(project, overrides=overrides, progress=teller)
    if as_json:
        print_json(document)
    else:
        _show(document)
    return int(document["exit_code"])


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    names = list(document["trials"][0]["settings"]) if document["trials"] else []
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("trial", "validation", "epochs", *names, ""):
        table.add_column(title, justify="left" if not title else "right")
    best = document["best"]
    shown = sorted(document["trials"], key=lambda trial: (trial["validation"] is None, trial["validation"] or 0))
    for trial in shown:
        value = "" if trial["validation"] is None else f"{trial['validation']:.5g}"
        cells = [escape(_spelled(trial["settings"].get(name))) for name in names]
        state = "" if trial["status"] == "complete" else trial["status"]
        style = "bold green" if best and trial["number"] == best["trial"] else None
        table.add_row(str(trial["number"]), value, str(trial["epochs"]), *cells, state, style=style)
    console.print(table)
    if best:
        flags = " ".join(f"--set {shlex.quote(item)}" for item in document["overrides"])
        console.print(f"\nTo use the best: edgegen train {escape(flags)}", soft_wrap=True)
    else:
        console.print("\nNo trial came to an end; what each failed of is in build/tune/result.json.", soft_wrap=True)


def _spelled(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
