"""``edgegen targets``: the profiles as they are."""

from __future__ import annotations

import click

from edgegen.cli.console import output_options, print_json
from edgegen.core.records import write_record
from edgegen.core.targets import alias_of, load_target, target_names


@click.command(epilog="Example: edgegen targets raspberrypi4")
@click.argument("name", required=False)
@output_options
def command(name: str | None, as_json: bool, quiet: bool) -> None:
    """List the target profiles, or show one."""
    if name is not None:
        profile = write_record(load_target(name))
        print_json({"schema_version": 1, "target": profile}) if as_json else _show(profile)
        return
    rows = [{"name": each, "alias_of": alias_of(each), "title": load_target(each).title} for each in target_names()]
    if as_json:
        print_json({"schema_version": 1, "targets": rows})
        return
    for row in rows:
        note = f"  (= {row['alias_of']})" if row["alias_of"] else ""
        click.echo(f"{row['name']:<16}{row['title']}{note}")


def _show(value: object, depth: int = 0) -> None:
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if isinstance(item, dict):
            click.echo(f"{'  ' * depth}{key}:")
            _show(item, depth + 1)
        else:
            text = " ".join(map(str, item)) if isinstance(item, list) else item
            click.echo(f"{'  ' * depth}{key:<16} {text}")
