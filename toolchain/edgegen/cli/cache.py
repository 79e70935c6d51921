"""``edgegen cache``: what builds have kept, and pruning it."""

from __future__ import annotations

import click

from edgegen.cli.console import output_options, print_json
from edgegen.core.cache import Cache, max_bytes


@click.group()
def command() -> None:
    """List or prune what builds have kept."""


@command.command("ls", epilog="Example: edgegen cache ls")
@output_options
def list_command(as_json: bool, quiet: bool) -> None:
    """Finished stages, and how much they hold."""
    cache = Cache()
    store = cache.store()
    usage = store.usage()
    rows = []
    for descriptor in store.manifests():
        manifest = store.manifest(descriptor["digest"])
        if manifest is not None:
            rows.append(
                {
                    "stage": manifest["annotations"].get("dev.edgegen.stage", "?"),
                    "seconds": float(manifest["annotations"].get("dev.edgegen.seconds", 0)),
                    "bytes": sum(layer["size"] for layer in manifest["layers"]),
                    "digest": descriptor["digest"],
                }
            )
    rows.sort(key=lambda row: str(row["stage"]))
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "folder": str(cache.root),
                "bytes": usage.bytes,
                "max_bytes": max_bytes(),
                "blobs": usage.blobs,
                "stages": rows,
            }
        )
        return
    for row in rows:
        click.echo(f"{row['bytes']:>12,}  {row['seconds']:>8.1f} s  {row['stage']}")
    click.echo(f"{usage.bytes:>12,} bytes of at most {max_bytes():,} in {cache.root}")


@command.command("prune", epilog="Example: edgegen cache prune --max-bytes 0")
@click.option("--max-bytes", "limit", type=click.IntRange(min=0), help="Keep at most this much. Default: the cap.")
@click.option("--corrupt", is_flag=True, help="Also remove blobs whose bytes are not what their name says.")
@output_options
def prune_command(limit: int | None, corrupt: bool, as_json: bool, quiet: bool) -> None:
    """Forget the least recently used stages until the store fits."""
    cache = Cache()
    with cache.alone():
        store = cache.store()
        removed = store.forget_corrupt() if corrupt else 0
        freed = store.prune(max_bytes() if limit is None else limit)
    if as_json:
        print_json(
            {"schema_version": 1, "freed_bytes": freed, "corrupt_removed": removed, "bytes": store.usage().bytes}
        )
    else:
        click.echo(
            f"freed {freed:,} bytes; {store.usage().bytes:,} remain" + (f"; {removed} corrupt" if removed else "")
        )
