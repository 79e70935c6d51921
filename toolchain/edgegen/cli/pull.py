"""``edgegen pull``: a bundle from a registry, a folder or a web server."""

from __future__ import annotations

from pathlib import Path

import click

from edgegen.cli.access import access_of, access_options, known_target, plain
from edgegen.cli.console import output_options, print_json, progress


@click.command(epilog="Example: edgegen pull registry.example.com/fw/keywords:1.2.0 --target raspberrypi5")
@click.argument("reference", metavar="REGISTRY/NAME[:TAG|@DIGEST]")
@click.option("--target", metavar="T", help="The device: chooses among several, and refuses a bundle for another.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to put it in. Default: the last part of NAME.")
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=16 << 30, show_default=True, help="Refuse a larger bundle."
)
@access_options
@output_options
def command(
    reference: str,
    target: str | None,
    out: Path | None,
    max_bytes: int,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Pull a bundle and check every byte of it: OUT/bundle (an OCI layout) and OUT/files (by name).

    REGISTRY/NAME may be oci:DIR, a folder, or https://HOST/PATH of a web server that serves such a folder. Nothing
    is put in its place before it is whole; repeat a pull that was cut off, and it goes on.
    """
    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.transfer_places import source_of
    from edgegen.artifacts.transfer_pull import pull

    wanted, access = parse_reference(reference), access_of(ca, plain_http)
    folder = out or Path(wanted.short_name)
    with progress(quiet=quiet) as shown, source_of(wanted, access) as source:
        pulled = pull(
            source,
            wanted.wanted,
            folder,
            target=known_target(target),
            progress=shown,
            patience=access.patience,
            max_bytes=max_bytes,
        )
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "place": source.place,
                "reference": wanted.wanted,
                "digest": pulled.digest,
                "name": pulled.manifest.name,
                "version": pulled.manifest.version,
                "target": pulled.manifest.target,
                "folder": str(pulled.folder),
                "fetched_bytes": pulled.fetched_bytes,
                "kept_bytes": pulled.kept_bytes,
                "signatures": pulled.signatures,
                "exit_code": 0,
            }
        )
        return
    told = pulled.manifest
    click.echo(f"  {plain(told.name)} {plain(told.version)} for {plain(told.target)}")
    click.echo(f"  fetched {pulled.fetched_bytes:,} bytes; {pulled.kept_bytes:,} were here already")
    click.echo(f"  {pulled.signatures or 'no'} signature(s): edgegen verify tells whose, and whether they count")
    click.echo(f"intact: {pulled.digest} in {pulled.folder}")
