"""``edgegen init``: a working project."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgegen.cli.console import output_options, print_json


@click.command(epilog="Example: edgegen init my-model --template vae")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--template", "-t", help="What to begin with; without it, the templates are listed.")
@output_options
def command(folder: Path, template: str | None, as_json: bool, quiet: bool) -> None:
    """Begin a working project from a template."""
    from edgegen.pipeline.templates import begin, template_names, template_summary

    if template is None:
        rows = [{"name": name, "title": template_summary(name)} for name in template_names()]
        if as_json:
            print_json({"schema_version": 1, "templates": rows})
            return
        for row in rows:
            click.echo(f"{row['name']:<16}{row['title']}")
        return
    written = [str(path) for path in begin(folder, template)]
    if as_json:
        print_json({"schema_version": 1, "template": template, "files": written})
        return
    for path in written:
        click.echo(path)
    where = "" if folder == Path() else f" --project {shlex.quote(str(folder))}"
    click.echo(f"\nNext: edgegen build{where} --target raspberrypi4")
