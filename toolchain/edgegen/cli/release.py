"""``edgegen release …``: which bundle is current for which device, as signed metadata (The Update Framework)."""

from __future__ import annotations

import click

from edgegen.cli.release_channels import add, listed, promote, recall, remove
from edgegen.cli.release_keys import delegate, init, rekey, renew
from edgegen.cli.release_publish import fetch, find, publish


@click.group(epilog="Example: edgegen release publish updates --push registry.example.com/fw/keywords --key online.key")
def command() -> None:
    """Say, and find out, which bundle is current for which device."""


for _each in (init, delegate, add, promote, recall, remove, listed, publish, fetch, find, renew, rekey):
    command.add_command(_each)
