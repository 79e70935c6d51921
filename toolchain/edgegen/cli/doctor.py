"""``edgegen doctor``: what is here, what is missing, and the fix. No change, and no network but to boards if asked."""

from __future__ import annotations

import platform
import shutil
import sys

import click

from edgegen.cli.console import output_options, print_json
from edgegen.core.cache import Cache, max_bytes
from edgegen.core.errors import ExitCode
from edgegen.core.lazy import load
from edgegen.core.project import project_folder
from edgegen.core.targets import TargetProfile, load_target, target_names
from edgegen.core.versions import installed

_LIBRARIES = {
    "torch": "edgegen",
    "onnx": "edgegen",
    "onnxruntime": "edgegen",
    "ai-edge-litert": "edgegen[litert]",
    "ai-edge-quantizer": "edgegen[litert]",
    "litert-torch": "edgegen[litert]",
    "executorch": "edgegen[executorch]",
}
_OTHERS_FILES = {"onnxruntime-gpu": "onnxruntime", "pyserial-labgrid": "pyserial"}
"""Distribution -> the one whose files it overwrites; the two cannot live together."""

Row = tuple[str, str, str, str]  # name, state, detail, fix
_BAD = ("missing", "refused", "broken")


@click.command(epilog="Example: edgegen doctor --target raspberrypi")
@click.option("--target", "-t", help="Look at one target only.")
@click.option("--boards", "ask_boards", is_flag=True, help="Ask the boards of the inventory whether they answer.")
@output_options
def command(target: str | None, ask_boards: bool, as_json: bool, quiet: bool) -> int:
    """What is here, what is missing, and the fix."""
    profiles = [load_target(target, project_folder())] if target else _distinct()
    rows = [*_here(), *(row for profile in profiles for row in _target_rows(profile))]
    rows += [row for profile in profiles for row in _board_rows(profile, ask_boards)]
    bad = [row for row in rows if row[1] in _BAD]
    code = ExitCode.NOT_JUDGED if bad else ExitCode.OK
    if as_json:
        keys = ("name", "state", "detail", "fix")
        print_json(
            {"schema_version": 1, "exit_code": int(code), "checks": [dict(zip(keys, row, strict=True)) for row in rows]}
        )
        return int(code)
    for name, state, detail, fix in rows:
        click.echo(f"{state:<10} {name:<34} {detail}" + (f"  -> {fix}" if fix else ""))
    return int(code)


def _distinct() -> list[TargetProfile]:
    """Every profile once; aliases and the fake stand for nothing of their own."""
    profiles = {profile.name: profile for name in target_names() if (profile := load_target(name)).name != "null"}
    return list(profiles.values())


def _here() -> list[Row]:
    python = sys.version_info >= (3, 11)
    linux = platform.system() == "Linux" and platform.machine() == "x86_64"
    cache = Cache()
    rows: list[Row] = [
        (
            "python",
            "ready" if python else "refused",
            platform.python_version(),
            "" if python else "use Python 3.11 or newer",
        ),
        (
            "machine",
            "ready" if linux else "refused",
            f"{platform.system()} {platform.machine()}",
            "" if linux else "emulation needs x86-64 Linux; elsewhere files are made, but not proven",
        ),
        ("cache", "ready", f"{cache.root} (at most {max_bytes():,} bytes of stages)", ""),
    ]
    client = shutil.which("ssh")
    rows.append(
        (
            "ssh",
            "ready" if client else "absent",
            client or "",
            "" if client else "for boards: apt install openssh-client",
        )
    )
    for library, package in _LIBRARIES.items():
        version = installed(library)
        rows.append(
            (library, "ready" if version else "absent", version or "", "" if version else f"pip install '{package}'")
        )
    for intruder, owner in _OTHERS_FILES.items():
        if installed(intruder) and installed(owner):
            rows.append(
                (
                    intruder,
                    "broken",
                    f"overwrites files of {owner}",
                    f"pip uninstall {intruder} {owner}; install one of them",
                )
            )
    return rows


def _target_rows(profile: TargetProfile) -> list[Row]:
    if profile.device.startswith("gpu:"):
        return [_gpu_row(profile)]
    if profile.mcu is not None:
        return _tool_rows(profile, "edgegen.devices.qemu_system:status")
    if profile.emulator is None:
        fits = platform.machine() == profile.isa
        return [
            (
                f"{profile.name}: machine",
                "ready" if fits else "missing",
                platform.machine(),
                "" if fits else f"needs {profile.isa}",
            )
        ]
    return _tool_rows(profile, "edgegen.devices.qemu_user:status")


def _tool_rows(profile: TargetProfile, status: str) -> list[Row]:
    found = load(status)(profile, Cache().root)
    return [(f"{profile.name}: {item.name}", item.state, item.detail, item.fix) for item in found]


def _board_rows(profile: TargetProfile, ask: bool) -> list[Row]:
    """The boards of the inventory that are of a target."""
    from edgegen.core.boards import boards_of, read_inventory

    rows = []
    for name, entry in boards_of(profile.name, read_inventory()).items():
        state, detail, fix = "listed", entry.url, "edgegen doctor --boards asks it"
        if ask:
            from edgegen.devices.inventory import board_status

            state, detail, fix = board_status(name, entry, profile, Cache().root)
        rows.append((f"{profile.name}: board {name}", state, detail, fix))
    return rows


def _gpu_row(profile: TargetProfile) -> Row:
    """Absent, not missing: a build goes on without a GPU and says what it could not measure."""
    from edgegen.core.ports import Silent
    from edgegen.devices.device import DeviceSettings, open_device

    settings = DeviceSettings(cache=Cache().root, offline=True, progress=Silent())
    device = open_device(profile.device, profile, settings)
    identity = device.identity()
    device.close()
    fits = platform.machine() == profile.isa
    if identity.gives and fits:
        return f"{profile.name}: GPU", "ready", identity.core, ""
    fix = "" if fits else f"build or measure on the {profile.isa} machine itself"
    return f"{profile.name}: GPU", "absent", identity.core, fix or "a machine with the GPU, and onnxruntime-gpu"
