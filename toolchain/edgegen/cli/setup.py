"""``edgegen setup``: a target's emulator and runtimes, before a build needs them."""

from __future__ import annotations

import time

import click

from edgegen.cli.console import output_options, print_json, progress
from edgegen.core.cache import Cache
from edgegen.core.project import project_folder
from edgegen.core.targets import load_target


@click.command(epilog="Example: edgegen setup raspberrypi")
@click.argument("target")
@click.option("--offline", is_flag=True, help="Never touch the network: only check and compile.")
@output_options
def command(target: str, offline: bool, as_json: bool, quiet: bool) -> None:
    """Provision a target's emulator and runtimes (build does it by itself)."""
    from edgegen.devices.device import DeviceSettings, open_device

    profile, cache, started = load_target(target, project_folder()), Cache(), time.monotonic()
    with progress(quiet=quiet) as teller, cache.in_use():
        device = open_device(
            profile.device, profile, DeviceSettings(cache=cache.root, offline=offline, progress=teller)
        )
        identity = device.identity()
        device.close()
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "target": profile.name,
                "core": identity.core,
                "emulated": identity.emulated,
                "tools": dict(identity.tools),
                "seconds": round(seconds, 3),
                "folder": str(cache.tools),
            }
        )
        return
    click.echo(
        f"{profile.title}: ready in {seconds:.1f} s ({identity.core}, {'emulated' if identity.emulated else 'real'})"
    )
