"""``edgegen inspect``: what is in an artifact, who signed it, what was proven."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.access import access_of, access_options, known_target, plain
from edgegen.cli.console import output_options, print_json


@click.command(epilog="Example: edgegen inspect registry.example.com/fw/keywords:1.2.0 --target raspberrypi5")
@click.argument("reference", metavar="REGISTRY/NAME[:TAG|@DIGEST]")
@click.option("--target", metavar="T", help="The device, where the tag stands for several.")
@access_options
@output_options
def command(reference: str, target: str | None, ca: Path | None, plain_http: bool, as_json: bool, quiet: bool) -> None:
    """Show what is in an artifact without fetching its model: a registry's, a folder's or a web server's.

    Every digest of what is shown was checked; whose the signatures are is for edgegen verify to say.
    """
    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.transfer_look import look
    from edgegen.artifacts.transfer_places import source_of

    wanted, access = parse_reference(reference), access_of(ca, plain_http)
    with source_of(wanted, access) as source:
        document = look(source, wanted.wanted, known_target(target), access.patience)
    if as_json:
        print_json({**document, "exit_code": 0})
        return
    click.echo(f"{document['place']}, {document['reference']}: {document['digest']}")
    for item in document["targets"]:
        click.echo(f"  for {plain(item['target'])}: {item['digest']}")
    if document["bundle"] is not None:
        _show(document["bundle"])
    elif document["targets"]:
        click.echo("choose one with --target")


def _show(bundle: Mapping[str, Any]) -> None:
    manifest = bundle["manifest"]
    click.echo(f"\n{plain(manifest['name'])} {plain(manifest['version'])} for {plain(manifest['target'])}")
    click.echo(f"  {plain(manifest['candidate'])}, {plain(manifest['runtime'])} {plain(manifest['runtime_version'])}")
    for role in ("inputs", "outputs"):
        for item in manifest[role]:
            click.echo(f"  {role[:-1]} {plain(item['name'])}: {plain(item['dtype'])} {item['shape']}")
    click.echo(f"\ncore {bundle['digest']}")
    _files(bundle["files"])
    for item in bundle["about"]:
        click.echo(f"{plain(item['artifact_type']).split('.')[2]} {item['digest']}")
        _files(item["files"])
    click.echo("\nproven")
    for item in (*bundle["verdicts"], *bundle["verdicts_of_the_moment"]):
        value = "" if item.get("value") is None else f", {item['value']} {plain(item.get('unit', ''))}".rstrip()
        limit = f" ({item['direction']} {item['limit']})" if "limit" in item and "direction" in item else ""
        kind = f", {plain(item['kind'])}" if "kind" in item else ""
        click.echo(f"  {plain(item.get('budget'))}: {plain(item.get('status'))}{value}{limit}{kind}")
    for item in bundle["data"]:
        click.echo(f"\ndata {plain(item['name'])}: {plain(', '.join(item['licences']) or 'no licence told')}")
    click.echo("" if bundle["signatures"] else "\nno signature")
    for item in bundle["signatures"]:
        if "refused" in item:
            click.echo(f"signature that does not count: {plain(item['refused'])}")
        else:
            until = "" if item["expires_on"] is None else f", until {item['expires_on']}"
            click.echo(f"signed {item['signed_on']}{until} by key {plain(', '.join(item['keys']))} (not checked here)")
    if bundle["cosign"]:
        click.echo("cosign's form of signatures is there too")
    for item in bundle["others"]:
        click.echo(f"also about it: {plain(item['artifact_type'])} {item['digest']}")


def _files(files: list[Mapping[str, Any]]) -> None:
    for item in files:
        click.echo(f"  {item['size_bytes']:>12,}  {item['path']}")
