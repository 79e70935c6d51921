"""Setting up the emulator's tools: whole or not at all, once, and never the wrong ones."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, IntegrityError, TargetError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.qemu_user import board, debian_guest, debs, emulator, provision, status, wheels
from edgegen.devices.qemu_user import provision as package_provision
from edgegen.devices.qemu_user.guests import GUESTS
from edgegen.devices.qemu_user.toolbox import Toolbox, run_tool

PI4 = load_target("raspberrypi4")


def toolbox(root: Path, *, offline: bool = False) -> Toolbox:
    (root / "tools").mkdir(parents=True, exist_ok=True)
    return Toolbox(root, offline=offline, progress=Silent())


def fill(folder: Path) -> Mapping[str, str]:
    (folder / "file").write_text("whole", encoding="utf-8")
    return {"version": "1"}


def test_toolbox_makes_a_tool_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> Mapping[str, str]:
        made.append(folder)
        return fill(folder)

    first = toolbox(tmp_path).ensure("tool", "a" * 64, make)
    second = toolbox(tmp_path).ensure("tool", "a" * 64, make)
    assert first == second
    assert len(made) == 1
    assert first.facts == {"version": "1"}
    assert (first.folder / "file").read_text(encoding="utf-8") == "whole"


def test_toolbox_keeps_keys_apart(tmp_path: Path) -> None:
    tools = toolbox(tmp_path)
    assert tools.ensure("tool", "a" * 64, fill).folder != tools.ensure("tool", "b" * 64, fill).folder


def test_toolbox_leaves_nothing_when_making_fails(tmp_path: Path) -> None:
    def fail(folder: Path) -> Mapping[str, str]:
        fill(folder)
        raise ToolMissingError("no network")

    tools = toolbox(tmp_path)
    with pytest.raises(ToolMissingError, match="no network"):
        tools.ensure("tool", "a" * 64, fail)
    assert tools.find("tool", "a" * 64) is None
    assert [path.name for path in tools.root.iterdir()] == ["locks"]


KILLED = """
import os, signal, sys
from pathlib import Path
from edgegen.core.ports import Silent
from edgegen.devices.qemu_user.guests import GUESTS
from edgegen.devices.qemu_user.toolbox import Toolbox
def make(folder):
    (folder / "file").write_text("half")
    with tools.scratch("work") as scratch:
        (scratch / "big").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
tools = Toolbox(Path(sys.argv[1]), offline=False, progress=Silent())
tools.ensure("tool", "a" * 64, make)
"""


def test_toolbox_recovers_when_a_set_up_was_killed_midway(tmp_path: Path) -> None:
    tools = toolbox(tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert tools.find("tool", "a" * 64) is None
    assert len(list(tools.root.glob(".*"))) == 2, "the killed process left a partial tool and a scratch folder"
    tool = tools.ensure("tool", "a" * 64, fill)
    assert (tool.folder / "file").read_text(encoding="utf-8") == "whole"
    for left in tools.root.glob(".scratch-*"):
        os.utime(left, (0, 0))  # long ago
    with tools.scratch("work"):
        assert len(list(tools.root.glob(".*"))) == 1
    assert not list(tools.root.glob(".*"))


def test_toolbox_replaces_a_folder_without_a_record(tmp_path: Path) -> None:
    tools = toolbox(tmp_path)
    (tools.root / ("tool-" + "a" * 16)).mkdir()
    assert tools.find("tool", "a" * 64) is None
    assert (tools.ensure("tool", "a" * 64, fill).folder / "file").exists()


SHARED = """
import sys, time
from pathlib import Path
from edgegen.core.ports import Silent
from edgegen.devices.qemu_user.guests import GUESTS
from edgegen.devices.qemu_user.toolbox import Toolbox
def make(folder):
    with open(sys.argv[1] + "/made", "a") as stream:
        stream.write("once")
    time.sleep(0.5)
    return {}
Toolbox(Path(sys.argv[1]), offline=False, progress=Silent()).ensure("tool", "a" * 64, make)
"""


def test_toolbox_is_shared_by_processes(tmp_path: Path) -> None:
    toolbox(tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SHARED, str(tmp_path)]
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text(encoding="utf-8") == "once"


def test_provision_refuses_to_download_when_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "on_path", lambda guest: (None, "none"))
    with pytest.raises(ToolMissingError, match="--offline") as caught:
        provision(PI4, tmp_path, offline=True)
    assert caught.value.exit_code == 4
    assert "edgegen setup" in str(caught.value)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("win32", "AMD64")])
def test_provision_refuses_another_kind_of_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(package_provision.__globals__["sys"], "platform", system)
    monkeypatch.setattr(package_provision.__globals__["platform"], "machine", lambda: machine)
    with pytest.raises(ToolMissingError, match="x86-64 Linux only"):
        provision(PI4, tmp_path)
    assert [line.state for line in status(PI4, tmp_path)] == ["refused"]


def test_provision_refuses_the_core_max(tmp_path: Path) -> None:
    assert PI4.emulator is not None
    profile = replace(PI4, emulator=replace(PI4.emulator, cpu="max"))
    with pytest.raises(TargetError, match="'max' is refused") as caught:
        provision(profile, tmp_path)
    assert caught.value.exit_code == 2


def test_provision_refuses_a_target_that_is_not_emulated(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no user emulation"):
        provision(replace(PI4, board=None), tmp_path)


def test_status_changes_nothing(tmp_path: Path) -> None:
    lines = status(PI4, tmp_path / "cache")
    assert {line.name for line in lines} >= {"qemu", "plugin", "runner", "guest libraries"}
    assert all(line.fix for line in lines if line.state != "ready")
    assert not (tmp_path / "cache").exists()


def test_open_device_refuses_an_address(tmp_path: Path) -> None:
    settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent())
    with pytest.raises(TargetError, match="takes no address"):
        open_device("qemu:somewhere", PI4, settings)


def fake_qemu(folder: Path, version: str, usage: str) -> None:
    program = folder / "qemu-aarch64"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "{version}";; *) echo "{usage}";; esac\n', encoding="utf-8"
    )
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "usage", "said"),
    [
        ("qemu-aarch64 version 10.0.2 (Debian)", "-plugin", "another plugin interface"),
        ("qemu-aarch64 version 9.0.0", "-plugin", "another plugin interface"),
        ("qemu-aarch64 version 5.2.0", "-plugin", "another plugin interface"),
        ("something else", "-plugin", "not QEMU"),
        ("qemu-aarch64 version 7.2.22", "-seed", "without plugins"),
    ],
)
def test_emulator_refuses_a_qemu_it_cannot_count_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, usage: str, said: str
) -> None:
    fake_qemu(tmp_path, version, usage)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    qemu, sentence = emulator.on_path(GUESTS["aarch64"])
    assert qemu is None
    assert said in sentence


@pytest.mark.parametrize("version", ["7.2.22", "8.2.2", "6.2.0"])
def test_emulator_takes_a_qemu_of_the_known_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake_qemu(tmp_path, f"qemu-aarch64 version {version} (Debian)", "-plugin file")
    monkeypatch.setenv("PATH", str(tmp_path))
    qemu, _ = emulator.on_path(GUESTS["aarch64"])
    assert qemu is not None
    assert qemu.version == version


def test_emulator_says_that_a_static_build_cannot_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qemu-aarch64-static").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "qemu-aarch64-static").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    qemu, sentence = emulator.on_path(GUESTS["aarch64"])
    assert qemu is None
    assert "cannot load plugins" in sentence


def test_wheels_are_pinned_to_the_versions_that_run_on_the_host() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    for wheel in wheels.read_wheels().values():
        assert f'"{wheel.distribution}=={wheel.version}"' in text


def pip_that_delivers(make: Callable[[Path], None]) -> Callable[..., str]:
    def run(command: list[str], **_: object) -> str:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        make(folder / "any.whl")
        return ""

    return run


def a_wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/file", "x")


def test_wheels_refuse_a_file_with_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "run_tool", pip_that_delivers(a_wheel))
    tools = toolbox(tmp_path)
    with pytest.raises(IntegrityError):
        wheels.ensure_library(tools, "onnxruntime")
    assert not list(tools.root.glob("lib-*"))


def test_wheels_refuse_a_wheel_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_wheel(tmp_path / "reference.whl")
    wheel = replace(wheels.pinned("litert"), sha256=sha256_file(tmp_path / "reference.whl"))
    reference = (tmp_path / "reference.whl").read_bytes()
    monkeypatch.setattr(wheels, "pinned", lambda runtime: wheel)
    monkeypatch.setattr(wheels, "run_tool", pip_that_delivers(lambda path: path.write_bytes(reference) and None))
    with pytest.raises(BuildError, match="does not hold its library"):
        wheels.ensure_library(toolbox(tmp_path), "litert")


def test_run_tool_ends_a_program_that_takes_too_long() -> None:
    with pytest.raises(ToolMissingError, match="no end after"):
        run_tool(["sleep", "20"], what="sleeping", next_step="wake up", timeout_s=0.2)


def test_run_tool_names_a_program_that_is_not_installed() -> None:
    with pytest.raises(ToolMissingError, match="not installed"):
        run_tool(["no-such-program-anywhere"], what="trying", next_step="install it")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def place(folder: Path, info: tarfile.TarInfo) -> None:
    content = b"content" if info.isfile() else b""
    info.size = len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="r|") as archive:
        for found in archive:
            debs._place(archive, found, folder)


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_debs_refuse_a_path_that_leads_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ToolMissingError, match="leads out"):
        place(tmp_path / "in", member(name))
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("link", ["/etc/passwd", "../../etc/passwd", "../.."])
def test_debs_leave_out_a_link_that_leads_out(tmp_path: Path, link: str) -> None:
    place(tmp_path, member("lib/name.so", tarfile.SYMTYPE, link))
    assert not (tmp_path / "lib" / "name.so").is_symlink()


def test_debs_place_files_and_links(tmp_path: Path) -> None:
    place(tmp_path, member("usr/lib/libx.so.1"))
    place(tmp_path, member("lib/libx.so", tarfile.SYMTYPE, "../usr/lib/libx.so.1"))
    assert (tmp_path / "lib" / "libx.so").read_bytes() == b"content"


def test_debs_keep_the_machines_own_sources_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = tmp_path / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list.d" / "debian.sources").write_text("Signed-By: /k/debian-archive-keyring.gpg", encoding="utf-8")
    (etc / "sources.list.d" / "other.list").write_text("deb somewhere stable main", encoding="utf-8")
    monkeypatch.setattr(debs, "_APT_FOLDER", etc)
    (tmp_path / "copy").mkdir()
    debs._copy_sources(tmp_path / "copy", None)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["debian.sources"]


def test_debs_of_another_architecture_come_from_the_machines_own_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc = tmp_path / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    text = "URIs: https://mirror.example/pub/debian\nURIs: https://mirror.example/debian-security\n"
    (etc / "sources.list.d" / "debian.sources").write_text(text, encoding="utf-8")
    monkeypatch.setattr(debs, "_APT_FOLDER", etc)
    monkeypatch.setattr(debs, "_DEBIAN_KEYS", etc)
    foreign = debs.Foreign(architecture="riscv64", suite="stable")
    with pytest.raises(ToolMissingError, match="no source of it"):  # a machine without Debian's keys
        debs._copy_sources(tmp_path, foreign)
    keys = etc / "keys.gpg"
    keys.touch()
    monkeypatch.setattr(debs, "_DEBIAN_KEYS", keys)
    debs._copy_sources(tmp_path, foreign)
    line = (tmp_path / "foreign.list").read_text(encoding="utf-8")
    assert line == f"deb [arch=riscv64 signed-by={keys}] https://mirror.example/pub/debian stable main\n"


def test_debian_guest_refuses_another_version_than_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debs.Apt, "unpack", lambda *_, **__: {"libonnxruntime1.21": "1.22.0+dfsg-1"})
    tools = toolbox(tmp_path)
    with pytest.raises(ToolMissingError, match="not the pinned one"):
        debian_guest.ensure_libraries(tools, GUESTS["riscv64"])
    assert tools.find("guest-libs-riscv64", debian_guest.key_of(GUESTS["riscv64"])) is None


def test_board_shows_the_boards_own_cores() -> None:
    assert PI4.board is not None
    files = board.board_files("aarch64", PI4.board)
    assert files["proc/cpuinfo"].count("CPU part\t: 0xd08") == PI4.board.cores
    assert files["sys/devices/system/cpu/online"] == f"0-{PI4.board.cores - 1}\n"
    assert f"sys/devices/system/cpu/cpu{PI4.board.cores - 1}/topology/core_id" in files
    single = board.board_files("aarch64", replace(PI4.board, cores=1))
    assert single["sys/devices/system/cpu/online"] == "0\n"


def test_board_key_changes_with_the_board() -> None:
    assert PI4.board is not None
    assert board.root_key("aarch64", PI4.board, {}) != board.root_key("aarch64", replace(PI4.board, revision=9), {})


@pytest.mark.parametrize(
    ("target", "program", "last"),
    [
        ("riscv64-linux", "no qemu-riscv64 on PATH", "libraries and runtimes (riscv64)"),
        ("raspberrypi2", "no qemu-arm on PATH", "tflite-runtime 2.14.0 and its Python (armhf)"),
    ],
)
def test_status_of_a_guest_from_debian_names_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, program: str, last: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    lines = status(load_target(target), tmp_path)
    assert program in lines[0].detail
    assert lines[-1].name == last


def test_board_of_a_riscv_guest_tells_its_isa() -> None:
    riscv = load_target("riscv64-linux")
    assert riscv.board is not None
    text = board.board_files("riscv64", riscv.board)["proc/cpuinfo"]
    assert text.count("isa\t\t: rv64imafdc\n") == riscv.board.cores


def test_board_of_a_32_bit_guest_is_of_version_7() -> None:
    pi2 = load_target("raspberrypi2")
    assert pi2.board is not None
    text = board.board_files("arm", pi2.board)["proc/cpuinfo"]
    assert "CPU architecture: 7" in text
    assert "neon" in text
