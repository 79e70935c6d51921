"""Microcontrollers under QEMU's system emulation: outputs to the byte, counts to the instruction, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emulated_presence import TOOLS_CACHE, absent

from edgegen.core.cache import Cache
from edgegen.core.errors import BudgetError, BuildError, ToolMissingError, UsageError
from edgegen.core.ports import Silent
from edgegen.core.share import share_dir
from edgegen.core.targets import TargetProfile, load_target, target_names
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.mcu.interface import pack, read_interface
from edgegen.devices.mcu.speech import spoken
from edgegen.devices.qemu_system import QemuSystemDevice
from edgegen.pipeline.flash import flash
from support.mcu_devices import bridged, client, host_firmware, running
from support.mcu_models import CRASH, HANG, SPIN, expected, samples, write_model, write_sequence_model
from support.mcu_tools import mcu_tools

MACHINES = [
    name
    for name in target_names()
    if (profile := load_target(name)).mcu is not None and profile.emulates is None and profile.name == name
]
BOARDS = ["nucleo-l4r5zi", "rp2040", "esp32-c3"]  # one that is as its machine is, and those that are not
SETTINGS = DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent())
RUNTIME = "edgegen-c"

Opener = Callable[..., QemuSystemDevice]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens devices, and closes them when the test is over."""
    with contextlib.ExitStack() as cleanup:

        def opener(target: str | TargetProfile, timeout_s: float = 60.0, preset: str = "speed") -> QemuSystemDevice:
            profile = load_target(target) if isinstance(target, str) else target
            device = QemuSystemDevice(profile, SETTINGS, timeout_s=timeout_s, preset=preset)  # type: ignore[arg-type]
            cleanup.callback(device.close)
            try:
                device.identity()
            except ToolMissingError as error:
                absent(str(error))
            return device

        yield opener


def _spin(device: QemuSystemDevice, model: Path, count: int) -> int:
    """Instructions of an inference that spins so many times."""
    block = np.zeros((1, 4), np.int8)
    block.view(np.uint8)[0, :3] = count & 255, count >> 8 & 255, count >> 16
    running = device._ready(model, RUNTIME, profiled=False)
    return device._instructions(running, device._infer(running, {"x": block}, 0)[1])


@pytest.mark.parametrize("name", MACHINES)
def test_mcu_machine_counts_every_instruction(opened: Opener, tmp_path: Path, name: str) -> None:
    """A loop of two instructions costs exactly two more a round, also where the counter has wrapped meanwhile."""
    device, model = opened(name), write_model(tmp_path / "model", SPIN, inputs=4, outputs=4)
    few = _spin(device, model, 0)
    assert 10 < few < 60
    assert _spin(device, model, 1000) - few == 2000
    assert abs(_spin(device, model, 12_000_000) - few - 24_000_000) <= 120  # the wraps' own interrupts


@pytest.mark.parametrize("name", MACHINES)
def test_mcu_machine_gives_the_outputs_of_the_host(opened: Opener, tmp_path: Path, name: str) -> None:
    device, model = opened(name), write_model(tmp_path / "model")
    x = samples(20)
    np.testing.assert_array_equal(device.run(model, RUNTIME, {"x": x})["y"], expected(model, x))


@pytest.mark.parametrize("name", BOARDS)
def test_mcu_board_runs_on_its_machine(opened: Opener, tmp_path: Path, name: str) -> None:
    device, model = opened(name), write_model(tmp_path / "model")
    profile = load_target(name)
    x = samples(2)
    np.testing.assert_array_equal(device.run(model, RUNTIME, {"x": x})["y"], expected(model, x))
    identity = device.identity()
    assert profile.core is not None
    assert (identity.core, identity.isa, identity.emulated) == (profile.core.name, profile.isa, True)
    assert identity.gives == {"counted"}


def test_mcu_reading_holds_what_was_linked_and_painted(opened: Opener, tmp_path: Path) -> None:
    device, model = opened("nucleo-l4r5zi"), write_model(tmp_path / "model")
    reading = device.measure(model, RUNTIME, {"x": samples(1)})
    assert reading.clocked is None
    assert reading.counted is not None
    assert reading.counted.by_class == {}
    assert reading.counted.bytes_loaded is None
    operators = reading.counted.per_operator
    assert operators is not None
    assert [(cost.name, cost.operator) for cost in operators] == [("sums", "dense"), ("ends", "requantize")]
    assert abs(sum(cost.instructions for cost in operators) - reading.counted.instructions) < 60
    assert operators[0].instructions > 100 * operators[1].instructions > 0
    assert reading.arena_bytes == 64
    assert reading.stack_bytes is not None
    assert 100 < reading.stack_bytes < 600
    assert reading.flash_bytes is not None
    assert reading.model_flash_bytes is not None
    assert 0 < reading.model_flash_bytes < 600 < reading.flash_bytes < 12_000
    assert reading.peak_ram_bytes is not None
    assert reading.stack_bytes + 784 + 64 + 16 < reading.peak_ram_bytes < 2_000


def test_mcu_preset_size_is_smaller(opened: Opener, tmp_path: Path) -> None:
    model, x = write_model(tmp_path / "model"), samples(1)
    speed, size = (
        opened("mps2-an385", preset=preset).measure(model, RUNTIME, {"x": x}) for preset in ("speed", "size")
    )
    assert size.model_flash_bytes is not None
    assert speed.model_flash_bytes is not None
    assert size.model_flash_bytes < speed.model_flash_bytes


def _counts(opened: Opener, tmp_path: Path, times: int) -> set[int]:
    model, found = write_model(tmp_path / "model"), set()
    for _ in range(times):
        device = opened("mps2-an386")
        running = device._ready(model, RUNTIME, profiled=False)
        found.add(device._instructions(running, device._infer(running, {"x": samples(1)}, 0)[1]))
        device.close()
    return found


def test_mcu_counts_are_equal_in_every_process(opened: Opener, tmp_path: Path) -> None:
    assert len(_counts(opened, tmp_path, 3)) == 1


@pytest.mark.long
def test_mcu_counts_are_equal_under_load(opened: Opener, tmp_path: Path) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        loaded = _counts(opened, tmp_path, 20)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert loaded == _counts(opened, tmp_path, 20)
    assert len(loaded) == 1


def test_mcu_block_over_the_serial_line_is_the_debuggers(opened: Opener, tmp_path: Path) -> None:
    device, model = opened("mps2-an386"), write_model(tmp_path / "model")
    x = samples(2)
    by_debugger = device.run(model, RUNTIME, {"x": x})
    (running,) = device._running.values()
    machine, told = running.machine, read_interface(model.parent)
    for row in range(2):
        machine.client.load(pack(told, {"x": x}, row))
        block, _ = machine.client.run(told.output_bytes)
        machine.client.db_load(pack(told, {"x": x}, row))
        assert machine.client.run(told.output_bytes)[0] == block
        np.testing.assert_allclose(machine.client.infer(2, 1).results, by_debugger["y"][row], atol=1e-6)


def test_mcu_model_that_does_not_fit_is_refused_at_the_link(opened: Opener, tmp_path: Path) -> None:
    profile = load_target("nucleo-l4r5zi")
    model = write_model(tmp_path / "model", arena_bytes=700_000)
    with pytest.raises(BudgetError, match="bytes more RAM than its 655,360"):
        opened(profile).run(model, RUNTIME, {"x": samples(1)})
    small = replace(profile, flash_bytes=4096)
    with pytest.raises(BudgetError, match="bytes more FLASH than its 4,096"):
        opened(small).run(write_model(tmp_path / "other"), RUNTIME, {"x": samples(1)})


def test_mcu_source_that_does_not_compile_says_where(opened: Opener, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "void eg_tiny_run(void) { nonsense }")
    with pytest.raises(BuildError, match=r"model\.c does not compile"):
        opened("mps2-an386").run(model, RUNTIME, {"x": samples(1)})


@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547", "riscv32-virt"])
def test_mcu_firmware_that_crashes_says_so(opened: Opener, tmp_path: Path, name: str) -> None:
    device, model = opened(name), write_model(tmp_path / "model", CRASH)
    with pytest.raises(BuildError, match="the firmware crashed"):
        device.run(model, RUNTIME, {"x": samples(1)})


def test_mcu_firmware_that_hangs_ends_in_time(opened: Opener, tmp_path: Path) -> None:
    device, model = opened("mps2-an386", timeout_s=2.0), write_model(tmp_path / "model", HANG)
    begun = time.monotonic()
    with pytest.raises(ToolMissingError, match="does not answer"):
        device.run(model, RUNTIME, {"x": samples(1)})
    assert time.monotonic() - begun < 40


def test_mcu_machine_that_died_is_started_again(opened: Opener, tmp_path: Path) -> None:
    device, model = opened("mps2-an386"), write_model(tmp_path / "model")
    x = samples(1)
    device.run(model, RUNTIME, {"x": x})
    (running,) = device._running.values()
    running.machine._process.kill()
    running.machine._process.wait()
    np.testing.assert_array_equal(device.run(model, RUNTIME, {"x": x})["y"], expected(model, x))


def test_mcu_machine_never_outlives_us(opened: Opener, tmp_path: Path) -> None:
    opened("mps2-an386")
    model = write_model(tmp_path / "model")
    script = f"""
import sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings
from edgegen.devices.qemu_system import QemuSystemDevice
settings = DeviceSettings(cache=Path({str(TOOLS_CACHE)!r}), offline=True, progress=Silent())
device = QemuSystemDevice(load_target("mps2-an386"), settings)
device.run(Path({str(model)!r}), "edgegen-c", {{"x": np.zeros((1, 784), np.float32)}})
print(next(iter(device._running.values())).machine._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guest = int(process.stdout.readline())
        os.kill(guest, 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for _ in range(100):
        if not Path("/proc", str(guest)).exists() or "zombie" in Path("/proc", str(guest), "status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the emulator lives on")


def test_mcu_emulator_on_a_socket_is_no_board(opened: Opener, tmp_path: Path) -> None:
    """``socket://`` runs a machine that somebody started, and takes no time of it for a measured one."""
    device, model = opened("mps2-an386"), write_model(tmp_path / "model")
    x = samples(2)
    device.run(model, RUNTIME, {"x": x})
    (running,) = device._running.values()
    with bridged(running.machine.client._link._port._socket) as port:  # type: ignore[attr-defined]
        board = open_device(f"socket://127.0.0.1:{port}", load_target("nucleo-l4r5zi"), SETTINGS)
        try:
            identity = board.identity()
            assert identity.emulated
            assert not identity.gives
            assert "virtual" in identity.notes[0]
            np.testing.assert_array_equal(board.run(model, RUNTIME, {"x": x})["y"], expected(model, x))
            reading = board.measure(model, RUNTIME, {"x": x})
            assert (reading.clocked, reading.counted) == (None, None)
            other = write_model(tmp_path / "other", inputs=785)
            with pytest.raises(ToolMissingError, match="another model"):
                board.run(other, RUNTIME, {"x": samples(1, 785)})
        finally:
            board.close()


def test_mcu_firmware_for_the_chip_itself_is_linked_for_its_memory(tmp_path: Path, opened: Opener) -> None:
    """``edgegen flash`` of a model: the board's own start, serial port and memory map; nothing of it runs here."""
    opened("nucleo-l4r5zi")
    (tmp_path / "build").mkdir()
    write_model(tmp_path / "build" / "files")
    done = flash(
        tmp_path / "build",
        "nucleo-l4r5zi",
        project=None,
        cache=Cache(TOOLS_CACHE),
        progress=Silent(),
        dry=True,
    )
    assert done.built
    assert done.written.commands[0][:4] == ("pyocd", "load", "--no-wait", "--target")
    assert 4_000 < done.written.size_bytes < 12_000
    with pytest.raises(UsageError, match="does not say how its own chip is started"):
        flash(tmp_path / "build", "rp2040", project=None, cache=Cache(TOOLS_CACHE), progress=Silent(), dry=True)


@pytest.mark.parametrize("name", ["mps2-an385", "nucleo-l4r5zi", "mps3-an547", "riscv32-virt"])
def test_mcu_text_of_the_machine_is_the_hosts(opened: Opener, tmp_path: Path, name: str) -> None:
    """The firmware as a process of this host and on the emulated core write the same text, byte for byte."""
    program, model = host_firmware(tmp_path, model=write_sequence_model(tmp_path / "model"))
    how = {"prompt": [3, 1, 4, 1, 5], "count": 50, "seed": 7, "temperature": 1.5}
    with running(program) as connection:
        host = client(connection)
        host.greeted()
        wanted = list(spoken(host, read_interface(model.parent), **how))  # type: ignore[arg-type]
    assert list(opened(name).speak(model, RUNTIME, **how)) == wanted  # type: ignore[arg-type]
    pace = opened(name).pace(model, RUNTIME, 5)
    assert pace is not None
    assert min(pace) > 1000
    assert opened(name).pace(model, RUNTIME, 5) == pace
    assert len(set(wanted)) > 3


@pytest.mark.parametrize("name", ["microbit", "mps2-an386", "riscv32-virt"])
def test_mcu_port_compiles_without_a_warning(opened: Opener, tmp_path: Path, name: str) -> None:
    profile = load_target(name)
    assert profile.mcu is not None
    opened(name)
    compiler, port = mcu_tools(name).compiler, share_dir("runtimes") / "mcu" / "port"
    other = "riscv" if name != "riscv32-virt" else "arm"
    sources = [path for path in port.glob("*.c") if other not in path.name and path.name != "eg_host.c"]
    constants = {"UART_ADDRESS": "0x40004000u", "UART_HZ": "25000000u", "UART_BAUD": "115200u", "COUNTER_HZ": "1000u"}
    flags = [f"-DEG_{key}={value}" for key, value in constants.items()]
    flags += [
        '-DEG_MACHINE="x"',
        "-DEG_GENERATION",
        "-DEG_FLOAT_OUTPUTS",
        "-DEG_PROFILED_OPERATORS=3",
        "-I",
        str(port.parent / "include"),
    ]
    warnings = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
    for optimized in ("-O3", "-Os"):
        command = [compiler.program, *compiler.flags, *profile.mcu.flags, *warnings, *flags, optimized, "-c"]
        done = subprocess.run(
            [*command, *map(str, sources)],
            cwd=tmp_path,
            env=dict(compiler.env),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
