"""``edgegen pull``: a bundle from a registry, a folder or a web server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.access import access_of, access_options, known_target, plain
from edgegen.cli.channels import channel_document, show_choice, trusting_of, trusting_options
from edgegen.cli.console import output_options, print_json, progress
from edgegen.cli.self_test import run_self_test
from edgegen.cli.verify import policy_of

if TYPE_CHECKING:
    from edgegen.pipeline.self_test import SelfTested


@click.command(epilog="Example: edgegen pull registry.example.com/fw/keywords:stable --target raspberrypi5")
@click.argument("reference", metavar="REGISTRY/NAME[:CHANNEL|:TAG|@DIGEST]")
@click.option("--target", metavar="T", help="The device: of a channel the newest that fits it, else its own alone.")
@click.option("--name", metavar="PROJECT", help="The project, where a channel has several.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="A policy file: whom to trust for what.")
@click.option("--key", "keys", multiple=True, type=click.Path(path_type=Path), help="A public key that is trusted.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many of the --key must have signed. Default: 1.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to put it in. Default: the last part of NAME.")
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=16 << 30, show_default=True, help="Refuse a larger bundle."
)
@click.option("--self-test", "proves", is_flag=True, help="Run the golden vectors before the bundle takes its place.")
@trusting_options
@access_options
@output_options
def command(
    reference: str,
    target: str | None,
    name: str | None,
    policy_file: Path | None,
    keys: tuple[Path, ...],
    threshold: int | None,
    out: Path | None,
    max_bytes: int,
    proves: bool,
    root: Path | None,
    state: Path | None,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Pull a bundle and check every byte of it: OUT/bundle (an OCI layout) and OUT/files (by name).

    REGISTRY/NAME may be oci:DIR, a folder, or https://HOST/PATH of a web server that serves such a folder. Nothing
    is put in its place before it is whole; repeat a pull that was cut off, and it goes on. A CHANNEL is what signed
    metadata say is current: --root says once whose are trusted. With --policy or --key it is checked who signed.
    """
    from datetime import UTC, datetime

    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.release_pull import take
    from edgegen.artifacts.transfer_places import source_of

    place, access = parse_reference(reference), access_of(ca, plain_http)
    policy = policy_of(policy_file, keys, threshold)
    tested: list[SelfTested] = []
    with progress(quiet=quiet) as shown, source_of(place, access) as source:

        def prove(whole: Path) -> None:
            tested.append(run_self_test(whole, None, shown))

        taken = take(
            source,
            place,
            out or Path(place.short_name),
            trusting_of(place, root, state),
            target=known_target(target),
            policy=policy,
            now=datetime.now(UTC),
            progress=shown,
            patience=access.patience,
            name=name,
            max_bytes=max_bytes,
            prove=prove if proves else None,
        )
    pulled = taken.pulled
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "place": source.place,
                "reference": place.wanted,
                "digest": pulled.digest,
                "name": pulled.manifest.name,
                "version": pulled.manifest.version,
                "target": pulled.manifest.target,
                "folder": str(pulled.folder),
                "fetched_bytes": pulled.fetched_bytes,
                "kept_bytes": pulled.kept_bytes,
                "signatures": pulled.signatures,
                "signed_by": dict(taken.trust.signers) if taken.trust else {},
                **channel_document(taken.wanted),
                **({"self_test": tested[0].document()} if tested else {}),
                "exit_code": 0,
            }
        )
        return
    told = pulled.manifest
    click.echo(f"  {plain(told.name)} {plain(told.version)} for {plain(told.target)}")
    show_choice(taken.wanted)
    click.echo(f"  fetched {pulled.fetched_bytes:,} bytes; {pulled.kept_bytes:,} were here already")
    if taken.trust is not None:
        click.echo(f"  signed by {', '.join(sorted(taken.trust.signers))}")
    else:
        click.echo(f"  {pulled.signatures or 'no'} signature(s): edgegen verify tells whose, and whether they count")
    for item in tested:
        click.echo(f"  {item.said()}")
    click.echo(f"intact: {pulled.digest} in {pulled.folder}")
