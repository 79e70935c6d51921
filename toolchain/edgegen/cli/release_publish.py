"""``edgegen release …``: makes known what was signed, and finds out what is current."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.access import access_of, access_options, known_target
from edgegen.cli.console import output_options, print_json
from edgegen.cli.passphrase import passphrase_option
from edgegen.cli.release_options import KEY, PATH, done, now, opened, repository
from edgegen.cli.signers import opened as opened_keys
from edgegen.core.lazy import load


@click.command(epilog="Example: edgegen release publish updates --push registry.example.com/fw/keywords --key o.key")
@repository
@click.option(
    "--key",
    "keys",
    metavar=KEY,
    multiple=True,
    required=True,
    help="The online key. Repeat it where the roles have two.",
)
@click.option("--push", "place", metavar="REGISTRY/NAME", help="Beside the bundles there too, or into oci:DIR.")
@click.option("--replace", is_flag=True, help="Replace releases there that another root vouches for.")
@access_options
@passphrase_option
@output_options
def publish(
    repository: Path,
    keys: tuple[str, ...],
    place: str | None,
    replace: bool,
    ca: Path | None,
    plain_http: bool,
    passphrase_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make everything that was added known, all at once; repeat it within a week.

    With --push what others published there is brought in first, and stays.
    """
    if replace and place is None:
        raise click.UsageError("--replace goes with --push")
    if place is None:
        with opened_keys(keys, passphrase_file) as online:
            opened(repository).publish(*online)
        done(as_json, "published")
        return
    from edgegen.artifacts.registry_reference import parse_reference

    into = load("edgegen.artifacts.release_publish:publish_into", extra="trust")
    reference, access = parse_reference(place), access_of(ca, plain_http)
    with opened_keys(keys, passphrase_file) as online:
        digest = into(opened(repository), online, reference, access, replace=replace)
    done(as_json, f"published in {reference.text()}: {digest}", digest=digest)


@click.command(epilog="Example: edgegen release fetch updates registry.example.com/fw/keywords --root 1.root.json")
@repository
@click.argument("place", metavar="REGISTRY/NAME")
@click.option("--root", type=PATH, help="The 1.root.json that you trust; needed where the folder is new.")
@click.option("--theirs", is_flag=True, help="Where both changed a role, drop what is in the folder.")
@access_options
@output_options
def fetch(
    repository: Path,
    place: str,
    root: Path | None,
    theirs: bool,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring what others published into a folder, to sign more."""
    from edgegen.artifacts.registry_reference import parse_reference

    take = load("edgegen.artifacts.release_publish:fetch_from", extra="trust")
    reference, access = parse_reference(place), access_of(ca, plain_http)
    take(repository, now(), reference, access, root=root, prefer_theirs=theirs)
    done(as_json, f"{repository} has what {reference.text()} has")


@click.command(epilog="Example: edgegen release find registry.example.com/fw/keywords --target raspberrypi5 --name kws")
@click.argument("place", metavar="REGISTRY/NAME[:CHANNEL]")
@click.option("--target", required=True, help="The device.")
@click.option("--name", required=True, help="The project's name.")
@click.option("--channel", help="stable, canary, or a name of your own. Default: the place's, else stable.")
@click.option(
    "--state", type=PATH, help="Keeps what was seen. Default: as pull has it; of a plain repository release-state."
)
@click.option("--root", type=PATH, help="The 1.root.json that you trust; needed the first time.")
@access_options
@output_options
def find(
    place: str,
    target: str,
    name: str,
    channel: str | None,
    state: Path | None,
    root: Path | None,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find out which bundle is current: its digest is what edgegen pull NAME@DIGEST takes.

    REGISTRY/NAME may be whatever pull takes (oci:DIR, a folder, https://HOST/PATH), or the folder of a repository as
    it is, here or on a web server.
    """
    finder = load("edgegen.artifacts.release_find_in:find_in", extra="trust")
    asked = {"target": known_target(target), "channel": channel, "name": name}
    found = finder(place, access_of(ca, plain_http), **asked, state=state, root=root)
    if as_json:
        document = {"schema_version": 1, "name": found.name, "version": found.version, "target": found.target}
        print_json({**document, "channel": found.channel, "digest": found.digest, "exit_code": 0})
        return
    click.echo(f"{found.name} {found.version} for {found.target} ({found.channel})")
    click.echo(found.digest)
