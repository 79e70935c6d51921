"""``edgegen train``: the data, the training, and how good the model became."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, print_json, progress, set_option


@click.command(
    epilog="Example: edgegen train --set train.epochs=5. "
    "By two processes: torchrun --nproc-per-node 2 --no-python edgegen train"
)
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the model. Default: build/train/."
)
@set_option
@output_options
def command(project: Path | None, out: Path | None, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Prepare the data, train the model and judge it; nothing is compressed."""
    from edgegen.pipeline.alone import train_project
    from edgegen.train.hardware import replicas

    leads = replicas().leads
    if replicas().world > 1:
        # While processes wait for each other no handler of Python's runs, and torchrun would wait half a minute.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with progress(quiet=quiet or not leads) as teller:
        trained = train_project(project, out=out, overrides=overrides, progress=teller)
    if not leads:
        return
    if as_json:
        print_json(trained.document)
    else:
        _show(trained.document)


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from edgegen.bench.wording import figure, named

    console = Console(highlight=False)
    console.print()
    table = Table(title=f"{document['name']}, {document['evaluation']['samples']} held-out samples",
                  title_justify="left", box=None, pad_edge=False, header_style="bold")  # fmt: skip
    for title in ("", "value", "95 % interval", "seed ±", "simple model"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    for item in document["evaluation"]["figures"]:
        simple = item["baseline"]
        low, high = item["low"], item["high"]
        table.add_row(
            escape(named(item["name"])),
            figure(item["value"], item["unit"]),
            "" if low is None or high is None else f"{figure(low)} to {figure(high)}",
            "" if item["seeds"] is None else figure(item["seeds"]),
            "" if simple is None else f"{figure(simple['value'])}  [dim]{escape(simple['name'])}[/]",
        )
    console.print(table)
    for note in document["evaluation"]["notes"]:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    if document["evaluation"]["sample_text"]:
        console.print(f"\n{escape(document['evaluation']['sample_text'])}", soft_wrap=True)
    console.print()
    console.print(
        f"{document['epochs']} epochs, {document['deployed_parameters']:,} parameters to deploy; "
        f"the model is in {escape(document['folder'])}",
        soft_wrap=True,
    )
