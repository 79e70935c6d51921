"""Profiles of microcontrollers: machines, boards that they stand for, and what a hostile file may not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import TargetError, UsageError
from edgegen.core.share import share_dir
from edgegen.core.targets import SYSTEM_OF_ISA, load_target, target_names

MCUS = [name for name in target_names() if load_target(name).mcu is not None]


def shipped(name: str) -> str:
    return (share_dir("targets") / name / "target.toml").read_text(encoding="utf-8")


def own(project: Path, name: str, text: str) -> Path:
    path = project / "targets" / name / "target.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_mcu_profiles_are_the_ones_of_the_design() -> None:
    machines = {"mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2", "microbit"}
    boards = {"nucleo-l4r5zi", "nucleo-f746zg", "nrf52840-dk", "rp2040", "stm32u5", "esp32-c3"}
    assert {*machines, "riscv32-virt", *boards} == set(MCUS)
    assert {name for name in MCUS if load_target(name).emulates} == boards


@pytest.mark.parametrize("name", MCUS)
def test_mcu_profile_does_not_contradict_itself(name: str) -> None:
    profile = load_target(name)
    mcu, core = profile.mcu, profile.core
    assert mcu is not None
    assert core is not None
    assert (profile.device, dict(profile.runtimes)) == ("qemu:", {"c": "edgegen-c"})
    assert SYSTEM_OF_ISA[profile.isa] == ("riscv32" if core.name.startswith("rv32") else "arm")
    flag = f"-march={core.name}" if core.name.startswith("rv32") else f"-mcpu={core.name}"
    assert flag in mcu.flags
    assert mcu.kernels == ("mve" if "mve" in core.features else "dsp" if "dsp" in core.features else "c")
    assert (profile.emulates is None) == (profile.flashing is None) == (core.clock_hz is None)
    assert profile.flash_bytes is not None
    if profile.emulates is None:
        assert (profile.flash_bytes, profile.memory_bytes) == (mcu.flash_bytes, mcu.ram_bytes)
    else:
        machine = load_target(profile.emulates)
        assert machine.mcu is not None
        assert replace(mcu, flags=machine.mcu.flags, note=machine.mcu.note) == machine.mcu


def test_mcu_board_costs_one_file_and_no_python(tmp_path: Path) -> None:
    text = shipped("nucleo-l4r5zi").replace('name = "nucleo-l4r5zi"', 'name = "ours"').replace("655360", "131072")
    own(tmp_path, "ours", text)
    profile = load_target("ours", tmp_path)
    assert profile.mcu == load_target("mps2-an386").mcu
    assert profile.memory_bytes == 131072
    assert profile.silicon is not None
    assert profile.silicon.machine == "ours"
    assert profile.silicon.kernels == "dsp"
    assert (profile.port, profile.silicon_port) == ({}, {})


def test_mcu_folder_may_bring_files_of_its_own(tmp_path: Path) -> None:
    own(tmp_path, "ours", shipped("netduinoplus2").replace('name = "netduinoplus2"', 'name = "ours"'))
    (tmp_path / "targets/ours/eg_board.c").write_text("void eg_board_start(void) {}\n")
    (tmp_path / "targets/ours/notes.txt").write_text("not compiled")
    own(tmp_path, "board", shipped("nrf52840-dk").replace("nrf52840-dk", "board").replace("mps2-an386", "ours"))
    for name in ("ours", "board"):
        assert list(load_target(name, tmp_path).port) == ["eg_board.c"]
        assert load_target(name, tmp_path).silicon_port == {}
    before = load_target("ours", tmp_path)
    (tmp_path / "targets/ours/eg_board.c").write_text("void eg_board_start(void) { }\n")
    assert load_target("ours", tmp_path).digest != before.digest


def test_mcu_folders_files_are_plain(tmp_path: Path) -> None:
    own(tmp_path, "ours", shipped("netduinoplus2").replace('name = "netduinoplus2"', 'name = "ours"'))
    (tmp_path / "targets/ours/eg_board.c").symlink_to("/etc/passwd")
    with pytest.raises(TargetError, match="plain file"):
        load_target("ours", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"-mthumb"', '"-fplugin=/tmp/x.so"', r"not usable as flags\[1\]"),
        ('"-mthumb"', '"-wrapper"', r"flags\[1\]"),
        ('"-mthumb"', '"@/etc/passwd"', r"flags\[1\]"),
        ('"-mthumb"', '"-mthumb -B/tmp"', r"flags\[1\]"),
        ('machine = "mps2-an386"', 'machine = "mps2-an386,x=y"', "not usable as machine"),
        ('uart = "cmsdk"', 'uart = "../../x"', "not usable as uart"),
        ('kernels = "dsp"', 'kernels = "neon"', "kernels"),
        ("flash_bytes = 4194304\n\n", "\n", "how much flash"),
        ('isa = "armv7em"', 'isa = "aarch64"', "neither"),
        ("[mcu]", "[mcu_]", "did you mean 'mcu'"),
        ("ram_bytes = 4194304", "ram_bytes = -1", "ram_bytes"),
        ("[runtimes]", 'port = { "eg_board.c" = "x" }\n[runtimes]', "files beside it"),
        ("counter_hz = 25_000_000", "counter_hz = nan", "counter_hz"),
        ("counter_hz = 25_000_000", 'counter_hz = 25_000_000\ncpu = "max -x"', "not usable as cpu"),
    ],
)
def test_mcu_profile_that_is_hostile_or_wrong_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = shipped("mps2-an386").replace('name = "mps2-an386"', 'name = "ours"')
    assert old in text
    own(tmp_path, "ours", text.replace(old, new, 1))
    with pytest.raises(UsageError, match=says):
        load_target("ours", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('emulates = "mps2-an386"', 'emulates = "raspberrypi5"', "must be a machine"),
        ('emulates = "mps2-an386"', 'emulates = "nrf52840-dk"', "must be a machine"),
        ('emulates = "mps2-an386"', 'emulates = "mps2"', "unknown target"),
        ('emulates = "mps2-an386"', 'emulates = "../mps2-an386"', "unknown target"),
        ('emulates = "mps2-an386"', "emulates = 3", "emulates"),
        ('emulates = "mps2-an386"\n', "", r"needs \[mcu\]|is missing"),
        ('chip = "stm32l4r5zitx"', 'chip = "-c x"', "flashing.chip"),
        ('tool = "pyocd"', 'tool = "sh"', "tool"),
    ],
)
def test_mcu_board_that_is_hostile_or_wrong_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = shipped("nucleo-l4r5zi").replace('name = "nucleo-l4r5zi"', 'name = "ours"')
    assert old in text
    own(tmp_path, "ours", text.replace(old, new, 1))
    with pytest.raises(UsageError, match=says):
        load_target("ours", tmp_path)
