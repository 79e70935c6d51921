"""``edgegen flash``: a firmware, or a build's C model as a firmware, onto a microcontroller board."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.console import offline_option, output_options, print_json, progress
from edgegen.cli.passphrase import passphrase_option

if TYPE_CHECKING:
    from edgegen.devices.mcu.firmware import Preset


@click.command(epilog="Example: edgegen flash build/nucleo-l4r5zi --target nucleo-l4r5zi")
@click.argument("what", type=click.Path(path_type=Path))
@click.option("--target", "-t", required=True, help="The board; edgegen targets lists what there is.")
@click.option("--port", default="", help="Serial port of the boot loader (esptool, stm32loader).")
@click.option("--drive", type=click.Path(path_type=Path, file_okay=False), help="Drive of the UF2 boot loader.")
@click.option("--preset", type=click.Choice(["speed", "size"]), default="speed", help="How the model is compiled.")
@click.option(
    "--boot-key", metavar="FILE|pkcs11:URI",
    help="An Ed25519 key: the firmware checks its signature of the model and runs golden vectors before it answers.",
)  # fmt: skip
@passphrase_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@offline_option
@output_options
def command(
    what: Path,
    target: str,
    port: str,
    drive: Path | None,
    preset: Preset,
    boot_key: str | None,
    passphrase_file: Path | None,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a firmware to a microcontroller board.

    WHAT is a firmware (.elf, .bin, .uf2), an exported C model (model.c, c-library.zip), or a build's folder.
    """
    from edgegen.cli.signers import opened
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.flash import flash

    cache = Cache()
    keys = [] if boot_key is None else [boot_key]
    with opened(keys, passphrase_file) as signers, progress(quiet=quiet) as teller, cache.in_use():
        done = flash(
            what,
            target,
            project=project_folder(),
            cache=cache,
            progress=teller,
            port=port,
            drive=drive,
            preset=preset,
            offline=offline,
            dry=dry_run,
            signer=signers[0] if signers else None,
        )
    if as_json:
        print_json(done.document())
        return
    verb = "would write" if dry_run else "wrote"
    for line in done.written.commands:
        click.echo(f"  {shlex.join(line)}")
    if done.written.copied_to:
        click.echo(f"  copy to {done.written.copied_to}")
    click.echo(f"{verb} {done.written.size_bytes:,} bytes to {done.target}")
