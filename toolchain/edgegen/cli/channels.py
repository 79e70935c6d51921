"""What ``pull``, ``verify`` and ``inspect`` share of a place's releases: whom to trust, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgegen.cli.access import plain

if TYPE_CHECKING:
    from edgegen.artifacts.registry_reference import Reference
    from edgegen.artifacts.release_place import Trusting, Wanted

F = TypeVar("F", bound=Callable[..., Any])


def trusting_options(function: F) -> F:
    """Adds ``--root`` and ``--state``."""
    function = click.option(
        "--state",
        type=click.Path(path_type=Path),
        help="Folder that keeps what was seen of the place's releases. Default: below EDGEGEN_STATE, ~/.local/state.",
    )(function)
    return click.option(
        "--root",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="The 1.root.json of whoever releases, got from them: trusted from now on. Once is enough.",
    )(function)


def trusting_of(reference: Reference, root: Path | None, state: Path | None) -> Trusting:
    """From where trust in a place's releases comes."""
    from edgegen.artifacts.release_place import Trusting, state_folder

    return Trusting(state=state or state_folder(reference), root=root)


def channel_document(wanted: Wanted) -> dict[str, Any]:
    """What was chosen of a channel, for machines."""
    if wanted.choice is None or wanted.listing is None:
        return {"channel": None}
    return {
        "channel": wanted.choice.release.channel,
        "device": wanted.choice.device,
        "expires_on": wanted.listing.document(None)["expires_on"],
        "passed": [
            {"name": item.name, "version": item.version, "target": item.target, "reason": reason}
            for item, reason in wanted.choice.passed
        ],
        "tag_of_that_name": wanted.shadowed,
    }


def show_choice(wanted: Wanted) -> None:
    """Says which release of a channel was chosen, and why no other."""
    if wanted.unasked:
        click.echo("  the place has releases, which were not asked: --root says whose are trusted")
    if wanted.choice is None:
        return
    release = wanted.choice.release
    click.echo(f"  channel {plain(release.channel)}: {plain(release.text())}")
    if release.target != wanted.choice.device:
        device = plain(wanted.choice.device)
        click.echo(
            f"    it fits {device}; its verdicts are {plain(release.target)}'s, and verify --target wants that name"
        )
    for item, reason in wanted.choice.passed:
        click.echo(f"    not {plain(item.text())}: {plain(reason)}")
    if wanted.shadowed:
        click.echo(f"  a plain tag is called {plain(release.channel)} too: the channel counts, nobody signed the tag")


def show_releases(document: Mapping[str, Any], title: str | None = None) -> None:
    """Says which version each target gets of each channel, and what was taken back."""
    if document["checked"]:
        title = title or f"releases, signed by whom you trust, until {document['expires_on']}"
    click.echo(f"\n{title or 'releases as the place tells them (not checked: --root says whom to trust)'}")
    rows = [*document["channels"]]
    for item in rows:
        line = f"{item['channel']}, {item['target']}: {item['name']} {item['version']}"
        click.echo(f"  {plain(line)} {item['digest']}")
    for item in document["recalled"]:
        click.echo(f"  recalled: {plain(item['name'])} {plain(item['version'])} for {plain(item['target'])}")
        click.echo(f"    {item['digest']}: {plain(item['reason'])}")
    if not rows:
        click.echo("  nothing is released")
    if document["is_recalled"]:
        click.echo("the bundle shown was RECALLED")
    elif document["current_in"]:
        click.echo(f"the bundle shown is current in {plain(', '.join(document['current_in']))}")
