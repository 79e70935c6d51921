"""This machine as a device: the runtime in a process of its own, whatever becomes of that process."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgegen_runtime
from edgegen.core.errors import BuildError, TargetError, ToolMissingError, UsageError
from edgegen.core.targets import load_target
from edgegen.core.versions import installed
from edgegen.devices import host as host_device
from edgegen.devices.host import HostDevice, open_device
from edgegen_runtime import arrays as _arrays  # the real one, before a test puts a fake in its place
from support.projects import ROOT
from unit.runtime.example_models import litert_sum, onnx_pairs, onnx_refused, pairs

Fake = Callable[[str], None]


def host(timeout_s: float = 60.0) -> HostDevice:
    return HostDevice(replace(load_target("null"), name="here", isa=platform.machine()), timeout_s=timeout_s)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_pairs())
    return path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts ``code`` in the place of the runtime package, for the child only."""

    def put(code: str) -> None:
        package = tmp_path / "fake" / "edgegen_runtime"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(f"import os, signal, sys, time\n{code}\n")
        monkeypatch.syspath_prepend(tmp_path / "fake")

    assert edgegen_runtime.arrays is _arrays
    return put


def test_host_runs_onnx(model: Path) -> None:
    outputs = host().run(model, "onnxruntime", pairs())
    np.testing.assert_array_equal(outputs["x.npy"], pairs()["file"] * 2)
    np.testing.assert_array_equal(outputs["/a/next"], -pairs()["labels"])


def test_host_runs_litert_without_a_signature(tmp_path: Path) -> None:
    path = tmp_path / "-model"  # neither the name nor the dash matters
    path.write_bytes(litert_sum(signatures=0))
    values = np.arange(8, dtype=np.int32).reshape(2, 4)
    np.testing.assert_array_equal(host().run(path, "litert", {"a": values, "b": values})["c"], values * 2)


def test_host_measures(model: Path) -> None:
    reading = host().measure(model, "onnxruntime", pairs())
    assert reading.counted is None
    assert reading.clocked is not None
    assert [len(times) for times in reading.clocked.processes_ms] == [30] * 7
    assert reading.clocked.first_ms > 0
    assert reading.peak_ram_bytes is not None
    assert reading.peak_ram_bytes > 1 << 20


def test_host_identity_names_what_can_change_a_number() -> None:
    identity = host().identity()
    assert (identity.kind, identity.emulated, identity.gives) == ("host", False, {"measured"})
    assert identity.core
    needed = {"onnxruntime", "ai-edge-litert", "numpy", "edgegen_runtime"}
    assert needed | ({"executorch"} if installed("executorch") else set()) == set(identity.tools)
    with pytest.raises(ToolMissingError, match="not the target"):
        HostDevice(replace(load_target("null"), isa="other")).identity()


@pytest.mark.parametrize(
    ("runtime", "package"),
    [("onnxruntime", "edgegen"), ("litert", "edgegen[litert]"), ("executorch", "edgegen[executorch]")],
)
def test_host_names_the_package_of_a_missing_runtime(runtime: str, package: str, fake: Fake, model: Path) -> None:
    fake("print('edgegen_runtime: no such module', file=sys.stderr)\nsys.exit(4)")
    with pytest.raises(ToolMissingError) as caught:
        host().run(model, runtime, pairs())
    assert caught.value.next_step == f"pip install '{package}'"


def test_host_takes_no_address() -> None:
    with pytest.raises(TargetError, match="no address"):
        open_device("x", load_target("null"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runtime", "content"), [("onnxruntime", onnx_refused()), ("onnxruntime", b""), ("litert", b"junk" * 10)]
)
def test_host_gives_a_refused_model_as_a_build_error(runtime: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(BuildError, match="refuses the model"):
        host().run(path, runtime, {"x": np.zeros((1, 4), np.float32)})


def test_host_outlives_a_model_that_crashes_its_runtime(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(litert_sum(of_graph=9))  # a signature of a graph that is not there
    ones = np.ones((1, 4), np.int32)
    with pytest.raises(BuildError, match=r"crashed on the model with SIG|refuses the model"):
        host().run(path, "litert", {"left0": ones, "right": ones})


def test_host_gives_inputs_that_do_not_fit_as_a_build_error(model: Path) -> None:
    with pytest.raises(BuildError, match="expected file, labels"):
        host().measure(model, "onnxruntime", {"x": np.zeros((1, 4), np.float32)})


def test_host_refuses_inputs_that_are_no_numbers(model: Path) -> None:
    with pytest.raises(UsageError):
        host().run(model, "onnxruntime", {"x": np.array([{}], dtype=object)})
    with pytest.raises(TargetError, match="no runtime 'tflite'"):
        host().run(model, "tflite", {})


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_host_names_the_signal_of_a_crash(name: str, fake: Fake, model: Path) -> None:
    fake(f"print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), signal.{name})")
    with pytest.raises(BuildError, match=f"crashed on the model with {name}") as caught:
        host().run(model, "onnxruntime", pairs())
    assert caught.value.got == "last words"


def test_host_names_the_signal_of_a_kill(fake: Fake, model: Path) -> None:
    fake("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(BuildError, match="from outside with SIGKILL"):
        host().run(model, "onnxruntime", pairs())


@pytest.mark.parametrize(
    "code",
    [
        "",
        "print('hello')",
        "sys.stdout.buffer.write(bytes(range(256)))",
        "print('[' * 200_000)",
        "print('[1]')",
        "print('{}', '{}')",
        "sys.stdout.write('{\"a\": \"' + 'x' * (2 << 20) + '\"}')",
        'print(\'{"first_ms": 1, "runs_ms": "many", "peak_ram_bytes": 1}\')',
        'print(\'{"first_ms": NaN, "runs_ms": [\' + "1, " * 29 + \'1], "peak_ram_bytes": 1}\')',
        'print(\'{"first_ms": 1, "runs_ms": [1], "peak_ram_bytes": 1}\')',
        'print(\'{"first_ms": 1, "runs_ms": [\' + "1, " * 29 + \'1]}\')',
    ],
)
def test_host_refuses_garbage_on_stdout(code: str, fake: Fake, model: Path) -> None:
    fake(code)
    with pytest.raises(BuildError, match="no usable report"):
        host().measure(model, "onnxruntime", pairs())


@pytest.mark.parametrize("code", ["", "open(sys.argv[sys.argv.index('--outputs') + 1], 'wb').write(b'PK junk')"])
def test_host_refuses_garbage_as_outputs(code: str, fake: Fake, model: Path) -> None:
    fake(f"{code}\nprint('{{}}')")
    with pytest.raises(BuildError, match="no usable report"):
        host().run(model, "onnxruntime", pairs())


@pytest.mark.parametrize(
    ("status", "said", "error", "words"),
    [
        (1, "Traceback: a bug", BuildError, "status 1"),
        (2, "edgegen_runtime: no", BuildError, "refuses"),
        (3, "W noise\\nedgegen_runtime: no", BuildError, "refuses"),
        (4, "edgegen_runtime: no", ToolMissingError, "not usable here"),
        (5, "edgegen_runtime: no", BuildError, "ran out of"),
        (77, "", BuildError, "status 77"),
    ],
)
def test_host_says_who_must_act(
    status: int, said: str, error: type[Exception], words: str, fake: Fake, model: Path
) -> None:
    fake(f"print('''{said}''', file=sys.stderr)\nsys.exit({status})")
    with pytest.raises(error, match=words) as caught:
        host().run(model, "onnxruntime", pairs())
    assert "noise" not in str(caught.value)


def processes_with(word: str) -> list[int]:
    """Processes whose command line holds ``word``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has just ended
    return found


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    ends = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < ends:
        time.sleep(0.05)
    return condition()


def test_host_kills_a_process_that_takes_too_long(fake: Fake, model: Path) -> None:
    fake("print('thinking', file=sys.stderr, flush=True)\ntime.sleep(60)")
    started = time.monotonic()
    with pytest.raises(ToolMissingError, match="did not finish within 1 s"):
        host(timeout_s=1).run(model, "onnxruntime", pairs())
    assert time.monotonic() - started < 20
    assert not processes_with(str(model))


def in_a_process(code: str, model: Path, python_path: str, cwd: Path) -> subprocess.Popen[str]:
    """A process of its own that holds ``device``, ``model`` and ``inputs``."""
    script = f"""
import sys
import numpy as np
from pathlib import Path
import edgegen.devices.host as host
from edgegen.core.targets import load_target
from edgegen.core.versions import installed
device, model = host.HostDevice(load_target("null")), Path(sys.argv[1])
inputs = {{"file": np.ones((2, 2, 3), np.float32), "labels": np.ones((2, 2), np.int64)}}
{code}
"""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(model)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_host_leaves_no_process_when_edgegen_is_killed(number: int, model: Path, tmp_path: Path) -> None:
    unique = model.rename(tmp_path / f"left-{os.getpid()}-{number}.onnx")
    code = "host._RUNS = 10**9\ndevice.measure(model, 'onnxruntime', inputs)"
    parent = in_a_process(code, unique, os.environ["PYTHONPATH"], tmp_path)
    try:
        # The one that measures has our folder as its own once it is past its imports.
        assert wait_for(lambda: len(processes_with(unique.name)) == 2)
        time.sleep(1.0)
        assert len(processes_with(unique.name)) == 2
        parent.send_signal(number)
        parent.wait(20)
        assert wait_for(lambda: not processes_with(unique.name))
    finally:
        for left in processes_with(unique.name):
            os.kill(left, signal.SIGKILL)
        parent.wait(20)


def test_host_finds_the_runtime_of_an_installed_wheel_in_a_hostile_folder(model: Path, tmp_path: Path) -> None:
    """Packages in one folder and no checkout, started where files have the names of modules."""
    site, here = tmp_path / "site", tmp_path / "here"
    shutil.copytree(ROOT / "toolchain" / "edgegen", site / "edgegen")
    shutil.copytree(ROOT / "runtimes" / "linux" / "edgegen_runtime", site / "edgegen_runtime")
    shutil.copytree(ROOT / "targets", site / "edgegen" / "_share" / "targets")
    here.mkdir()
    for name in ("json", "numpy", "edgegen_runtime", "onnxruntime"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    code = "print(host.__file__)\nprint(device.run(model, 'onnxruntime', inputs)['/a/next'].tolist())"
    process = in_a_process(code, model, str(site), here)
    printed, _ = process.communicate(timeout=60)
    assert printed.splitlines() == [str(site / "edgegen" / "devices" / "host.py"), "[[-1, -1], [-1, -1]]"]


def test_host_leaves_no_folder_behind(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def left() -> set[str]:
        return {path.name for path in Path("/tmp").glob(f"edgegen-{os.getpid():07d}-*")}

    before = left()
    host().run(model, "onnxruntime", pairs())
    with pytest.raises(BuildError):
        host().run(model, "litert", pairs())
    assert left() == before


@pytest.mark.parametrize(
    ("flags", "said", "warned"),
    [
        ("sse2 avx avx2 fma", "Some CPU (AVX2, no VNNI)", True),
        ("sse2 avx avx2 avx_vnni", "Some CPU (AVX2, VNNI)", False),
        ("sse2 avx2 avx512f avx512_vnni", "Some CPU (AVX-512, VNNI)", False),
        ("sse2", "Some CPU (SSE2, no VNNI)", False),
    ],
)
def test_host_says_whether_it_sums_8_bit_products_exactly(tmp_path: Path, flags: str, said: str, warned: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    assert host_device.core_name(cpuinfo) == said
    notes = host_device.int8_notes(cpuinfo)
    assert bool(notes) == warned
    assert all("saturates" in note for note in notes)


def test_host_without_cpuinfo_warns_of_nothing(tmp_path: Path) -> None:
    assert host_device.int8_notes(tmp_path / "absent") == ()
    assert host_device.core_name(tmp_path / "absent")
