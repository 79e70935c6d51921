"""``edgegen keys …``: makes, shows, lists and follows up the keys that bundles are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.artifacts.token_uri import in_token
from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option, passphrase_source
from edgegen.cli.signers import opened
from edgegen.core.errors import UsageError
from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.artifacts.keys import KeyFiles

_KINDS = ("ed25519", "ecdsa-p256")
_MAX_HANDOVER_BYTES = 1 << 20
_FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path),
    help="Where keys are kept. Default: EDGEGEN_KEYS, else ~/.config/edgegen/keys.",
)  # fmt: skip
_KIND = click.option(
    "--type", "kind", type=click.Choice(_KINDS), default="ecdsa-p256", show_default=True,
    help="ECDSA is what cosign and most hardware take; Ed25519 is what the verifier for microcontrollers takes.",
)  # fmt: skip
_OPEN = click.option("--no-passphrase", is_flag=True, help="Write the new key in the clear.")


@click.group(epilog="Example: edgegen keys new release")
def command() -> None:
    """Make, show, list and follow up signing keys."""


@command.command(epilog="Example: edgegen keys new release --type ed25519")
@click.argument("name")
@_KIND
@_FOLDER
@passphrase_option
@_OPEN
@output_options
def new(
    name: str,
    kind: str,
    folder: Path | None,
    passphrase_file: Path | None,
    no_passphrase: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a key: NAME.key for the signer alone, NAME.pub to give away."""
    make = load("edgegen.artifacts.keys:new_key", extra="trust")
    secret = None if no_passphrase else passphrase_source(passphrase_file, name, confirm=True)()
    _show(make(_folder(folder), name, kind, secret), as_json=as_json)


@command.command(epilog="Example: edgegen keys show release")
@click.argument("key")
@_FOLDER
@click.option(
    "--follows", type=click.Path(path_type=Path),
    help="The .pub file of an earlier key: refuse this one unless the earlier one named it its successor.",
)  # fmt: skip
@output_options
def show(key: str, folder: Path | None, follows: Path | None, as_json: bool, quiet: bool) -> None:
    """Show a public key: KEY is its name in the folder, a .pub file, or the pkcs11: URI of a key in a token."""
    from edgegen.artifacts.policy import trusted_key

    if in_token(key):
        _show_token(key, as_json=as_json)
        return
    path = Path(key) if key.endswith(".pub") else _folder(folder) / f"{key}.pub"
    public = trusted_key(path).key
    if follows is not None:
        from edgegen.artifacts.handover import SUFFIX, check_handover

        check_handover(_read(path.with_suffix(SUFFIX)), trusted_key(follows).key, public)
    if as_json:
        document = {"schema_version": 1, "name": path.stem, "type": public.kind, "key_id": public.key_id}
        print_json({**document, "public_file": str(path), "pem": path.read_text(encoding="ascii")})
        return
    click.echo(f"{path.stem}  {public.kind}  {public.key_id}")
    click.echo(path.read_text(encoding="ascii"), nl=False)
    if follows is not None:
        click.echo(f"named its successor by {follows.stem}")


@command.command(name="list", epilog="Example: edgegen keys list")
@_FOLDER
@output_options
def list_(folder: Path | None, as_json: bool, quiet: bool) -> None:
    """List the keys of a folder."""
    keys: list[KeyFiles] = load("edgegen.artifacts.keys:list_keys", extra="trust")(_folder(folder))
    if as_json:
        print_json({"schema_version": 1, "keys": [_table(key) for key in keys]})
        return
    for key in keys:
        private = "public half only" if key.private_path is None else "passphrase" if key.encrypted else "in the clear"
        click.echo(f"{key.name:<20} {key.kind:<10} {key.key_id}  {private}")
    if not keys:
        click.echo("no key yet: edgegen keys new NAME makes one")


@command.command(epilog="Example: edgegen keys rotate release")
@click.argument("name")
@_FOLDER
@passphrase_option
@click.option(
    "--new-passphrase-file",
    type=click.Path(path_type=Path),
    help="The same for the new key. Default: as the old one's.",
)
@_OPEN
@output_options
def rotate(
    name: str,
    folder: Path | None,
    passphrase_file: Path | None,
    new_passphrase_file: Path | None,
    no_passphrase: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the successor of a key, and a statement by the old one that it is. The old files stay."""
    load_signer = load("edgegen.artifacts.keys:load_signer", extra="trust")
    from edgegen.artifacts.handover import SUFFIX, handover
    from edgegen.artifacts.keys import PRIVATE_SUFFIX, new_key, next_name
    from edgegen.artifacts.sign import moment_of_signing
    from edgegen.core.whole_file import replace_file

    place = _folder(folder)
    old = load_signer(place / f"{name}{PRIVATE_SUFFIX}", passphrase_source(passphrase_file, name))
    following = next_name(place, name)
    ask = passphrase_source(new_passphrase_file or passphrase_file, following, confirm=True)
    secret = None if no_passphrase else ask()
    made = new_key(place, following, old.public.kind, secret)
    assert made.private_path is not None
    fresh = load_signer(made.private_path, lambda: secret or b"")
    replace_file(place / f"{following}{SUFFIX}", handover(old, fresh, following, moment_of_signing(None).signed_on))
    _show(made, as_json=as_json)


def _show_token(uri: str, *, as_json: bool) -> None:
    from edgegen_runtime.public_keys import public_pem

    with opened([uri], None) as (signer,):
        public = signer.public
    if as_json:
        document = {"schema_version": 1, "name": uri, "type": public.kind, "key_id": public.key_id}
        print_json({**document, "public_file": None, "pem": public_pem(public)})
        return
    click.echo(public_pem(public), nl=False)  # nothing else: to be redirected into a .pub file


def _folder(folder: Path | None) -> Path:
    if folder is not None:
        return folder
    found: Path = load("edgegen.artifacts.keys:keys_folder", extra="trust")()
    return found


def _table(key: KeyFiles) -> dict[str, Any]:
    return {
        "name": key.name,
        "type": key.kind,
        "key_id": key.key_id,
        "public_file": str(key.public_path),
        "private_file": None if key.private_path is None else str(key.private_path),
        "passphrase": key.encrypted,
    }


def _show(key: KeyFiles, *, as_json: bool) -> None:
    if as_json:
        print_json({"schema_version": 1, **_table(key)})
        return
    click.echo(f"  private  {key.private_path}")
    click.echo(f"  public   {key.public_path}")
    click.echo(f"{key.name}  {key.kind}  {key.key_id}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_HANDOVER_BYTES + 1)
    except OSError as error:
        raise UsageError("there is no handover of the key", where=str(path), got=error.strerror) from error
