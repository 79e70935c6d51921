"""Firmware onto boards: images, command lines with stand-ins for the tools, and what is said where something lacks."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import ExitCode, TargetError, ToolMissingError, UsageError
from edgegen.core.targets import load_target
from edgegen.devices.mcu.flashing import commands_of, write_firmware
from edgegen.devices.mcu.images import plain_image, uf2_image

PYOCD_LOAD, PYOCD_RESET = "pyocd load --no-wait --target", "pyocd reset --no-wait --target"
OPENOCD, PROGRAM = "openocd -f interface/stlink.cfg", "-c program firmware.elf verify reset exit"

STAND_IN = """#!/bin/sh
printf '%s\\n' "$0" "$@" >> "{log}"
for file in firmware.elf firmware.bin; do [ -f "$file" ] && cp "$file" "{log}.$file"; done
{end}
"""


def elf(segments: list[tuple[int, bytes]]) -> bytes:
    """A 32-bit ELF file of segments alone: where each is loaded, and its bytes."""
    magic, begin = b"\x7fELF\x01\x01\x01" + bytes(9), 52 + 32 * len(segments)
    head = struct.pack("<16sHHIIIIIHHHHHH", magic, 2, 40, 1, 0, 52, 0, 0, 52, 32, len(segments), 40, 0, 0)
    table, data = b"", b""
    for place, piece in segments:
        table += struct.pack("<8I", 1, begin + len(data), place, place, len(piece), len(piece), 5, 4)
        data += piece
    return head + table + data


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "given.elf"
    path.write_bytes(elf([(0x08000000, b"code"), (0x08000010, b"data")]))
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, end: str = "exit 0") -> Path:
    """A program of the tool's name first on PATH; it writes down how it was called."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir(exist_ok=True)
    (folder / tool).write_text(STAND_IN.format(log=log, end=end))
    (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return log


def test_flash_image_fills_gaps_as_erased_flash() -> None:
    assert plain_image(elf([(0x10, b"bb"), (0x8, b"aaaa")])) == (0x8, b"aaaa\xff\xff\xff\xffbb")


def test_flash_uf2_is_blocks_with_addresses() -> None:
    image = bytes(range(256)) + b"end"
    blocks = uf2_image(image, 0x10000000, 0xE48BFF56)
    assert len(blocks) == 1024
    for number in range(2):
        block = blocks[512 * number : 512 * number + 512]
        fields = struct.unpack_from("<8I", block)
        place = 0x10000000 + 256 * number
        assert fields == (0x0A324655, 0x9E5D5157, 0x2000, place, 256, number, 2, 0xE48BFF56)
        assert block[-4:] == struct.pack("<I", 0x0AB16F30)
    assert blocks[32:288] == image[:256]
    assert blocks[544:547] == b"end"


@pytest.mark.parametrize(
    ("target", "port", "lines"),
    [
        (
            "nucleo-l4r5zi",
            "",
            [
                "pyocd load --no-wait --target stm32l4r5zitx firmware.elf",
                "pyocd reset --no-wait --target stm32l4r5zitx",
            ],
        ),
        (
            "nucleo-f746zg",
            "",
            [
                f"{OPENOCD} -f target/stm32f7x.cfg {PROGRAM}",
            ],
        ),
        (
            "nrf52840-dk",
            "",
            [f"{PYOCD_LOAD} nrf52840 firmware.elf", f"{PYOCD_RESET} nrf52840"],
        ),
        (
            "stm32u5",
            "",
            [f"{OPENOCD} -f target/stm32u5x.cfg {PROGRAM}"],
        ),
        ("esp32-c3", "/dev/ttyACM0", ["esptool --chip esp32c3 --port /dev/ttyACM0 write-flash 0x8000000 firmware.bin"]),
    ],
)
def test_flash_calls_the_profiles_tool(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    firmware: Path,
    work: Path,
    target: str,
    port: str,
    lines: list[str],
) -> None:
    profile = load_target(target)
    assert profile.flashing is not None
    log = stand_in(tmp_path, monkeypatch, profile.flashing.tool)
    written = write_firmware(profile, firmware, work, port=port)
    assert [" ".join(command) for command in written.commands] == lines
    called = log.read_text().splitlines()
    words = [word for command in written.commands for word in command[1:]]
    assert [word for word in called if not word.endswith(f"bin/{profile.flashing.tool}")] == words
    sent = Path(f"{log}.{'firmware.elf' if 'firmware.elf' in lines[0] else 'firmware.bin'}").read_bytes()
    assert sent in (firmware.read_bytes(), b"code" + b"\xff" * 12 + b"data")
    assert written.size_bytes == 20


def test_flash_without_the_tool_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, firmware: Path, work: Path
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for target, port, says in (
        ("nucleo-l4r5zi", "", "pip install 'edgegen\\[flash\\]'"),
        ("nucleo-f746zg", "", "apt install openocd"),
        ("esp32-c3", "/dev/ttyUSB0", "pip install 'edgegen\\[flash\\]'"),
    ):
        with pytest.raises(ToolMissingError, match=says) as caught:
            write_firmware(load_target(target), firmware, work, port=port)
        assert caught.value.exit_code == ExitCode.NOT_JUDGED


def test_flash_tool_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware: Path, work: Path
) -> None:
    stand_in(tmp_path, monkeypatch, "pyocd", "echo 'No connected debug probes' >&2; exit 1")
    with pytest.raises(ToolMissingError, match=r"status 1.*No connected debug probes"):
        write_firmware(load_target("nucleo-l4r5zi"), firmware, work)


def test_flash_by_uf2_copies_to_the_drive(tmp_path: Path, firmware: Path, work: Path) -> None:
    profile, drive = load_target("rp2040"), tmp_path / "drive"
    drive.mkdir()
    with pytest.raises(UsageError, match="no drive of a UF2 boot loader"):
        write_firmware(profile, firmware, work, drive=drive)
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader")
    assert write_firmware(profile, firmware, work, drive=drive, dry=True).copied_to
    assert not (drive / "firmware.uf2").exists()
    write_firmware(profile, firmware, work, drive=drive)
    data = (drive / "firmware.uf2").read_bytes()
    assert struct.unpack_from("<I", data, 12) == (0x08000000,)
    ready = tmp_path / "ready.uf2"
    ready.write_bytes(data)
    write_firmware(profile, ready, work, drive=drive)
    assert (drive / "firmware.uf2").read_bytes() == data


@pytest.mark.parametrize("name", ["given.bin", "given.elf", "given.uf2", "given.txt"])
def test_flash_of_what_is_no_firmware_is_refused(tmp_path: Path, work: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name.endswith(".bin") else b"\x7fELF" if name.endswith(".elf") else b"text")
    with pytest.raises(UsageError, match="not a firmware"):
        write_firmware(load_target("nucleo-l4r5zi"), path, work)


def test_flash_needs_to_know_how(firmware: Path, work: Path) -> None:
    with pytest.raises(TargetError, match="exists in emulation only"):
        write_firmware(load_target("mps2-an386"), firmware, work)
    with pytest.raises(UsageError, match="needs the board's serial port"):
        write_firmware(load_target("esp32-c3"), firmware, work)


def test_flash_gives_a_plain_binary_its_address() -> None:
    flashing = load_target("nucleo-l4r5zi").flashing
    assert flashing is not None
    assert commands_of(flashing, "firmware.bin", 0x08000000, "")[0][3:7] == [
        *("--target", "stm32l4r5zitx", "--base-address", "0x8000000"),
    ]
    loader = replace(flashing, tool="stm32loader", chip="L4")
    assert " ".join(commands_of(loader, "firmware.bin", 0x08000000, "/dev/ttyUSB0")[0]) == (
        "stm32loader -p /dev/ttyUSB0 -e -w -v -f L4 -a 0x8000000 firmware.bin"
    )
    openocd = replace(flashing, tool="openocd", chip="target/x.cfg")
    assert commands_of(openocd, "firmware.bin", 0x08000000, "")[0][-1].endswith("verify reset exit 0x8000000")


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegen.cli.main", "flash", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_flash_command_says_what_it_would_do(firmware: Path) -> None:
    done = _command(str(firmware), "--target", "nucleo-l4r5zi", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["tool"], told["built"], told["dry_run"], told["size_bytes"]) == ("pyocd", False, True, 20)
    assert told["commands"][0][0] == "pyocd"


@pytest.mark.parametrize(
    ("what", "target", "says"),
    [
        ("nowhere", "nucleo-l4r5zi", "there is nothing to flash"),
        ("given.elf", "raspberrypi5", "only microcontrollers are flashed"),
        ("given.elf", "nucleo", "unknown target"),
    ],
)
def test_flash_command_refuses_with_a_paragraph(firmware: Path, what: str, target: str, says: str) -> None:
    done = _command(str(firmware.parent / what), "--target", target)
    assert done.returncode == ExitCode.USAGE
    assert says in done.stderr
    assert "Traceback" not in done.stderr
