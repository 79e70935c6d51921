"""``edgegen verify``: every byte of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import output_options, print_json


@click.command(epilog="Example: edgegen verify build/raspberrypi")
@click.argument("bundle", type=click.Path(path_type=Path))
@output_options
def command(bundle: Path, as_json: bool, quiet: bool) -> None:
    """Check every byte of a bundle: BUNDLE is a build's folder, or the bundle/ inside it."""
    from edgegen.artifacts.verify import verify

    inside = bundle / "bundle"
    verified = verify(inside if inside.is_dir() else bundle)
    if as_json:
        print_json({"schema_version": 1, "digest": verified.digest, "checked": list(verified.checked), "exit_code": 0})
        return
    for line in verified.checked:
        click.echo(f"  {line}")
    click.echo(f"intact: {verified.digest}")
