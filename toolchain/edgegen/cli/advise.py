"""``edgegen advise``: families and sizes for a task, ranked by what was measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress, set_option


@click.command(epilog="Example: edgegen advise --target raspberrypi4 --task classify --seconds 300")
@click.option(
    "--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project; it needs no [model]."
)
@click.option("--target", required=True, help="Where the model is to run; edgegen targets lists what there is.")
@click.option(
    "--task", type=click.Choice(["generate", "classify", "regress", "detect"]), help="Default: what the data suggest."
)
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Length of each probe training.")
@click.option("--seconds", type=click.FloatRange(0), help="Begin no further probe after so long; repeat to go on.")
@click.option("--device", metavar="URL", help="Device to count on in place of the target's own.")
@offline_option
@set_option
@output_options
def command(
    project: Path | None,
    target: str,
    task: str | None,
    epochs: int,
    seconds: float | None,
    device: str | None,
    offline: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Train small probes of every family and size that suits the data, count them on the target, and rank them.

    Nothing is chosen by the test part, and only figures that measure the same thing are compared.
    """
    from edgegen.pipeline.advise import advise_project

    with progress(quiet=quiet) as teller:
        document = advise_project(
            project,
            target=target,
            task=task,
            epochs=epochs,
            seconds=seconds,
            device=device,
            offline=offline,
            overrides=overrides,
            progress=teller,
        )
    if as_json:
        print_json(document)
    else:
        _show(document)
    return int(document["exit_code"])


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(
        f"\n{escape(document['name'])} for {document['target']}: {document['task']}, because "
        f"{escape(document['task_reason'])}",
        soft_wrap=True,
    )
    for group in document["groups"]:
        console.print(_table(group))
        for item in group["proposals"]:
            said = escape("; ".join(item["reasons"]))
            console.print(f"  {escape(item['name'])}: [dim]{said}[/]", soft_wrap=True)
    families = {item["family"]: item["why"] for group in document["groups"] for item in group["proposals"]}
    if families:
        console.print("\n[bold]What each family is good for[/]")
    for name, why in families.items():
        console.print(f"  {name}: [dim]{escape(why)}[/]", soft_wrap=True)
    if document["left_out"]:
        console.print("\n[bold]Left out[/]")
    for item in document["left_out"]:
        console.print(f"  {escape(item['name'])}: [dim]{escape(item['reason'])}[/]", soft_wrap=True)
    console.print()
    for note in document["notes"]:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    _conclusion(console, document)


def _table(group: Mapping[str, Any]) -> Any:
    from rich.markup import escape

    from edgegen.bench.wording import figure, named

    direction = {"higher": ", higher is better", "lower": ", lower is better"}.get(group["better"], "")
    title = f"Ranked by {named(group['figure'])}{direction}" if group["figure"] else "Not ranked"
    table = plain_table(f"\n{escape(title)}")
    for name in ("", "probe", "budgets", "as", "size", "counted", "RAM"):
        # Of a narrow terminal the names give way, never the figures.
        table.add_column(name, no_wrap=name != "", justify="left" if name in ("", "budgets", "as") else "right")
    colours = {"yes": "green", "no": "yellow", "unverified": "magenta"}
    for item in group["proposals"]:
        shown = next((each for each in item["candidates"] if each["name"] == item["candidate"]), None)
        keeps = {"yes": "kept", "no": "broken"}.get(item["keeps_budgets"], "unverified")
        table.add_row(
            escape(item["name"]),
            "" if item["figure"] is None else figure(item["figure"]["value"]),
            f"[{colours[item['keeps_budgets']]}]{keeps}[/]",
            escape((item["candidate"] or "").partition("@")[0]),
            _bytes(shown and shown["size_bytes"]),
            figure(shown["counted"]["instructions"]) if shown and shown["counted"] else _clock(shown),
            _bytes(shown and shown["peak_ram_bytes"]),
        )
    return table


def _bytes(value: int | None) -> str:
    """Bytes in at most eight characters, so that a row fits 80 columns."""
    if value is None:
        return ""
    return f"{value / 1024:.0f} KiB" if value < 1 << 20 else f"{value / (1 << 20):.1f} MiB"


def _clock(shown: Mapping[str, Any] | None) -> str:
    return f"{shown['measured']['p50_ms']:.3f} ms" if shown and shown["measured"] else ""


def _conclusion(console: Any, document: Mapping[str, Any]) -> None:
    from rich.markup import escape

    chosen = [
        item for group in document["groups"] for item in group["proposals"] if item["name"] in document["advised"]
    ]
    if not chosen:
        console.print("\n[bold]Nothing is advised[/]: no probe is known to keep the budgets.")
    for item in chosen:
        flags = " ".join(f"--set {shlex.quote(line)}" for line in item["overrides"])
        console.print(f"\n[bold green]{escape(item['name'])}[/]: edgegen build {escape(flags)}", soft_wrap=True)
        console.print(escape(item["toml"]), soft_wrap=True)
