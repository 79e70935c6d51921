"""Target profiles: a device as data, checked when read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgegen.core import targets
from edgegen.core.errors import ExitCode, TargetError, UsageError
from edgegen.core.share import share_dir
from edgegen.core.targets import alias_of, load_target, target_names


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
        ("dot = 1.0\n", "", "price every instruction class"),
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
