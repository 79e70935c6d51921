"""What a board says of itself, and whether it is the target."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import load_target
from edgegen.devices.ssh.look import check_look, name_of, notes_of, parse_look

CORE = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: {}\nCPU part\t: {}\n"


def text(
    machine: str = "aarch64",
    model: str = "Raspberry Pi 4 Model B Rev 1.4",
    tree: str = "",
    maker: str = "",
    cpu: str = CORE.format("0x41", "0xd08"),
) -> str:
    return "\n".join([machine, "6.6.20+rpt", model, tree, maker, cpu])


def test_look_reads_a_raspberry_pi() -> None:
    look = parse_look(text(tree="raspberrypi,4-model-b brcm,bcm2711 "))
    check_look(look, load_target("raspberrypi4"), "ssh://pi@board")
    assert look.emulated == ""
    assert name_of(look, load_target("raspberrypi4")) == "Raspberry Pi 4 Model B Rev 1.4, cortex-a72"
    assert notes_of(look) == ()


@pytest.mark.parametrize(
    "said",
    [
        {"tree": "linux,dummy-virt "},
        {"tree": "riscv-virtio "},
        {"maker": "QEMU QEMU Virtual Machine "},
        {"machine": "x86_64", "cpu": "model name\t: QEMU TCG CPU version 2.5+\n"},
        {"machine": "x86_64", "cpu": "model name\t: QEMU Virtual CPU version 2.5+\n"},
    ],
)
def test_look_finds_out_a_machine_that_is_not_real(said: dict[str, str]) -> None:
    look = parse_look(text(**said))
    assert look.emulated
    assert "no time is measured" in notes_of(look)[0]


def test_look_takes_a_hypervisors_x86_core_for_real() -> None:
    look = parse_look(text(machine="x86_64", maker="QEMU Standard PC ", cpu="model name\t: AMD EPYC\nflags\t: avx2\n"))
    assert look.emulated == ""
    assert "AVX2 and no VNNI" in notes_of(look)[0]


@pytest.mark.parametrize(
    ("target", "said", "got"),
    [
        ("raspberrypi4", {"machine": "armv7l"}, "armv7l"),
        ("raspberrypi4", {"machine": "x86_64"}, "x86_64"),
        ("raspberrypi5", {}, "part 0xd08"),
        ("raspberrypi4", {"cpu": CORE.format("0x41", "0xd0b")}, "part 0xd0b"),
        ("riscv64-linux", {}, "aarch64"),
        ("linux-x86_64", {}, "aarch64"),
    ],
)
def test_board_that_is_not_the_target_is_refused(target: str, said: dict[str, str], got: str) -> None:
    with pytest.raises(ToolMissingError, match=got):
        check_look(parse_look(text(**said)), load_target(target), "ssh://pi@board")


def test_target_of_any_board_takes_any_core() -> None:
    look, target = parse_look(text(model="", cpu=CORE.format("0x41", "0xd0b"))), load_target("generic-aarch64")
    check_look(look, target, "ssh://pi@board")
    assert name_of(look, target) == "Arm core 0x41 0xd0b"


@pytest.mark.parametrize("said", ["", "no shell for you\n", "a" * 41, "\x1b[31mx86_64\n\n\n\n\n"])
def test_look_at_what_is_no_board_says_so(said: str) -> None:
    with pytest.raises(ToolMissingError, match="does not say what it is"):
        parse_look(said)


def test_look_shows_nothing_that_a_terminal_would_act_on(tmp_path: Path) -> None:
    look = parse_look(text(model="Evil\x1b[2J\x07 Board" + "x" * 500))
    assert look.model.isprintable()
    assert len(look.model) <= 120
