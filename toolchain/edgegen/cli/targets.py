"""``edgegen targets``: the profiles as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import output_options, print_json
from edgegen.core.boards import BoardEntry, boards_of, read_inventory
from edgegen.core.project import load_project, project_folder
from edgegen.core.records import write_record
from edgegen.core.targets import alias_of, load_target, own_target_names, target_names


@click.command(epilog="Example: edgegen targets raspberrypi4")
@click.argument("name", required=False)
@click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The project whose own targets/ are listed too; default: the one in reach.",
)
@output_options
def command(name: str | None, folder: Path | None, as_json: bool, quiet: bool) -> None:
    """List the target profiles, or show one."""
    project = project_folder() if folder is None else load_project(folder).folder
    boards = read_inventory()
    if name is not None:
        known = load_target(name, project)
        profile, its_boards = write_record(known), list(boards_of(known.name, boards))
        if as_json:
            print_json({"schema_version": 1, "target": profile, "boards": its_boards})
            return
        _show(profile)
        if its_boards:
            click.echo(f"{'boards':<16} {' '.join(its_boards)}")
        return
    rows = [_row(each, project, boards) for each in target_names(project)]
    if as_json:
        print_json({"schema_version": 1, "targets": rows})
        return
    for row in rows:
        note = f"  (= {row['alias_of']})" if row["alias_of"] else "  (this project's own)" if row["own"] else ""
        at_hand = f"  [boards: {', '.join(row['boards'])}]" if row["boards"] else ""
        click.echo(f"{row['name']:<17}{row['title']}{note}{at_hand}")


def _row(name: str, project: Path | None, boards: Mapping[str, BoardEntry]) -> dict[str, Any]:
    """What one target is, in short."""
    profile = load_target(name, project)
    core, model = profile.core, profile.cost_model
    return {
        "name": name,
        "alias_of": alias_of(name, project),
        "own": name in own_target_names(project),
        "title": profile.title,
        "isa": profile.isa,
        "core": None if core is None else core.name,
        "features": [] if core is None else list(core.features),
        "clock_hz": None if core is None else core.clock_hz,
        "memory_bytes": profile.memory_bytes,
        "flash_bytes": profile.flash_bytes,
        "runtimes": dict(profile.runtimes),
        "device": profile.device,
        "emulated_core": None if profile.emulator is None else profile.emulator.cpu,
        "emulated_machine": None if profile.mcu is None else profile.mcu.machine,
        "cost_model": None if model is None else model.origin,
        "budgets": dict(profile.budgets),
        "boards": list(boards_of(profile.name, boards)),
    }


def _show(value: object, depth: int = 0) -> None:
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in ("port", "silicon_port"):  # whole files
            click.echo(f"{'  ' * depth}{key:<16} {' '.join(item) or None}")
        elif isinstance(item, dict):
            click.echo(f"{'  ' * depth}{key}:")
            _show(item, depth + 1)
        else:
            text = " ".join(map(str, item)) if isinstance(item, list) else item
            click.echo(f"{'  ' * depth}{key:<16} {text}")
