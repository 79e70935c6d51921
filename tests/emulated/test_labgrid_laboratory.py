"""Boards of a real labgrid laboratory on this machine: its coordinator, exporters and client, an sshd as the board."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, images, on_host
from emulated_presence import TOOLS_CACHE, absent, library

from edgegen.core.boards import VARIABLE, read_inventory
from edgegen.core.errors import EdgegenError, TargetError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.board_lock import BusyError
from edgegen.devices.device import Device, DeviceSettings, open_device
from edgegen.devices.inventory import board_status
from edgegen.devices.labgrid import place as place_module
from edgegen.links.ssh import CONFIG_VARIABLE
from support import sshd
from support.apt_tools import apt_tool
from support.laboratory import Laboratory, laboratory, programs
from support.mcu_devices import bridged, host_firmware, running
from support.mcu_models import expected, samples
from support.projects import command, edgegen, environment
from support.told import Told

TARGET, M4 = load_target("linux-x86_64"), load_target("nucleo-l4r5zi")
BOARD = "shelf/desk/NetworkService"
PLACES = {
    "rack-3": (BOARD,),
    "cellar": ("shelf/power/NetworkPowerPort",),
    "attic": ("nobody/has/NetworkService",),
    "two": (BOARD, "shelf/twin/NetworkService"),
    "line": ("wires/line/NetworkSerialPort",),
    "terminal": ("wires/terminal/NetworkSerialPort",),
}


@pytest.fixture(scope="module")
def installed() -> Path:
    try:
        return programs(TOOLS_CACHE)
    except OSError as error:
        absent(str(error))


@pytest.fixture(scope="module")
def shelf(own_sshd: sshd.Server) -> dict[str, object]:
    """What the exporter of the Linux board has."""
    service = {"NetworkService": {"address": "127.0.0.1", "username": own_sshd.user, "port": own_sshd.port}}
    return {
        "desk": service,
        "twin": service,
        "power": {"NetworkPowerPort": {"model": "netio", "host": "127.0.0.1", "index": 1}},
    }


@pytest.fixture(scope="module")
def whole(installed: Path, shelf: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with laboratory(installed, tmp_path_factory.mktemp("laboratory"), PLACES) as made:
        made.export("shelf", shelf)  # type: ignore[arg-type]
        yield made


@pytest.fixture
def lab(whole: Laboratory, own_sshd: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """The laboratory as its user sees it; whatever a test did, it has let the places go."""
    for name in ("LG_ENV", "LG_CROSSBAR", "LG_PROXY", "LG_TOKEN", "LG_USERNAME", "LG_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LG_COORDINATOR", whole.coordinator)
    monkeypatch.setenv("PATH", os.pathsep.join([str(whole.programs), os.environ["PATH"], "/usr/sbin"]))
    monkeypatch.setenv(CONFIG_VARIABLE, str(own_sshd.config))
    yield whole
    assert [place for place in PLACES if not whole.becomes_free(place, 5)] == []
    assert own_sshd.left() == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conv_float(tmp_path_factory.mktemp("labgrid-models") / "conv.onnx")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def opened(told: Told) -> Iterator[Callable[[str], Device]]:
    """Opens the device at a place, and closes it at last."""
    with contextlib.ExitStack() as left:

        def opened(place: str, cache: Path = TOOLS_CACHE) -> Device:
            target = M4 if place.partition("?")[0] in ("line", "terminal") else TARGET
            device = open_device(f"labgrid:{place}", target, DeviceSettings(cache=cache, offline=False, progress=told))
            left.callback(device.close)
            return device

        yield opened


def _take(device: Device, wait_s: float = 0) -> None:
    device.take(wait_s)  # type: ignore[attr-defined]


def _until(true: Callable[[], object], bound_s: float = 15.0) -> bool:
    deadline = time.monotonic() + bound_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())


def _me(lab: Laboratory) -> str:
    (line,) = (line for line in lab.client("-v", "who").stdout.splitlines() if "rack-3" in line)
    user, host, *_ = line.split()
    return f"{host}/{user}"


# -- a job, from beginning to end ------------------------------------------------------------------------------------


def test_outputs_at_a_place_are_those_by_ssh_bit_for_bit(
    lab: Laboratory, own_sshd: sshd.Server, opened: Callable[[str], Device], model: Path
) -> None:
    device = opened("rack-3")
    assert lab.holder("rack-3") == ""  # nothing is asked before the first call
    outputs = device.run(model, "onnxruntime", images())
    assert lab.holder("rack-3") == _me(lab)
    identity = device.identity()
    assert identity.core.startswith("rack-3 (")
    assert (identity.tools["board"], identity.emulated, identity.gives) == ("rack-3", False, {"measured"})
    device.close()
    assert lab.holder("rack-3") == ""
    direct = open_device(own_sshd.url, TARGET, DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent()))
    try:
        by_ssh = direct.run(model, "onnxruntime", images())
    finally:
        direct.close()
    np.testing.assert_array_equal(outputs["y"], by_ssh["y"])
    np.testing.assert_array_equal(outputs["y"], on_host(model, images())["y"])


def test_build_bench_and_doctor_use_the_board_of_a_place(
    lab: Laboratory, own_sshd: sshd.Server, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "inputs.npz", **images())
    ran = edgegen(
        *("build", "--model", str(model), "--calibration", str(tmp_path / "inputs.npz"), "--json"),
        *("--evaluate", str(tmp_path / "inputs.npz"), "--target", "linux-x86_64", "--device", "labgrid:rack-3"),
        *("--set", 'compress.recipes=["float32"]', "--set", 'budgets.latency={max_ms=100,kind="measured"}'),
        *("--set", 'export.formats=["onnx"]', "--set", "budgets.latency.required=false"),
        *("--out", str(tmp_path / "out")),
        cache=TOOLS_CACHE,
        cwd=tmp_path,
    )
    assert ran.code == 0, ran.err
    assert ran.document["latency"]["measured"]["board"]["name"] == "rack-3"
    assert ran.document["environment"]["device"]["core"].startswith("rack-3 (")
    assert lab.holder("rack-3") == ""
    # By its name of the inventory, with the configuration of its own for ssh.
    monkeypatch.delenv(CONFIG_VARIABLE)
    (tmp_path / "boards.toml").write_text(
        'schema_version = 1\n[boards.mine]\nurl = "labgrid:rack-3"\ntarget = "linux-x86_64"\n'
        f'ssh_config = "{own_sshd.config}"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv(VARIABLE, str(tmp_path / "boards.toml"))
    bench = ("bench", str(tmp_path / "out" / "linux-x86_64"), "--device", "board:mine", "--json")
    again = edgegen(*bench, cache=TOOLS_CACHE, cwd=tmp_path)
    assert again.code == 0, again.err
    assert "mine (" in json.dumps(again.document)
    doctor = edgegen("doctor", "--target", "linux-x86_64", "--boards", "--json", cache=TOOLS_CACHE, cwd=tmp_path)
    (row,) = (check for check in doctor.document["checks"] if check["name"].endswith("board mine"))
    assert row["state"] == "ready", row
    assert lab.holder("rack-3") == ""
    lab.client("-p", "rack-3", "acquire", user="anna", check=True)
    try:
        state, detail, _ = board_status("mine", read_inventory()["mine"], TARGET, TOOLS_CACHE)
    finally:
        lab.client("-p", "rack-3", "release", user="anna", check=True)
    assert (state, detail) == ("busy", "labgrid:rack-3: annas-machine/anna")


def test_place_that_labgrids_client_makes_is_found_by_its_alias_and_the_name_of_a_match(
    lab: Laboratory, opened: Callable[[str], Device]
) -> None:
    made = ("-p", "fresh")
    lab.client(*made, "create", check=True)
    try:
        lab.client(*made, "add-named-match", f"{BOARD}/NetworkService", "board", check=True)
        lab.client(*made, "add-match", "shelf/twin/NetworkService", check=True)
        lab.client(*made, "add-alias", "newest", check=True)
        device = opened("newest?resource=board")
        assert device.identity().tools["board"] == "fresh"
        assert lab.holder("fresh") != ""
        device.close()
        assert lab.holder("fresh") == ""
    finally:
        lab.client(*made, "delete", check=True)


# -- whose place it is -----------------------------------------------------------------------------------------------


def test_place_that_somebody_has_is_named_with_its_holder_and_can_be_waited_for(
    lab: Laboratory, opened: Callable[[str], Device], told: Told
) -> None:
    lab.client("-p", "rack-3", "acquire", user="anna", check=True)
    device = opened("rack-3")
    with pytest.raises(BusyError, match=r"another job holds the board \(labgrid:rack-3\).*annas-machine/anna"):
        _take(device)
    release = threading.Timer(1.0, lambda: lab.client("-p", "rack-3", "release", user="anna", check=True))
    release.start()
    _take(device, 60)
    release.join()
    assert lab.holder("rack-3") not in ("", "annas-machine/anna")
    assert told.said == ["labgrid:rack-3: waiting for annas-machine/anna"]


def test_place_that_a_person_has_taken_stays_theirs(lab: Laboratory, opened: Callable[[str], Device]) -> None:
    lab.client("-p", "rack-3", "acquire", check=True)
    try:
        device = opened("rack-3")
        _take(device)
        device.close()
        assert lab.holder("rack-3") != ""
    finally:
        lab.client("-p", "rack-3", "release", check=True)


def test_place_that_one_is_allowed_to_use_stays_its_holders(
    lab: Laboratory, opened: Callable[[str], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_USERNAME", "bert")
    monkeypatch.setenv("LG_HOSTNAME", "there")
    lab.client("-p", "rack-3", "acquire", user="anna", check=True)
    try:
        lab.client("-p", "rack-3", "allow", "there/bert", user="anna", check=True)
        device = opened("rack-3")
        _take(device)
        device.close()
        assert lab.holder("rack-3") == "annas-machine/anna"
    finally:
        lab.client("-p", "rack-3", "release", user="anna", check=True)


def test_place_of_a_reservation_is_found_by_its_token(
    lab: Laboratory, opened: Callable[[str], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ToolMissingError, match="no labgrid place is reserved with this token"):
        _take(opened("+NOBODYS"))
    said = lab.client("reserve", "--shell", "name=rack-3", check=True).stdout
    token = said.strip().rpartition("=")[2]
    try:
        device = opened(f"+{token}")
        _take(device)
        assert lab.holder("rack-3") != ""
        assert device.identity().tools["board"] == "rack-3"
        device.close()
        monkeypatch.setenv("LG_USERNAME", "anna")
        with pytest.raises(BusyError, match="a reservation"):
            _take(opened("rack-3"))
        monkeypatch.setenv("LG_TOKEN", token)
        monkeypatch.delenv("LG_USERNAME")
        _take(opened("+"))
    finally:
        lab.client("cancel-reservation", token, check=True)


@pytest.mark.long
def test_place_that_shares_hardware_with_another_says_with_which(
    lab: Laboratory, opened: Callable[[str], Device]
) -> None:
    lab.client("-p", "two", "acquire", user="anna", check=True)
    try:
        with pytest.raises(BusyError, match="place two, which shares its hardware"):
            _take(opened("rack-3"))
    finally:
        lab.client("-p", "two", "release", user="anna", check=True)


def test_place_that_was_taken_away_ends_the_job(lab: Laboratory, opened: Callable[[str], Device], model: Path) -> None:
    device = opened("rack-3")
    device.run(model, "onnxruntime", images())
    lab.client("-p", "rack-3", "release", "--kick", user="anna", check=True)
    lab.client("-p", "rack-3", "acquire", user="anna", check=True)
    try:
        time.sleep(1)
        with pytest.raises(ToolMissingError, match="no longer held for this job") as raised:
            device.run(model, "onnxruntime", images())
        assert int(raised.value.exit_code) == 4
        device.close()
        assert lab.holder("rack-3") == "annas-machine/anna"
    finally:
        lab.client("-p", "rack-3", "release", user="anna", check=True)


# -- however a job ends ----------------------------------------------------------------------------------------------

_JOB = """
import signal
import sys
from pathlib import Path
import numpy as np
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
cache, model = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts with & ignore it
settings = DeviceSettings(cache=Path(cache), offline=True, progress=Silent())
device = open_device("labgrid:rack-3", load_target("linux-x86_64"), settings)
while True:
    device.run(Path(model), "onnxruntime", {"x": np.zeros((1, 8, 12, 12), np.float32)})
"""


@contextlib.contextmanager
def _job(lab: Laboratory, model: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that infers at the place again and again, once it has it."""
    arguments = [sys.executable, "-c", _JOB, str(TOOLS_CACHE), str(model)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True) as job:
        try:
            assert _until(lambda: lab.holder("rack-3"))
            yield job
        finally:
            job.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_job_that_is_ended_gives_the_place_back(
    lab: Laboratory, own_sshd: sshd.Server, model: Path, how: signal.Signals
) -> None:
    with _job(lab, model) as job:
        os.killpg(job.pid, how)
        job.wait(20)
        assert lab.becomes_free("rack-3", 10)
    assert _until(lambda: own_sshd.left() == [])


@pytest.mark.long
@pytest.mark.parametrize("moment", range(30))
def test_job_that_is_killed_at_random_moments_gives_the_place_back(
    lab: Laboratory, own_sshd: sshd.Server, model: Path, moment: int
) -> None:
    arguments = [sys.executable, "-c", _JOB, str(TOOLS_CACHE), str(model)]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as job:
        time.sleep(random.Random(moment).uniform(0.3, 4))
        os.killpg(job.pid, signal.SIGKILL)
    time.sleep(1)
    assert lab.becomes_free("rack-3", 10)
    assert _until(lambda: own_sshd.left() == [])


def test_interrupted_build_gives_the_place_back(lab: Laboratory, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", **images())
    arguments = command(
        *("build", "--model", str(model), "--calibration", str(tmp_path / "inputs.npz"), "--out", str(tmp_path / "o")),
        *("--evaluate", str(tmp_path / "inputs.npz"), "--target", "linux-x86_64", "--device", "labgrid:rack-3"),
    )
    with subprocess.Popen(
        arguments, env=environment(tmp_path / "cache"), cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    ) as build:
        assert _until(lambda: lab.holder("rack-3"), 60)
        os.killpg(build.pid, signal.SIGINT)
        assert build.wait(30) == 130
    assert lab.becomes_free("rack-3", 10)


def test_place_of_a_killed_keeper_is_given_back_by_the_next_job(
    lab: Laboratory, opened: Callable[[str], Device], told: Told
) -> None:
    device = opened("rack-3")
    _take(device)
    device._held._process.kill()  # type: ignore[attr-defined]
    with pytest.raises(ToolMissingError, match="the process that held it was killed"):
        _until(lambda: device.identity() is None, 5)
    device.close()
    assert lab.holder("rack-3") != ""
    assert told.said[-1] == "labgrid:rack-3: it could not be given back; the next job on it does that"
    again = opened("rack-3")
    _take(again)
    again.close()
    assert lab.holder("rack-3") == ""


# -- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "error", "says"),
    [
        ("rack-4", TargetError, "no such place.*did you mean 'rack-3'"),
        ("rack", TargetError, "no such place"),  # a part of a name is none: figures are of one board
        ("cellar", ToolMissingError, r"has no NetworkService.*Got: NetworkPowerPort \(NetworkPowerPort\)"),
        ("attic", ToolMissingError, "no exporter has nobody/has/NetworkService"),
        ("two", TargetError, "several of NetworkService"),
        ("rack-3?resource=other", ToolMissingError, "no NetworkService of the name 'other'"),
    ],
)
def test_place_without_a_board_is_an_error_that_says_why(
    lab: Laboratory, opened: Callable[[str], Device], place: str, error: type[EdgegenError], says: str
) -> None:
    with pytest.raises(error, match=says):
        _take(opened(place))
    assert lab.holder(place.partition("?")[0]) == ""


def test_coordinator_that_is_down_is_said_at_once(
    lab: Laboratory, opened: Callable[[str], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_COORDINATOR", "127.0.0.1:1")
    begun = time.monotonic()
    with pytest.raises(ToolMissingError, match=r"coordinator does not answer.*127\.0\.0\.1:1.*LG_COORDINATOR"):
        _take(opened("rack-3"))
    assert time.monotonic() - begun < 20
    monkeypatch.delenv("LG_COORDINATOR")
    monkeypatch.setenv("LG_CROSSBAR", "ws://lab:20408/ws")
    with pytest.raises(ToolMissingError, match="LG_CROSSBAR is of labgrid before 25"):
        _take(opened("rack-3"))


def test_coordinator_that_hangs_is_given_up(
    lab: Laboratory, opened: Callable[[str], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_module, "ANSWER_S", 3.0)
    lab.send("coordinator", signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(ToolMissingError, match="labgrid does not answer within 3 s"):
            _take(opened("rack-3"))
        assert time.monotonic() - begun < 10
    finally:
        lab.send("coordinator", signal.SIGCONT)


def test_coordinator_that_ends_in_the_middle_ends_the_job(
    installed: Path,
    lab: Laboratory,
    shelf: dict[str, object],
    opened: Callable[[str], Device],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with laboratory(installed, tmp_path / "other", PLACES) as other:
        other.export("shelf", shelf)  # type: ignore[arg-type]
        monkeypatch.setenv("LG_COORDINATOR", other.coordinator)
        device = opened("rack-3")
        _take(device)
        other.end("coordinator", signal.SIGKILL)
        with pytest.raises(ToolMissingError, match=r"the connection to the coordinator .* is lost"):
            _until(lambda: device.identity() is None, 20)
        begun = time.monotonic()
        device.close()
        assert time.monotonic() - begun < 30


def test_exporter_that_goes_away_in_the_middle_is_said(
    lab: Laboratory, shelf: dict[str, object], opened: Callable[[str], Device], model: Path, told: Told
) -> None:
    device = opened("rack-3")
    first = device.run(model, "onnxruntime", images())
    lab.end("shelf", signal.SIGKILL)
    try:
        assert _until(device._held.gone)  # type: ignore[attr-defined]
        again = device.run(model, "onnxruntime", images())  # ssh does not go through it
        np.testing.assert_array_equal(first["y"], again["y"])
        gone = "its exporter no longer has NetworkService"
        assert told.said[-1] == f"labgrid:rack-3: {gone}; the board still answers"
        device.close()
        with pytest.raises(ToolMissingError, match="no exporter has"):
            _take(opened("rack-3"))
    finally:
        lab.export("shelf", shelf)  # type: ignore[arg-type]


# -- labgrid's environment file ------------------------------------------------------------------------------------


def test_environment_file_names_the_place_and_the_coordinator(
    lab: Laboratory,
    own_sshd: sshd.Server,
    opened: Callable[[str], Device],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = {"address": "127.0.0.1", "username": own_sshd.user, "port": own_sshd.port}
    targets = {
        "main": {"resources": {"RemotePlace": {"name": "rack-3"}}},
        "bare": {"resources": {"NetworkService": service}},
    }
    file = tmp_path / "lab.yaml"
    file.write_text(
        json.dumps({"targets": targets, "options": {"coordinator_address": lab.coordinator}}), encoding="utf-8"
    )
    monkeypatch.setenv("LG_ENV", str(file))
    monkeypatch.setenv("LG_COORDINATOR", "127.0.0.1:1")  # the file's goes first, as in labgrid-client
    for name in ("main", "rack-3"):
        device = opened(name)
        _take(device)
        assert lab.holder("rack-3") != ""
        device.close()
        assert lab.holder("rack-3") == ""
    assert opened("bare").identity().tools["board"] == "bare"
    assert lab.holder("rack-3") == ""
    with pytest.raises(TargetError, match=r"no such target \(.*lab.yaml\).*one of bare, main, rack-3"):
        _take(opened("other"))
    file.write_text("targets: [", encoding="utf-8")
    with pytest.raises(TargetError, match="environment file cannot be used"):
        _take(opened("main"))


# -- microcontrollers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return host_firmware(tmp_path_factory.mktemp("labgrid-firmware"), inputs=24, outputs=10)


def _right(device: Device, firmware: tuple[Path, Path]) -> None:
    x = samples(2, 24)
    np.testing.assert_array_equal(device.run(firmware[1], "edgegen-c", {"x": x})["y"], expected(firmware[1], x))


def test_microcontroller_answers_at_a_raw_port(
    lab: Laboratory, opened: Callable[[str], Device], firmware: tuple[Path, Path]
) -> None:
    with running(firmware[0]) as connection, bridged(connection) as port:
        lab.export("wires", {"line": {"NetworkSerialPort": {"host": "127.0.0.1", "port": port, "protocol": "raw"}}})
        try:
            device = opened("line")
            _right(device, firmware)
            assert device.identity().core.startswith("line, cortex-m4")
            lab.end("wires", signal.SIGKILL)
            assert _until(device._held.gone)  # type: ignore[attr-defined]
            connection.shutdown(socket.SHUT_RDWR)
            with pytest.raises(ToolMissingError, match="exporter of the labgrid place went away"):
                _right(device, firmware)
            device.close()
        finally:
            with contextlib.suppress(KeyError):
                lab.end("wires")


def test_microcontroller_answers_at_a_serial_port_of_the_exporter(
    lab: Laboratory, opened: Callable[[str], Device], firmware: tuple[Path, Path]
) -> None:
    """A terminal for the port; the exporter starts ser2net for it when the place is taken."""
    apt_tool("ser2net", "ser2net")
    library("serial")
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        lab.export("wires", {"terminal": {"RawSerialPort": {"port": os.ttyname(slave), "speed": 115200}}})
        with subprocess.Popen([str(firmware[0])], stdin=master, stdout=master, stderr=subprocess.DEVNULL) as process:
            try:
                device = opened("terminal?reset=dtr")
                _right(device, firmware)
                device.close()
                _right(opened("terminal"), firmware)  # another number of the port
            finally:
                process.kill()
    finally:
        lab.end("wires")
        os.close(master)
        os.close(slave)
