"""Target profiles: a device as data, checked when read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core import targets
from edgegen.core.errors import ExitCode, TargetError, UsageError
from edgegen.core.share import share_dir
from edgegen.core.targets import alias_of, load_target, target_names
from edgegen.devices.device import split_url
from edgegen.devices.qemu_user import debian_guest, wheels
from edgegen.devices.qemu_user.guests import guest_of


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(share_dir("targets"), tmp_path / "targets")
    monkeypatch.setattr(targets, "share_dir", lambda name: tmp_path / name)
    return tmp_path / "targets"


def test_target_names_hold_the_family() -> None:
    assert {"raspberrypi", "raspberrypi3", "raspberrypi4", "raspberrypi5", "linux-x86_64", "null"} <= set(
        target_names()
    )


@pytest.mark.parametrize("name", target_names())
def test_target_of_every_name_loads(name: str) -> None:
    profile = load_target(name)
    assert profile.name == (alias_of(name) or name)


def test_target_raspberrypi_is_the_4() -> None:
    assert load_target("raspberrypi").emulator.cpu == "cortex-a72"


def test_target_unknown_names_the_nearest() -> None:
    with pytest.raises(TargetError, match="did you mean 'raspberrypi") as caught:
        load_target("rasberrypi")
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["", ".", "..", "../targets/null", "null/"])
def test_target_name_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(TargetError, match="unknown target"):
        load_target(name)


def test_target_added_as_one_file_is_there(shelf: Path) -> None:
    text = (shelf / "raspberrypi4/target.toml").read_text().replace('"raspberrypi4"', '"myboard"')
    (shelf / "myboard").mkdir()
    (shelf / "myboard/target.toml").write_text(text)
    assert load_target("myboard").emulator.cpu == "cortex-a72"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('cpu = "cortex-a72"', 'cpu = "max"', "'max' is refused"),
        ("dot = 1.0\n", "", "price every class"),
        ("dot = 1.0\n", "dot = 1.0\nmagic = 2.0\n", "magic"),
        ("[emulator]", "[emulater]", "did you mean 'emulator'"),
        ('isa = "aarch64"', 'isa = "arm64"', "aarch64"),
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ("schema_version = 1", "schema_version", "not TOML"),
    ],
)
def test_target_refuses_a_broken_profile(shelf: Path, old: str, new: str, says: str) -> None:
    path = shelf / "raspberrypi4/target.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError, match=says):
        load_target("raspberrypi4")


@pytest.mark.parametrize(
    "name", [name for name in target_names() if alias_of(name) is None and load_target(name).mcu is None]
)
def test_target_does_not_contradict_itself(name: str) -> None:
    """What a profile says in two places is the same in both, and what it asks for can be had."""
    profile = load_target(name)
    core, board, model = profile.core, profile.board, profile.cost_model
    assert split_url(profile.device)[0] in ("qemu", "host", "gpu", "null")
    assert list(profile.runtimes) in (
        ["onnx", "litert", "ort", "pte"],
        ["onnx", "litert", "ort"],
        ["onnx", "litert"],
        ["onnx"],
    )
    for table in profile.budgets.values():
        assert table["max_bytes"] < profile.memory_bytes
    if profile.emulator is None:
        assert profile.device != "qemu:"
        return
    assert core is not None
    assert board is not None
    assert core.name == profile.emulator.cpu
    assert ("dotprod" in core.features) == ("asimddp" in board.features)
    assert ("fp16" in core.features) == ("asimdhp" in board.features)
    assert board.minimum_khz <= board.maximum_khz
    assert (core.clock_hz is None) == (model is None)
    if model is not None:
        assert core.clock_hz == model.frequency_hz == 1000 * board.maximum_khz
        assert (model.stream_bytes_per_s is None) == (not model.stream_origin)
    guest = guest_of(profile.emulator)
    offered = debian_guest.read_packages(guest).names if guest.debian else wheels.read_wheels()
    assert set(profile.runtimes.values()) <= set(offered)


def test_target_of_baseline_arm_asks_for_nothing_optional() -> None:
    generic = load_target("generic-aarch64")
    assert generic.core is not None
    assert generic.core.features == ("neon",)


def test_target_digest_is_of_what_changes_a_reading() -> None:
    profile = load_target("raspberrypi4")
    assert profile.digest == replace(profile, budgets={}).digest
    assert profile.digest != replace(profile, memory_bytes=1).digest


def test_target_rk3588_is_emulated_as_the_raspberrypi5_is() -> None:
    """The same core with the same features, so the same counts; clock, caches and memory differ."""
    one, other = load_target("rockchip-rk3588"), load_target("raspberrypi5")
    assert one.emulator == other.emulator
    assert one.board is not None
    assert other.board is not None
    assert one.board.features == other.board.features
    assert one.core != other.core
