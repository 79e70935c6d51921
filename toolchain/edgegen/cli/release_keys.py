"""``edgegen release …``: who may release what, and how roles get other keys."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import output_options
from edgegen.cli.passphrase import passphrase_option
from edgegen.cli.release_options import PATH, done, family_key, opened, repository, root_keys, signers


@click.command(
    epilog="Example: edgegen release init updates --root-key r1.key --root-key r2.key --root-threshold 2 ..."
)
@repository
@root_keys
@click.option("--root-threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many must sign.")
@click.option("--targets-key", type=PATH, required=True, help="Says which key may release for which devices.")
@click.option("--online-key", type=PATH, required=True, help="Signs snapshot and timestamp, at every publication.")
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
    sign = signers(passphrase_file)
    opened(repository).begin([sign(path) for path in root_keys], root_threshold, sign(targets_key), sign(online_key))
    done(as_json, f"begun; devices need {repository / 'metadata' / '1.root.json'}")


@click.command(epilog="Example: edgegen release delegate updates pi --pub pi.pub --targets 'raspberrypi*' --key t.key")
@repository
@click.argument("family")
@click.option("--pub", "keys", type=PATH, multiple=True, required=True, help="A public key of the family. Repeat it.")
@click.option("--targets", multiple=True, required=True, help="Targets of the family; * stands for any letters.")
@family_key
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

    signer = signers(passphrase_file)(key)
    opened(repository).delegate(family, [trusted_key(path) for path in keys], targets, signer)
    done(as_json, f"{family}: {', '.join(targets)}; publish to make it known")


@click.command(epilog="Example: edgegen release renew updates targets --key targets.key")
@repository
@click.argument("role")
@family_key
@passphrase_option
@output_options
def renew(repository: Path, role: str, key: Path, passphrase_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Sign targets, or a family, once more before its time is over."""
    opened(repository).renew(role, signers(passphrase_file)(key))
    done(as_json, f"{role} is signed anew; publish to make it known")


@click.command(
    epilog="Example: edgegen release rekey updates timestamp --pub new.pub --root-key r1.key --root-key r2.key"
)
@repository
@click.argument("role", type=click.Choice(["root", "targets", "snapshot", "timestamp"]))
@click.option(
    "--pub", "keys", type=PATH, multiple=True, required=True, help="A public key that the role has from now on."
)
@click.option(
    "--threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them must sign."
)
@root_keys
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

    sign = signers(passphrase_file)
    roots = [sign(path) for path in root_keys]
    opened(repository).rekey(role, [trusted_key(path) for path in keys], threshold, roots)
    done(as_json, f"{role} has other keys; sign anew what it signed")
