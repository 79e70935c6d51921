"""A project's own target profiles: found, checked, and never mistaken for one that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ExitCode, TargetError, UsageError
from edgegen.core.share import share_dir
from edgegen.core.targets import alias_of, load_target, own_target_names, target_names


def shipped(name: str) -> str:
    return (share_dir("targets") / name / "target.toml").read_text(encoding="utf-8")


def own(project: Path, name: str, text: str | None = None) -> Path:
    path = project / "targets" / name / "target.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = shipped("raspberrypi4").replace('"raspberrypi4"', f'"{name}"') if text is None else text
    path.write_text(text, encoding="utf-8")
    return path


def test_own_target_is_found_beside_the_shipped(tmp_path: Path) -> None:
    own(tmp_path, "myboard")
    assert own_target_names(tmp_path) == ["myboard"]
    assert {"myboard", "raspberrypi5"} <= set(target_names(tmp_path))
    assert "myboard" not in target_names()
    profile = load_target("myboard", tmp_path)
    assert profile.core is not None
    assert profile.core.name == "cortex-a72"
    with pytest.raises(TargetError, match="unknown target"):
        load_target("myboard")


def test_own_target_may_be_another_name_for_a_shipped_one(tmp_path: Path) -> None:
    own(tmp_path, "ours", 'schema_version = 1\nalias = "raspberrypi5"\n')
    assert alias_of("ours", tmp_path) == "raspberrypi5"
    assert load_target("ours", tmp_path).name == "raspberrypi5"


def test_own_target_of_a_shipped_name_is_refused(tmp_path: Path) -> None:
    own(tmp_path, "raspberrypi4", shipped("raspberrypi4").replace("1073741824", "1073741825"))
    with pytest.raises(TargetError, match="takes the name of one that ships") as caught:
        load_target("raspberrypi4", tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert load_target("raspberrypi5", tmp_path).name == "raspberrypi5"


def test_own_copy_of_a_shipped_profile_is_that_profile(tmp_path: Path) -> None:
    own(tmp_path, "raspberrypi4", shipped("raspberrypi4"))
    assert own_target_names(tmp_path) == []
    assert load_target("raspberrypi4", tmp_path) == load_target("raspberrypi4")


def test_own_folder_of_the_checkout_is_the_shipped_one() -> None:
    assert own_target_names(share_dir("targets").parent) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "board"', 'name = "other"', "another name than its folder"),
        ('title = "Raspberry Pi 4 (Cortex-A72)"', 'title = "\\u001b[2Jowned"', "printable"),
        ('title = "Raspberry Pi 4 (Cortex-A72)"', f'title = "{"x" * 500}"', "at most 400"),
        ('cpu = "cortex-a72"', 'cpu = "cortex-a72 -plugin x"', "not the name of a core"),
        ('system = "aarch64"', 'system = "arm"', "another instruction set"),
        ("fma = 1.0", "fma = inf", "no price"),
        ("fma = 1.0", "fma = -1.0", "no price"),
        ("frequency_hz = 1_800_000_000", "frequency_hz = nan", "frequency_hz"),
        ("peak_ram = { max_bytes = 536870912 }", "psnr_db = { min = 3 }", "unknown budget"),
        ("peak_ram = { max_bytes = 536870912 }", "peak_ram = { max_bytes = -3 }", "max_bytes"),
        ('onnx = "onnxruntime"\nlitert = "litert"\nort = "onnxruntime"\n', "", "needs a runtime"),
        ("cores = 4", "cores = 1_000_000", "cores"),
        ('part = "0xd08"\n', "", "does not say what its core is"),
    ],
)
def test_own_target_that_is_hostile_or_wrong_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = own(tmp_path, "board")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        load_target("board", tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"x = 1\n" * 20_000, "too large"),
        (b"\xff\xfe", "not TOML"),
        (b"x = " + b"[" * 20_000 + b"]" * 20_000, "nested too deeply|too large|not TOML"),
        (b"", "missing"),
    ],
)
def test_own_target_file_is_bounded(tmp_path: Path, data: bytes, says: str) -> None:
    own(tmp_path, "board").write_bytes(data)
    with pytest.raises(UsageError, match=says):
        load_target("board", tmp_path)


def test_own_target_behind_a_link_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.toml"
    outside.write_text(shipped("raspberrypi4").replace('"raspberrypi4"', '"board"'), encoding="utf-8")
    folder = tmp_path / "project" / "targets" / "board"
    folder.mkdir(parents=True)
    (folder / "target.toml").symlink_to(outside)
    with pytest.raises(TargetError, match="plain file"):
        load_target("board", tmp_path / "project")


@pytest.mark.parametrize("name", ["Board", "a b", "-x", "x" * 65])
def test_own_target_name_is_checked(tmp_path: Path, name: str) -> None:
    own(tmp_path, name)
    with pytest.raises(TargetError, match="not a target's name"):
        target_names(tmp_path)


def test_own_targets_are_bounded_in_number(tmp_path: Path) -> None:
    for number in range(201):
        own(tmp_path, f"b{number}", "schema_version = 1\n")
    with pytest.raises(TargetError, match="too many"):
        target_names(tmp_path)


def test_alias_of_an_alias_is_refused(tmp_path: Path) -> None:
    own(tmp_path, "one", 'schema_version = 1\nalias = "two"\n')
    own(tmp_path, "two", 'schema_version = 1\nalias = "one"\n')
    with pytest.raises(UsageError, match="alias"):
        load_target("one", tmp_path)
