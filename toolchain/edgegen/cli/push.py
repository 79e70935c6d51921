"""``edgegen push``: bundles into a registry or a folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.access import access_of, access_options
from edgegen.cli.console import output_options, print_json, progress


@click.command(
    epilog="Example: edgegen push build/raspberrypi4 build/raspberrypi5 registry.example.com/fw/keywords:1.2.0"
)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, type=click.Path(path_type=Path))
@click.argument("reference", metavar="REGISTRY/NAME[:TAG]")
@click.option("--add", is_flag=True, help="Keep the bundles of other targets that the tag lists already.")
@click.option("--mount-from", metavar="NAME", help="Another repository of the registry that may have the files.")
@access_options
@output_options
def command(
    bundles: tuple[Path, ...],
    reference: str,
    add: bool,
    mount_from: str | None,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Push bundles (a build's folder, or the bundle/ inside it); of several targets, one tag lists all.

    REGISTRY/NAME may be oci:DIR instead. Without a TAG it is the bundles' version. What the registry has already is not
    sent again; repeat a push that was cut off, and it goes on. Passwords are those of docker login or skopeo login.
    """
    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.transfer_places import destination_of, source_of
    from edgegen.artifacts.transfer_push import push
    from edgegen.artifacts.verify import bundle_folder

    if not bundles:
        raise click.UsageError(f"push takes bundles and, last, the place to push them to; got {reference!r} alone")
    place, access = parse_reference(reference), access_of(ca, plain_http, mount_from)
    folders = [bundle_folder(bundle) for bundle in bundles]
    with progress(quiet=quiet) as shown, destination_of(place, access) as destination:
        if add:
            with source_of(place, access) as earlier:
                pushed = push(folders, destination, place.tag, progress=shown, earlier=earlier)
        else:
            pushed = push(folders, destination, place.tag, progress=shown)
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "place": destination.place,
                "tag": pushed.tag,
                "digest": pushed.digest,
                "bundles": [{"target": target, "digest": digest} for target, digest in pushed.cores],
                "sent_bytes": pushed.sent_bytes,
                "present_bytes": pushed.present_bytes,
                "exit_code": 0,
            }
        )
        return
    for target, digest in pushed.cores:
        click.echo(f"  {target}: {digest}")
    click.echo(f"  sent {pushed.sent_bytes:,} bytes; {pushed.present_bytes:,} were there already")
    click.echo(f"pushed: {destination.place}:{pushed.tag}@{pushed.digest}")
