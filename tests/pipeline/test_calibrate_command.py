"""``edgegen bench --calibrate``: on this machine's clock, in short, and what it refuses."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from edgegen.cli import main
from edgegen.core.ports import Tensors
from edgegen.core.targets import load_target
from edgegen.devices import host
from edgegen.devices.device import Device, Identity, Reading
from edgegen.devices.energy import Energy
from edgegen.pipeline import bench_calibrate
from edgegen.pipeline.bench_calibrate import profile_toml
from edgegen.pipeline.bench_models import calibration_models
from support.projects import PROJECT

pytest.importorskip("scipy")
here = pytest.mark.skipif(platform.machine() != "x86_64", reason="the target linux-x86_64 is another machine")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "edgegen.toml").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process a model, and the first five models."""
    monkeypatch.setattr(host, "_PROCESSES", 1)
    monkeypatch.setattr(bench_calibrate, "calibration_models", lambda folder: islice(calibration_models(folder), 5))


def run(*arguments: str) -> int:
    return main._run(["bench", "--calibrate", "--quiet", *arguments])


@here
def test_calibrate_fits_this_machine_and_saves_a_profile(
    project: Path, short: None, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run("--target", "linux-x86_64", "--device", "host:", "--project", str(project), "--save", "mine", "--json")
    document = json.loads(capfd.readouterr().out)
    assert code == 0
    assert len(document["models"]) == 5
    assert all(item["measured_ms"] > 0 for item in document["models"])
    saved = load_target("mine", project)
    assert saved.cost_model is not None
    assert saved.cost_model.basis == "work"
    assert saved.cost_model.low_ratio <= 1 <= saved.cost_model.high_ratio
    assert "fitted on" in saved.cost_model.origin
    assert "5 generated models" in saved.cost_model.origin
    assert saved.runtimes == load_target("linux-x86_64").runtimes
    again = run("--target", "linux-x86_64", "--project", str(project), "--save", "mine")
    assert again == 2  # the name is taken now


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--target", "null"), 2, "no clock"),
        (("--target", "raspberrypi4"), 4, "host: for raspberrypi4"),
        (("--target", "nosuch"), 2, "unknown target"),
        (("--target", "null", "--save", "../x"), 2, "not a target's name"),
        (("--target", "null", "--save", "raspberrypi4"), 2, "exists"),
    ],
)
def test_calibrate_refuses(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    device = ("--device", "host:") if arguments[1] == "raspberrypi4" else ()
    assert run(*arguments, *device, "--project", str(project)) == code
    assert says in capfd.readouterr().err


def test_profile_as_toml_reads_back(project: Path) -> None:
    from edgegen.core.records import write_record

    for name in ("raspberrypi5", "riscv64-linux", "nvidia-jetson"):
        plain = write_record(load_target(name)) | {"name": "copy"}
        path = project / "targets" / "copy" / "target.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(profile_toml(plain))
        assert write_record(load_target("copy", project)) == plain


class Metered:
    """This machine's clock, and a meter that sees 2 W for the first model and 0.5 W more for each that follows."""

    def __init__(self, inner: Device) -> None:
        self.inner = inner
        self.measured = 0

    def identity(self) -> Identity:
        return self.inner.identity()

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        reading = self.inner.measure(model, runtime, inputs)
        assert reading.clocked is not None
        (times,) = reading.clocked.processes_ms
        joules = (2.0 + 0.5 * self.measured) * statistics.median(times) / 1000
        self.measured += 1
        energy = Energy(joules=joules, pairs_j=(joules,) * 5, low_j=joules, high_j=joules, inferences=9, meter="m")
        return replace(reading, energy=energy)

    def close(self) -> None:
        self.inner.close()


@here
def test_calibrate_states_the_watts_of_a_device_with_a_monitor(
    project: Path, short: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bench_calibrate.open_device
    monkeypatch.setattr(bench_calibrate, "open_device", lambda *arguments: Metered(real(*arguments)))
    assert run("--target", "linux-x86_64", "--device", "host:", "--project", str(project), "--save", "mine") == 0
    assert "[energy_model]" in capfd.readouterr().out
    power = load_target("mine", project).energy_model
    assert power is not None
    assert 1.98 < power.low_watts <= 2.0
    assert 4.0 <= power.high_watts < 4.04
    assert "5 generated models" in power.origin
