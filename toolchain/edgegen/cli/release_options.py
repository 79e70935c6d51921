"""What the commands under ``edgegen release`` share: the folder and keys that they name, and what they print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.artifacts.token_uri import in_token
from edgegen.cli.console import print_json
from edgegen.cli.signers import opened as opened_keys
from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signing
    from edgegen.artifacts.policy import TrustedKey
    from edgegen.artifacts.release_roles import Releases

PATH = click.Path(path_type=Path)

repository = click.argument("repository", type=PATH)
KEY = "FILE|pkcs11:URI"
family_key = click.option("--key", metavar=KEY, required=True, help="The private key of the role that signs.")
root_keys = click.option(
    "--root-key", "root_keys", metavar=KEY, multiple=True, required=True, help="A private key of the root. Repeat it."
)
public_keys = click.option(
    "--pub", "keys", metavar=KEY, multiple=True, required=True,
    help="A public key that counts from now on: its file, or the key in a token. Repeat it.",
)  # fmt: skip
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


@contextmanager
def opened_with_public(
    public: Sequence[str], private: Sequence[str], passphrase_file: Path | None
) -> Iterator[tuple[list[TrustedKey], list[Signing]]]:
    """Public keys, by their files or of keys in tokens, and what signs: each token is opened once for both."""
    from edgegen.artifacts.policy import TrustedKey, trusted_key

    held = [key for key in public if in_token(key)]
    files = [trusted_key(Path(key)) for key in public if not in_token(key)]
    with opened_keys([*held, *private], passphrase_file) as signers:
        tokens = [TrustedKey(name=signer.public.key_id, key=signer.public) for signer in signers[: len(held)]]
        yield [*tokens, *files], signers[len(held) :]


def done(as_json: bool, text: str, **more: Any) -> None:
    """Says what was done."""
    if as_json:
        print_json({"schema_version": 1, "done": text, **more, "exit_code": 0})
    else:
        click.echo(text)
