"""``edgegen release …``: which bundle is current for which device, as signed metadata (The Update Framework)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option, passphrase_source
from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.artifacts.keys import Signer
    from edgegen.artifacts.release_roles import Releases

_PATH = click.Path(path_type=Path)
_REPOSITORY = click.argument("repository", type=_PATH)
_KEY = click.option("--key", type=_PATH, required=True, help="The private key of the role that signs.")
_ROOT_KEYS = click.option(
    "--root-key", "root_keys", type=_PATH, multiple=True, required=True, help="A private key of the root. Repeat it."
)
_CHANNEL = click.option("--channel", default="stable", show_default=True, help="stable, canary, or a name of your own.")


@click.group(epilog="Example: edgegen release find https://updates.example.com --target raspberrypi5 --name digits")
def command() -> None:
    """Say, and find out, which bundle is current for which device."""


@command.command(
    epilog="Example: edgegen release init updates --root-key r1.key --root-key r2.key --root-threshold 2 ..."
)
@_REPOSITORY
@_ROOT_KEYS
@click.option("--root-threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many must sign.")
@click.option("--targets-key", type=_PATH, required=True, help="Says which key may release for which devices.")
@click.option("--online-key", type=_PATH, required=True, help="Signs snapshot and timestamp, at every publication.")
@passphrase_option
@output_options
def init(
    repository: Path,
    root_keys: tuple[Path, ...],
    root_threshold: int,
    targets_key: Path,
    online_key: Path,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Begin a repository in which nothing is released yet. Give 1.root.json to every device."""
    sign = _signers(passphrase_file)
    _open(repository).begin([sign(path) for path in root_keys], root_threshold, sign(targets_key), sign(online_key))
    _done(as_json, f"begun; devices need {repository / 'metadata' / '1.root.json'}")


@command.command(
    epilog="Example: edgegen release delegate updates pi --pub pi.pub --targets 'raspberrypi*' --key t.key"
)
@_REPOSITORY
@click.argument("family")
@click.option("--pub", "keys", type=_PATH, multiple=True, required=True, help="A public key of the family. Repeat it.")
@click.option("--targets", multiple=True, required=True, help="Targets of the family; * stands for any letters.")
@_KEY
@passphrase_option
@output_options
def delegate(
    repository: Path,
    family: str,
    keys: tuple[Path, ...],
    targets: tuple[str, ...],
    key: Path,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let keys release for a family of devices, in place of those that it had. --key: the targets key."""
    from edgegen.artifacts.policy import trusted_key

    signer = _signers(passphrase_file)(key)
    _open(repository).delegate(family, [trusted_key(path) for path in keys], targets, signer)
    _done(as_json, f"{family}: {', '.join(targets)}; publish to make it known")


@command.command(epilog="Example: edgegen release add updates pi build/raspberrypi5 --channel canary --key pi.key")
@_REPOSITORY
@click.argument("family")
@click.argument("bundle", type=_PATH)
@_CHANNEL
@_KEY
@passphrase_option
@output_options
def add(
    repository: Path,
    family: str,
    bundle: Path,
    channel: str,
    key: Path,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a bundle the current one of its name, target and channel. --key: one of the family's."""
    from edgegen.artifacts.verify import verify

    inside = bundle / "bundle"
    verified = verify(inside if inside.is_dir() else bundle)
    path = _open(repository).add(family, verified, channel, _signers(passphrase_file)(key))
    _done(as_json, f"{path}: {verified.digest}; publish to make it known")


@command.command(epilog="Example: edgegen release remove updates pi raspberrypi5/stable/digits.json --key pi.key")
@_REPOSITORY
@click.argument("family")
@click.argument("path")
@_KEY
@passphrase_option
@output_options
def remove(
    repository: Path, family: str, path: str, key: Path, passphrase_file: Path | None, as_json: bool, quiet: bool
) -> None:
    """Take a release back. --key: one of the family's."""
    _open(repository).remove(family, path, _signers(passphrase_file)(key))
    _done(as_json, f"{path} is released no more; publish to make it known")


@command.command(epilog="Example: edgegen release renew updates targets --key targets.key")
@_REPOSITORY
@click.argument("role")
@_KEY
@passphrase_option
@output_options
def renew(repository: Path, role: str, key: Path, passphrase_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Sign targets, or a family, once more before its time is over."""
    _open(repository).renew(role, _signers(passphrase_file)(key))
    _done(as_json, f"{role} is signed anew; publish to make it known")


@command.command(
    epilog="Example: edgegen release rekey updates timestamp --pub new.pub --root-key r1.key --root-key r2.key"
)
@_REPOSITORY
@click.argument("role", type=click.Choice(["root", "targets", "snapshot", "timestamp"]))
@click.option(
    "--pub", "keys", type=_PATH, multiple=True, required=True, help="A public key that the role has from now on."
)
@click.option(
    "--threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them must sign."
)
@_ROOT_KEYS
@passphrase_option
@output_options
def rekey(
    repository: Path,
    role: str,
    keys: tuple[Path, ...],
    threshold: int,
    root_keys: tuple[Path, ...],
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give a role other keys, after a loss or in good time; then sign anew what it signed (renew, publish)."""
    from edgegen.artifacts.policy import trusted_key

    sign = _signers(passphrase_file)
    roots = [sign(path) for path in root_keys]
    _open(repository).rekey(role, [trusted_key(path) for path in keys], threshold, roots)
    _done(as_json, f"{role} has other keys; sign anew what it signed")


@command.command(epilog="Example: edgegen release publish updates --key online.key")
@_REPOSITORY
@click.option(
    "--key",
    "keys",
    type=_PATH,
    multiple=True,
    required=True,
    help="The online key. Repeat it where the roles have two.",
)
@passphrase_option
@output_options
def publish(repository: Path, keys: tuple[Path, ...], passphrase_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Make everything that was added known, all at once; repeat it within a week."""
    sign = _signers(passphrase_file)
    _open(repository).publish(*[sign(path) for path in keys])
    _done(as_json, "published")


@command.command(epilog="Example: edgegen release find https://updates.example.com --target raspberrypi5 --name digits")
@click.argument("place")
@click.option("--target", required=True, help="The device.")
@click.option("--name", required=True, help="The project's name.")
@_CHANNEL
@click.option("--state", type=_PATH, default=Path("release-state"), show_default=True, help="Keeps what was seen.")
@click.option("--root", type=_PATH, help="The 1.root.json that you trust; needed the first time.")
@output_options
def find(
    place: str, target: str, name: str, channel: str, state: Path, root: Path | None, as_json: bool, quiet: bool
) -> None:
    """Find out which bundle is current: its digest is what edgegen pull NAME@DIGEST takes."""
    finder = load("edgegen.artifacts.release_find:find_release", extra="trust")
    found = finder(place, state, target=target, channel=channel, name=name, root=root)
    if as_json:
        document = {"schema_version": 1, "name": found.name, "version": found.version, "target": found.target}
        print_json({**document, "channel": found.channel, "digest": found.digest, "exit_code": 0})
        return
    click.echo(f"{found.name} {found.version} for {found.target} ({found.channel})")
    click.echo(found.digest)


def _open(repository: Path) -> Releases:
    kind = load("edgegen.artifacts.release_roles:Releases", extra="trust")
    from edgegen.artifacts.sign import moment_of_signing

    opened: Releases = kind(repository, moment_of_signing(None).signed_on)
    return opened


def _signers(passphrase_file: Path | None) -> Callable[[Path], Signer]:
    read: Any = load("edgegen.artifacts.keys:load_signer", extra="trust")
    return lambda path: read(path, passphrase_source(passphrase_file, path.name))


def _done(as_json: bool, text: str) -> None:
    if as_json:
        print_json({"schema_version": 1, "done": text, "exit_code": 0})
    else:
        click.echo(text)
