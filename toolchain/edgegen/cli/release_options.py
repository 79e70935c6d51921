"""What the commands under ``edgegen release`` share: the folder and keys that they name, and what they print."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.console import print_json
from edgegen.cli.passphrase import passphrase_source
from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signer
    from edgegen.artifacts.release_roles import Releases

PATH = click.Path(path_type=Path)

repository = click.argument("repository", type=PATH)
family_key = click.option("--key", type=PATH, required=True, help="The private key of the role that signs.")
root_keys = click.option(
    "--root-key", "root_keys", type=PATH, multiple=True, required=True, help="A private key of the root. Repeat it."
)
channel_option = click.option(
    "--channel", default="stable", show_default=True, help="stable, canary, or a name of your own."
)


def opened(repository: Path) -> Releases:
    """The releases in a folder, to be signed now."""
    kind = load("edgegen.artifacts.release_roles:Releases", extra="trust")
    found: Releases = kind(repository, now())
    return found


def now() -> datetime:
    """The time by the clock, SOURCE_DATE_EPOCH or not: metadata that are signed in the past are out of date at once."""
    return datetime.now(UTC).replace(microsecond=0)


def signers(passphrase_file: Path | None) -> Callable[[Path], Signer]:
    """Reads private keys, asking for a passphrase where one is needed."""
    read: Any = load("edgegen.artifacts.keys:load_signer", extra="trust")
    return lambda path: read(path, passphrase_source(passphrase_file, path.name))


def done(as_json: bool, text: str, **more: Any) -> None:
    """Says what was done."""
    if as_json:
        print_json({"schema_version": 1, "done": text, **more, "exit_code": 0})
    else:
        click.echo(text)
