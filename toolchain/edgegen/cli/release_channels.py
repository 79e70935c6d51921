"""``edgegen release …``: what is current in which channel, and what was taken back."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.channels import show_releases
from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option
from edgegen.cli.release_options import PATH, channel_option, done, family_key, opened, repository
from edgegen.cli.signers import opened as opened_keys
from edgegen.core.lazy import load


@click.command(epilog="Example: edgegen release add updates pi build/raspberrypi5 --channel canary --key pi.key")
@repository
@click.argument("family")
@click.argument("bundle", type=PATH)
@channel_option
@family_key
@passphrase_option
@output_options
def add(
    repository: Path,
    family: str,
    bundle: Path,
    channel: str,
    key: str,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a bundle the current one of its name, target and channel. --key: one of the family's."""
    from edgegen.artifacts.verify import bundle_folder, verify

    verified = verify(bundle_folder(bundle))
    put = load("edgegen.artifacts.release_channels:add", extra="trust")
    with opened_keys([key], passphrase_file) as (signer,):
        release = put(opened(repository), family, verified, channel, signer)
    done(as_json, f"{release.path}: {verified.digest}; publish to make it known")


@click.command(epilog="Example: edgegen release remove updates pi raspberrypi5/stable/digits.json --key pi.key")
@repository
@click.argument("family")
@click.argument("path")
@family_key
@passphrase_option
@output_options
def remove(
    repository: Path, family: str, path: str, key: str, passphrase_file: Path | None, as_json: bool, quiet: bool
) -> None:
    """Take a release out of its channel; a bad one is better recalled. --key: one of the family's."""
    take = load("edgegen.artifacts.release_channels:remove", extra="trust")
    with opened_keys([key], passphrase_file) as (signer,):
        take(opened(repository), family, path, signer)
    done(as_json, f"{path} is released no more; publish to make it known")


@click.command(epilog="Example: edgegen release promote updates pi --key pi.key")
@repository
@click.argument("family")
@click.option("--from", "start", default="canary", show_default=True, help="The channel that has the releases.")
@click.option("--to", default="stable", show_default=True, help="The channel that gets them.")
@click.option("--target", help="Of this target alone.")
@click.option("--name", help="Of this project alone.")
@family_key
@passphrase_option
@output_options
def promote(
    repository: Path,
    family: str,
    start: str,
    to: str,
    target: str | None,
    name: str | None,
    key: str,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make what is current in one channel current in another: the same bundles. --key: one of the family's."""
    move = load("edgegen.artifacts.release_channels:promote", extra="trust")
    with opened_keys([key], passphrase_file) as (signer,):
        moved = move(opened(repository), family, signer, start=start, to=to, target=target, name=name)
    text = "; ".join(f"{item.text()} is in {to}" for item in moved)
    done(as_json, f"{text}; publish to make it known", digests=[item.digest for item in moved])


@click.command(epilog="Example: edgegen release recall updates pi sha256:… --reason 'wrong scale' --key pi.key")
@repository
@click.argument("family")
@click.argument("bad", metavar="DIGEST|BUNDLE")
@click.option("--reason", required=True, help="Why; whoever meets the bundle is told.")
@click.option("--instead", metavar="VERSION", help="An earlier version that takes its place for devices without it.")
@family_key
@passphrase_option
@output_options
def recall(
    repository: Path,
    family: str,
    bad: str,
    reason: str,
    instead: str | None,
    key: str,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take a bad bundle back: out of every channel, and for good. --key: one of the family's.

    It is named by its digest, or by its folder. Devices that have it keep it until they are given a higher version:
    none goes back by itself.
    """
    take = load("edgegen.artifacts.release_channels:recall", extra="trust")
    from edgegen.artifacts.verify import bundle_folder, verify

    meant = bad if bad.startswith("sha256:") else verify(bundle_folder(Path(bad)))
    with opened_keys([key], passphrase_file) as (signer,):
        taken, restored = take(opened(repository), family, meant, signer, reason=reason, instead=instead)
    said = [f"{taken.name} {taken.version} for {taken.target} is recalled"]
    said += [f"{item.text()} is in {item.channel} again" for item in restored]
    done(as_json, f"{'; '.join(said)}; publish to make it known", instead=[item.digest for item in restored])


@click.command("list", epilog="Example: edgegen release list updates")
@repository
@output_options
def listed(repository: Path, as_json: bool, quiet: bool) -> None:
    """Show what the folder would publish: channels, and what was taken back."""
    told = load("edgegen.artifacts.release_channels:told", extra="trust")
    from edgegen.artifacts.release_place import Listing

    document = Listing(statements=tuple(told(opened(repository))), expires_on=None).document(None)
    if as_json:
        print_json({"schema_version": 1, **document, "exit_code": 0})
        return
    show_releases(document, f"releases in {repository}")
