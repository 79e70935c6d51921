"""``edgegen release …``: who may release what, and how roles get other keys."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.console import output_options
from edgegen.cli.passphrase import passphrase_option
from edgegen.cli.release_options import (
    KEY,
    done,
    family_key,
    opened,
    opened_with_public,
    public_keys,
    repository,
    root_keys,
)
from edgegen.cli.signers import opened as opened_keys


@click.command(
    epilog="Example: edgegen release init updates --root-key r1.key --root-key r2.key --root-threshold 2 ..."
)
@repository
@root_keys
@click.option("--root-threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many must sign.")
@click.option("--targets-key", metavar=KEY, required=True, help="Says which key may release for which devices.")
@click.option("--online-key", metavar=KEY, required=True, help="Signs snapshot and timestamp, at every publication.")
@passphrase_option
@output_options
def init(
    repository: Path,
    root_keys: tuple[str, ...],
    root_threshold: int,
    targets_key: str,
    online_key: str,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Begin a repository in which nothing is released yet. Give 1.root.json to every device."""
    with opened_keys([*root_keys, targets_key, online_key], passphrase_file) as (*root, targets, online):
        opened(repository).begin(root, root_threshold, targets, online)
    done(as_json, f"begun; devices need {repository / 'metadata' / '1.root.json'}")


@click.command(epilog="Example: edgegen release delegate updates pi --pub pi.pub --targets 'raspberrypi*' --key t.key")
@repository
@click.argument("family")
@public_keys
@click.option("--targets", multiple=True, required=True, help="Targets of the family; * stands for any letters.")
@family_key
@passphrase_option
@output_options
def delegate(
    repository: Path,
    family: str,
    keys: tuple[str, ...],
    targets: tuple[str, ...],
    key: str,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let keys release for a family of devices, in place of those that it had. --key: the targets key."""
    with opened_with_public(keys, [key], passphrase_file) as (trusted, (signer,)):
        opened(repository).delegate(family, trusted, targets, signer)
    done(as_json, f"{family}: {', '.join(targets)}; publish to make it known")


@click.command(epilog="Example: edgegen release renew updates targets --key targets.key")
@repository
@click.argument("role")
@family_key
@passphrase_option
@output_options
def renew(repository: Path, role: str, key: str, passphrase_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Sign targets, or a family, once more before its time is over."""
    with opened_keys([key], passphrase_file) as (signer,):
        opened(repository).renew(role, signer)
    done(as_json, f"{role} is signed anew; publish to make it known")


@click.command(
    epilog="Example: edgegen release rekey updates timestamp --pub new.pub --root-key r1.key --root-key r2.key"
)
@repository
@click.argument("role", type=click.Choice(["root", "targets", "snapshot", "timestamp"]))
@public_keys
@click.option(
    "--threshold", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them must sign."
)
@root_keys
@passphrase_option
@output_options
def rekey(
    repository: Path,
    role: str,
    keys: tuple[str, ...],
    threshold: int,
    root_keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give a role other keys, after a loss or in good time; then sign anew what it signed (renew, publish)."""
    with opened_with_public(keys, root_keys, passphrase_file) as (trusted, root):
        opened(repository).rekey(role, trusted, threshold, root)
    done(as_json, f"{role} has other keys" + ("" if role == "root" else "; sign anew what it signed"))
