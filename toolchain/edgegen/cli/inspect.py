"""``edgegen inspect``: what is in an artifact, who signed it, what was proven."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.access import access_of, access_options, known_target, plain
from edgegen.cli.channels import show_releases, trusting_of, trusting_options
from edgegen.cli.console import output_options, print_json
from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    from edgegen.artifacts.registry_patience import Patience
    from edgegen.artifacts.transfer import Source


@click.command(epilog="Example: edgegen inspect registry.example.com/fw/keywords:1.2.0 --target raspberrypi5")
@click.argument("reference", metavar="REGISTRY/NAME[:CHANNEL|:TAG|@DIGEST]")
@click.option("--target", metavar="T", help="The device, where the tag stands for several.")
@click.option("--name", metavar="PROJECT", help="The project, where a channel has several.")
@click.option(
    "--sbom", type=click.Choice(["cyclonedx", "spdx"]), help="Print the bill of materials alone: as it is, or as SPDX."
)
@trusting_options
@access_options
@output_options
def command(
    reference: str,
    target: str | None,
    name: str | None,
    sbom: str | None,
    root: Path | None,
    state: Path | None,
    ca: Path | None,
    plain_http: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what is in an artifact without fetching its model: a registry's, a folder's or a web server's.

    Every digest of what is shown was checked; whose the signatures are is for edgegen verify to say. Where the place
    has releases, it is shown which version each target gets; they are checked once --root said whom to trust.
    """
    from edgegen.artifacts.registry_reference import parse_reference
    from edgegen.artifacts.release_look import look_at
    from edgegen.artifacts.transfer_places import source_of

    if sbom is not None and as_json:
        raise click.UsageError("--sbom prints a JSON document of its own: leave --json away")
    place, access = parse_reference(reference), access_of(ca, plain_http)
    trusting = trusting_of(place, root, state)
    with source_of(place, access) as source:
        document = look_at(source, place, trusting, target=known_target(target), name=name, patience=access.patience)
        bill = None if sbom is None else _bill(document, sbom, source, access.patience)
    if bill is not None:
        print_json(bill)
        return
    if as_json:
        print_json({**document, "exit_code": 0})
        return
    click.echo(f"{document['place']}, {document['reference']}: {document['digest'] or 'the releases alone'}")
    for item in document["targets"]:
        click.echo(f"  for {plain(item['target'])}: {item['digest']}")
    if document["bundle"] is not None:
        _show(document["bundle"])
    elif document["targets"]:
        click.echo("choose one with --target")
    if document["releases"] is not None:
        show_releases(document["releases"])


def _bill(document: Mapping[str, Any], form: str, source: Source, patience: Patience) -> dict[str, Any]:
    from edgegen.artifacts.spdx import spdx_document
    from edgegen.artifacts.transfer_look import bill_of

    if document["bundle"] is None:
        raise UsageError(
            "the reference names no bundle, or those of several targets",
            where=document["reference"],
            got=", ".join(str(item["target"]) for item in document["targets"]) or None,
            next_step="choose one with --target",
        )
    digest = document["bundle"]["digest"]
    bill = bill_of(source, digest, patience)
    return spdx_document(bill, digest) if form == "spdx" else bill


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
