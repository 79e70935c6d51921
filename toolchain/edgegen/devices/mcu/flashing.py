"""How a firmware gets onto a board: the command line of the profile's tool, or a copy to the boot loader's drive."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, TargetError, ToolMissingError, UsageError
from edgegen.core.given_file import read_file
from edgegen.core.targets import Flashing, TargetProfile
from edgegen.devices.mcu.images import plain_image, uf2_image

_TIMEOUT_S = 300.0
_INSTALL: Mapping[str, str] = {
    "pyocd": "pip install 'edgegen[flash]'",
    "openocd": "apt install openocd",
    "esptool": "pip install 'edgegen[flash]'",
    "stm32loader": "pip install 'edgegen[flash]'",
}
_UF2_MARK = "INFO_UF2.TXT"  # every UF2 boot loader's drive has it
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was done, or would be."""

    tool: str
    commands: tuple[tuple[str, ...], ...]  # that write the firmware; none of a copy
    copied_to: str  # empty where a tool wrote it
    size_bytes: int  # of the image


def write_firmware(
    profile: TargetProfile, firmware: Path, work: Path, *, port: str = "", drive: Path | None = None, dry: bool = False
) -> Written:
    """Writes a firmware to the board of ``profile``.

    Args:
        firmware: ELF file; ``.bin`` and ``.uf2`` are taken as they are.
        work: empty folder for images.
        port: serial port of tools that speak to a boot loader.
        drive: where the boot loader's drive is mounted, of ``uf2``.
        dry: only say what would be done.

    Raises:
        TargetError: the profile does not say how.
        UsageError: a port or drive is needed, or the file is no firmware.
        ToolMissingError: the tool is not installed, or fails.
    """
    flashing = profile.flashing
    if flashing is None:
        raise TargetError(
            "the profile does not say how firmware gets onto the device",
            where=profile.name,
            expected="a table [flashing]" + (f"; {profile.name} exists in emulation only" if profile.mcu else ""),
        )
    image, address, elf = _read(firmware, flashing)
    if flashing.tool == "uf2":
        return _copy(flashing, image, address, firmware, drive, dry=dry)
    if flashing.tool in ("esptool", "stm32loader") and not port:
        raise UsageError(
            f"{flashing.tool} needs the board's serial port",
            where=profile.name,
            next_step=f"edgegen flash … --target {profile.name} --port /dev/ttyACM0",
        )
    if not elf and flashing.tool == "openocd" and not address:
        raise UsageError("openocd needs the address of a plain binary", next_step="give the ELF file")
    name = "firmware.elf" if elf and flashing.tool in ("pyocd", "openocd") else "firmware.bin"
    (work / name).write_bytes(firmware.read_bytes() if name.endswith(".elf") else image)
    commands = tuple(tuple(command) for command in commands_of(flashing, name, address, port))
    if not dry:
        for command in commands:
            _run(flashing.tool, command, work)
    return Written(tool=flashing.tool, commands=commands, copied_to="", size_bytes=len(image))


def commands_of(flashing: Flashing, name: str, address: int, port: str) -> list[list[str]]:
    """Command lines that write the file ``name`` of the folder they run in."""
    if flashing.tool == "pyocd":
        place = [] if name.endswith(".elf") else ["--base-address", f"{address:#x}"]
        chip = ["--target", flashing.chip]
        return [["pyocd", "load", "--no-wait", *chip, *place, name], ["pyocd", "reset", "--no-wait", *chip]]
    if flashing.tool == "openocd":
        interface = ["-f", flashing.interface] if flashing.interface else []
        place_text = "" if name.endswith(".elf") else f" {address:#x}"
        program = f"program {name} verify reset exit{place_text}"
        return [["openocd", *interface, "-f", flashing.chip, "-c", program]]
    if flashing.tool == "esptool":
        return [["esptool", "--chip", flashing.chip, "--port", port, "write-flash", f"{address:#x}", name]]
    options = ["-e", "-w", "-v", "-f", flashing.chip, "-a", f"{address:#x}"]
    return [["stm32loader", "-p", port, *options, name]]


def _read(firmware: Path, flashing: Flashing) -> tuple[bytes, int, bool]:
    """The image, where it goes, and whether it came as an ELF file."""
    data = read_file(firmware, "the firmware", limit_bytes=_MOST_BYTES)
    if not data:
        raise UsageError("not a firmware", where=str(firmware), got="an empty file", expected="1 byte to 64 MiB")
    if firmware.suffix == ".uf2" and flashing.tool == "uf2":
        return data, flashing.address, False
    if data.startswith(b"\x7fELF"):
        try:
            address, image = plain_image(data)
        except BuildError as error:
            raise UsageError("not a firmware", where=str(firmware), got=error.what) from error
        return image, address, True
    if firmware.suffix == ".bin":
        return data, flashing.address, False
    raise UsageError(
        "not a firmware", where=str(firmware), expected="an ELF file, .bin, or .uf2 where a drive takes it"
    )


def _copy(flashing: Flashing, image: bytes, address: int, firmware: Path, drive: Path | None, *, dry: bool) -> Written:
    if drive is None or not (drive / _UF2_MARK).is_file():
        raise UsageError(
            "no drive of a UF2 boot loader",
            where=str(drive) if drive else None,
            expected=f"a folder with {_UF2_MARK}",
            next_step="hold the board's boot button while it is plugged in, and give --drive /media/…/RPI-RP2",
        )
    data = image if firmware.suffix == ".uf2" else uf2_image(image, address, int(flashing.chip, 16))
    target = drive / "firmware.uf2"
    if not dry:
        try:
            target.write_bytes(data)
        except OSError as error:
            raise ToolMissingError("the drive does not take the firmware", where=str(target), got=error) from error
    return Written(tool="uf2", commands=(), copied_to=str(target), size_bytes=len(image))


def _run(tool: str, command: Sequence[str], work: Path) -> None:
    if shutil.which(command[0]) is None:
        raise ToolMissingError(f"{tool} is not installed", where=" ".join(command), next_step=_INSTALL[tool])
    try:
        done = subprocess.run(
            list(command),
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolMissingError(f"{tool} did not end within {_TIMEOUT_S:.0f} s", where=" ".join(command)) from error
    except OSError as error:
        raise ToolMissingError(f"{tool} does not start", where=" ".join(command), got=error) from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-400:]
        raise ToolMissingError(
            f"{tool} failed with status {done.returncode}",
            where=" ".join(command),
            got=words,
            next_step="check that the board is plugged in, and that you may use it (udev rules, group dialout)",
        )
