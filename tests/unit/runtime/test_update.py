"""Two slots: an update proves itself or is passed over, the older never comes back, and sources are strangers."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edgegen_runtime import sources
from edgegen_runtime.admission import Rules
from edgegen_runtime.disk import Disk
from edgegen_runtime.kept import FIRST_TRIES, read_slot_state
from edgegen_runtime.sealed_bundle import Bundle, read_bundle
from edgegen_runtime.session import RuntimeMissingError
from edgegen_runtime.sources import FolderSource, WebSource, source_of
from edgegen_runtime.strict import RefusedError, UnreachableError
from edgegen_runtime.update import Slots
from unit.artifacts.signed_bundle import SIGNED_ON, copied, signed, signer
from unit.runtime.runnable_bundle import TARGET, board, runnable, write_public

RULES = Rules(keys=(signer("a").public,), target=TARGET)


def proves(bundle: Bundle) -> None:
    assert bundle.files


def fails(bundle: Bundle) -> None:
    raise RefusedError("self-test failed: image is 1 off")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("updates")
    every = ("1.0.0", "1.1.0", "1.2.0")
    found = {version: signed(root / version, root / "work", "a", version=version) for version in every}
    found["unsigned"] = signed(root / "unsigned", root / "work", "other", version="1.3.0")
    found["elsewhere"] = signed(root / "elsewhere", root / "work", "a", version="1.3.0", target="raspberrypi5")
    return found


class Device:
    """A device with slots in a folder; a boot is a new program, as it is on a device."""

    def __init__(self, root: Path, versions: dict[str, Path]) -> None:
        self.root = root
        self._versions = versions

    def install(self, version: str, prove: Callable[[Bundle], None] = proves) -> Bundle:
        return Slots(self.root, RULES, prove).install(FolderSource(self._versions[version]), SIGNED_ON, 60)

    def boot(self, prove: Callable[[Bundle], None] = proves) -> str:
        return Slots(self.root, RULES, prove).boot().bundle.version

    def files(self, slot: str) -> list[Path]:
        return sorted(path for path in (self.root / "slots" / slot).rglob("*") if path.is_file())


@pytest.fixture
def device(tmp_path: Path, versions: dict[str, Path]) -> Device:
    """It runs 1.0.0."""
    made = Device(tmp_path / "device", versions)
    made.install("1.0.0")
    assert made.boot() == "1.0.0"
    return made


def test_an_update_runs_after_the_next_boot(device: Device) -> None:
    before = {path: path.read_bytes() for path in device.files("a")}
    device.install("1.1.0")
    assert {path: path.read_bytes() for path in device.files("a")} == before
    assert [device.boot() for _ in range(3)] == ["1.1.0"] * 3
    state = read_slot_state(device.root)
    assert (state.active, state.pending, state.minimum_version) == ("b", None, "1.1.0")
    device.install("1.2.0")
    assert device.boot() == "1.2.0"
    assert read_slot_state(device.root).active == "a"


def test_an_update_that_runs_already_is_checked_and_writes_nothing(device: Device) -> None:
    before = read_slot_state(device.root)
    assert device.install("1.0.0", fails).version == "1.0.0"
    assert (read_slot_state(device.root), device.files("b")) == (before, [])
    device.install("1.1.0")
    assert device.install("1.0.0").version == "1.0.0"  # asked for last, so it is what the next boot takes
    assert device.boot() == "1.0.0"
    blob = max(device.files("a"), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises(RefusedError):
        device.install("1.0.0")


def test_an_update_that_waits_stays_where_the_next_source_is_not_there(device: Device) -> None:
    device.install("1.1.0")
    with pytest.raises(UnreachableError):
        Slots(device.root, RULES, proves).install(source_of("http://127.0.0.1:9"), SIGNED_ON, 60)
    assert device.boot() == "1.1.0"


def test_an_update_brings_what_a_device_needs_and_no_more(device: Device) -> None:
    names = " ".join(path.name for path in device.files("a"))
    index = json.loads((device.root / "slots/a/index.json").read_bytes())
    kinds = sorted(item["artifactType"].split(".")[2] for item in index["manifests"])
    assert kinds == ["bundle", "signature"]
    assert "index.json" in names


def test_an_update_that_fails_its_first_boot_is_passed_over_for_ever(device: Device) -> None:
    device.install("1.1.0")
    assert device.boot(prove=_failing("1.1.0")) == "1.0.0"
    assert device.boot() == "1.0.0"
    state = read_slot_state(device.root)
    assert (state.active, state.minimum_version) == ("a", "1.0.0")
    assert "self-test failed" in state.failed_why
    with pytest.raises(RefusedError, match="tried here and failed"):
        device.install("1.1.0")
    device.install("1.2.0")
    assert device.boot() == "1.2.0"


def _failing(version: str, error: Exception | None = None) -> Callable[[Bundle], None]:
    def prove(bundle: Bundle) -> None:
        if bundle.version == version:
            raise error or RefusedError("self-test failed")

    return prove


def test_an_update_without_its_runtime_is_passed_over(device: Device) -> None:
    device.install("1.1.0")
    assert device.boot(prove=_failing("1.1.0", RuntimeMissingError("no onnxruntime"))) == "1.0.0"


def test_a_slot_that_cannot_be_read_is_passed_over(device: Device) -> None:
    device.install("1.1.0")
    assert device.boot() == "1.1.0"
    assert device.boot(prove=_failing("1.1.0", OSError(5, "Input/output error"))) == "1.0.0"


def test_an_update_that_hangs_the_device_comes_to_its_end(device: Device) -> None:
    """The watchdog resets a device in the middle of the first boot: it is counted before it is tried."""
    device.install("1.1.0")
    for _ in range(FIRST_TRIES):
        with pytest.raises(KeyboardInterrupt):
            device.boot(prove=_failing("1.1.0", KeyboardInterrupt()))  # type: ignore[arg-type]
    assert device.boot() == "1.0.0"
    assert "did not come up" in read_slot_state(device.root).failed_why


def test_an_update_that_fails_where_it_is_installed_is_not_switched_to(device: Device) -> None:
    with pytest.raises(RefusedError, match="self-test failed"):
        device.install("1.1.0", prove=fails)
    assert device.boot() == "1.0.0"
    assert read_slot_state(device.root).pending is None


@pytest.mark.parametrize(
    ("version", "words"),
    [("unsigned", "unknown key"), ("elsewhere", "wrong device")],
)
def test_an_update_that_the_device_does_not_trust_is_refused(device: Device, version: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        device.install(version)
    assert device.boot() == "1.0.0"


def test_an_older_version_does_not_come_back(device: Device) -> None:
    device.install("1.1.0")
    device.boot()
    with pytest.raises(RefusedError, match="downgraded"):
        device.install("1.0.0")
    assert device.boot() == "1.1.0"


def test_an_index_that_another_tool_wrote_is_read(device: Device, versions: dict[str, Path], tmp_path: Path) -> None:
    """What the specification calls optional may be gone: the types, and the index's own."""
    made = copied(versions["1.1.0"], tmp_path)
    index = json.loads((made / "index.json").read_bytes())
    entries = [{key: item[key] for key in ("mediaType", "digest", "size")} for item in index["manifests"]]
    (made / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}, indent=1))
    Slots(device.root, RULES, proves).install(FolderSource(made), SIGNED_ON, 60)
    assert device.boot() == "1.1.0"
    assert read_bundle(made).claims


def test_a_version_that_never_ran_does_not_count(device: Device) -> None:
    device.install("1.2.0")
    device.boot(prove=_failing("1.2.0"))
    device.install("1.1.0")
    assert device.boot() == "1.1.0"


def test_a_rotten_slot_is_left_for_the_other_good_one(device: Device) -> None:
    device.install("1.1.0")
    assert device.boot() == "1.1.0"
    model = max(device.files("b"), key=lambda path: path.stat().st_size)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    booted = Slots(device.root, RULES, proves).boot()
    assert (booted.bundle.version, booted.slot) == ("1.0.0", "a")
    assert "not what its digest says" in booted.notes[0]
    device.install("1.1.0")  # into the rotten slot
    assert device.boot() == "1.1.0"


def test_a_device_with_nothing_that_holds_says_so(device: Device) -> None:
    shutil.rmtree(device.root / "slots/a")
    with pytest.raises(RefusedError, match="no model to run"):
        device.boot()


@pytest.mark.parametrize("spoilt", ["state.0", "state.1"])
def test_one_damaged_copy_of_the_state_is_survived(device: Device, spoilt: str) -> None:
    device.install("1.1.0")
    device.boot()
    (device.root / spoilt).write_bytes(b"crc32 00000000\n{}")
    assert device.boot() == "1.1.0"


def test_both_copies_of_the_state_damaged_is_no_fresh_device(device: Device) -> None:
    for name in ("state.0", "state.1"):
        (device.root / name).write_bytes(b"")
    with pytest.raises(RefusedError, match="damaged"):
        device.boot()


def test_a_full_disk_leaves_the_device_as_it_was(device: Device, versions: dict[str, Path]) -> None:
    class Full(Disk):
        def create(self, path: Path, chunks: Any) -> None:
            if path.name == "index.json":
                raise OSError(28, "No space left on device")
            super().create(path, chunks)

    with pytest.raises(OSError, match="No space"):
        Slots(device.root, RULES, proves, Full()).install(FolderSource(versions["1.1.0"]), SIGNED_ON, 60)
    assert device.boot() == "1.0.0"
    device.install("1.1.0")
    assert device.boot() == "1.1.0"


def test_a_bundle_larger_than_the_disk_is_refused_before_it_is_fetched(
    device: Device, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 20_000})())
    with pytest.raises(OSError, match="does not fit"):
        device.install("1.1.0")


# -- sources -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(versions: dict[str, Path]) -> Iterator[str]:
    """A static web server over all versions."""
    folder = versions["1.0.0"].parent.parent

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_static_web_server_is_a_source(device: Device, web: str) -> None:
    Slots(device.root, RULES, proves).install(source_of(f"{web}/1.1.0/bundle/"), SIGNED_ON, 60)
    assert device.boot() == "1.1.0"


@pytest.mark.parametrize("address", ["{web}/nowhere", "http://127.0.0.1:9", "ftp://x", "file:///etc"])
def test_a_source_that_is_not_there_is_unreachable(device: Device, web: str, address: str) -> None:
    with pytest.raises(UnreachableError):
        Slots(device.root, RULES, proves).install(source_of(address.format(web=web)), SIGNED_ON, 60)
    assert device.boot() == "1.0.0"


def test_endless_data_end_at_the_declared_size(device: Device, versions: dict[str, Path]) -> None:
    asked = []

    class Endless:
        def read1(self, most: int) -> bytes:
            asked.append(most)
            return bytes(1000)

    class Source(FolderSource):
        def open(self, name: str) -> Any:
            return nullcontext(Endless()) if name.startswith("blobs/") else super().open(name)

    with pytest.raises(RefusedError):
        Slots(device.root, RULES, proves).install(Source(versions["1.1.0"]), SIGNED_ON, 60)
    assert len(asked) < 100


def test_a_source_that_drips_does_not_hold_the_device(
    device: Device, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 1)
    clock = iter(range(10**9))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.raises(UnreachableError, match="too long"):
        Slots(device.root, RULES, proves).install(FolderSource(versions["1.1.0"]), SIGNED_ON, 5000)


def test_a_source_that_ends_early_is_unreachable(device: Device, versions: dict[str, Path], tmp_path: Path) -> None:
    made = copied(versions["1.1.0"], tmp_path)
    largest = max((path for path in made.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    with pytest.raises(UnreachableError, match="ends early"):
        Slots(device.root, RULES, proves).install(FolderSource(made), SIGNED_ON, 60)
    largest.write_bytes(b"x" * 10_240)
    with pytest.raises((RefusedError, UnreachableError)):
        Slots(device.root, RULES, proves).install(FolderSource(made), SIGNED_ON, 60)
    assert device.boot() == "1.0.0"


def test_web_source_takes_web_addresses_alone() -> None:
    with pytest.raises(UnreachableError):
        WebSource("gopher://x")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_installs_boots_and_rolls_back(tmp_path: Path) -> None:
    keys = write_public(tmp_path, "a")
    for version, wrong_by in (("1.0.0", 0.0), ("1.1.0", 0.5)):
        runnable(tmp_path, version, "a", wrong_by=wrong_by)
    device = ("--root", "device", *keys, "--target", TARGET)

    def told(*arguments: str) -> dict[str, Any]:
        done = board("update", *arguments, cwd=tmp_path, without=("cryptography",))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert told("install", "1.0.0", *device)["version"] == "1.0.0"
    booted = told("boot", *device)
    assert (booted["slot"], booted["version"], booted["notes"]) == ("a", "1.0.0", [])
    refused = board("update", "install", "1.1.0/bundle", *device, cwd=tmp_path)
    assert (refused.returncode, "self-test failed" in refused.stderr) == (6, True)
    told("install", "1.1.0", *device, "--no-self-test")
    again = told("boot", *device)
    assert (again["version"], "self-test failed" in again["notes"][0]) == ("1.0.0", True)
    assert Path(tmp_path / again["files"]["model.onnx"]).is_file()
    assert "self-test failed" in told("status", "--root", "device")["failed_why"]
    assert board("update", "install", "nowhere", *device, cwd=tmp_path).returncode == 4
