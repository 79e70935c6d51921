"""The power goes at every write of an update and of a first boot: the device always comes up with a verified model."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.digests import sha256_bytes
from edgegen_runtime.admission import Rules
from edgegen_runtime.sealed_bundle import Bundle
from edgegen_runtime.sources import FolderSource
from edgegen_runtime.strict import RefusedError, UnreachableError
from edgegen_runtime.update import Slots
from support.power_cuts import Operation, RecordingDisk, cut_power
from unit.artifacts import example_bundle
from unit.artifacts.signed_bundle import SIGNED_ON, signed, signer

RULES = Rules(keys=(signer("a").public,), target="raspberrypi4")
ROUNDS = 4  # what is lost is drawn anew in each
_STOPS_AFTER = 21_000  # bytes, of some 31,000: in the middle of the model


def _proves(bundle: Bundle) -> None:
    assert bundle.files["model.onnx"].stat().st_size


def _new_fails(bundle: Bundle) -> None:
    if bundle.version == "1.1.0":
        raise RefusedError("self-test failed")


class _Stopping(FolderSource):
    """Gives small pieces, and stops after so many bytes."""

    def __init__(self, root: Path, left: int) -> None:
        super().__init__(root)
        self._left = left

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        with super().open(name) as stream:
            self._stream = stream
            yield self

    def read1(self, most: int) -> bytes:
        piece = self._stream.read1(min(most, self._left, 2000))
        self._left -= len(piece)
        return piece


@dataclass(frozen=True)
class Recorded:
    """A device with two versions, and what an update to a third did to its disk until it had booted.

    The source of the update stopped once, and the next install went on from there.
    """

    before: Path
    root: Path
    log: list[Operation]
    old: str
    new: str


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of disks are written out."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every version has a model of its own: none is in a slot already."""
    root, found = tmp_path_factory.mktemp("versions"), {}
    for number, version in enumerate(("0.9.0", "1.0.0", "1.1.0")):
        model = root / f"{version}.onnx"
        model.write_bytes(bytes([number]) * 10_240)
        bill = example_bundle.bill(model_sha256=sha256_bytes(model.read_bytes()))
        found[version] = signed(root / version, root / "work", "a", version=version, model=model, sbom=bill)
    return found


def _record(versions: dict[str, Path], root: Path, prove: Callable[[Bundle], None]) -> Recorded:
    device = root / "device"
    slots = Slots(device, RULES, _proves, RecordingDisk())
    for version in ("0.9.0", "1.0.0"):
        slots.install(FolderSource(versions[version]), SIGNED_ON, 60)
        old = slots.boot().bundle.digest
    before = Path(shutil.copytree(device, root / "before"))
    disk = RecordingDisk()
    with pytest.raises(UnreachableError, match="ends early"):
        Slots(device, RULES, _proves, disk).install(_Stopping(versions["1.1.0"], _STOPS_AFTER), SIGNED_ON, 60)
    assert any(path.stat().st_size for path in device.rglob("*.part"))
    new = Slots(device, RULES, _proves, disk).install(FolderSource(versions["1.1.0"]), SIGNED_ON, 60).digest
    Slots(device, RULES, prove, disk).boot()
    return Recorded(before=before, root=device, log=disk.log, old=old, new=new)


@pytest.mark.parametrize(("prove", "may_be_new"), [(_proves, True), (_new_fails, False)], ids=["good", "bad"])
def test_a_power_cut_at_any_write_leaves_a_verified_model(
    versions: dict[str, Path], fast: Path, prove: Callable[[Bundle], None], may_be_new: bool
) -> None:
    recorded = _record(versions, fast, prove)
    points, seen = 0, set()
    for at in range(len(recorded.log) + 1):
        for turn in range(ROUNDS):
            dice = random.Random(f"{at} {turn}")
            left = fast / "left"
            cut_power(recorded.before, recorded.root, recorded.log, at, dice, left)
            seen.add(_comes_up_twice(left, prove, dice, fast))
            shutil.rmtree(left)
            points += 1
    assert points >= 200
    assert seen == ({recorded.old, recorded.new} if may_be_new else {recorded.old})


def _comes_up_twice(left: Path, prove: Callable[[Bundle], None], dice: random.Random, work: Path) -> str:
    """Boots; loses power once more during that very boot, and boots again. The model is whole each time."""
    before = Path(shutil.copytree(left, work / "again-before"))
    disk = RecordingDisk()
    first = Slots(left, RULES, prove, disk).boot().bundle.digest
    again = work / "again"
    cut_power(before, left, disk.log, dice.randrange(len(disk.log) + 1), dice, again)
    second = Slots(again, RULES, prove, RecordingDisk()).boot()
    assert second.bundle.digest == first
    third = Slots(again, RULES, prove, RecordingDisk()).boot()
    assert (third.bundle.digest, third.slot, third.notes) == (first, second.slot, ())
    shutil.rmtree(before)
    shutil.rmtree(again)
    return first


def test_an_update_goes_on_after_a_power_cut_at_any_write(versions: dict[str, Path], fast: Path) -> None:
    """Whatever the cut left in the free slot, the next install makes the new version of it."""
    recorded, left = _record(versions, fast, _proves), fast / "left"
    for at in range(len(recorded.log) + 1):
        cut_power(recorded.before, recorded.root, recorded.log, at, random.Random(at), left)
        slots = Slots(left, RULES, _proves, RecordingDisk())
        if slots.boot().bundle.digest != recorded.new:
            slots.install(FolderSource(versions["1.1.0"]), SIGNED_ON, 60)
            assert slots.boot().bundle.digest == recorded.new
        shutil.rmtree(left)


class _Careless(RecordingDisk):
    """A disk whose user forgets to sync: what the file system model must be able to catch."""

    def __init__(self, forgets: str) -> None:
        super().__init__()
        self._forgets = forgets

    def sync_file(self, path: Path) -> None:
        if self._forgets != "files":
            super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        if self._forgets != "folders":
            super().sync_folder(path)


@pytest.mark.parametrize("forgets", ["files", "folders"])
def test_without_syncing_a_power_cut_loses_what_was_switched_to(
    versions: dict[str, Path], tmp_path: Path, forgets: str
) -> None:
    """The test of the test: the same cuts find an updater that does not sync."""
    device = tmp_path / "device"
    Slots(device, RULES, _proves, RecordingDisk()).install(FolderSource(versions["1.0.0"]), SIGNED_ON, 60)
    Slots(device, RULES, _proves, RecordingDisk()).boot()
    before = Path(shutil.copytree(device, tmp_path / "before"))
    disk = _Careless(forgets)
    slots = Slots(device, RULES, _proves, disk)
    new = slots.install(FolderSource(versions["1.1.0"]), SIGNED_ON, 60).digest
    slots.boot()
    came_up = set()
    for turn in range(20):
        cut_power(before, device, disk.log, len(disk.log), random.Random(turn), tmp_path / "left")
        try:
            came_up.add(Slots(tmp_path / "left", RULES, _proves, RecordingDisk()).boot().bundle.digest)
        except RefusedError:
            came_up.add("nothing")
        shutil.rmtree(tmp_path / "left")
    assert came_up != {new}


def test_a_finished_update_is_on_the_disk(versions: dict[str, Path], tmp_path: Path) -> None:
    recorded = _record(versions, tmp_path, _proves)
    for turn in range(20):
        cut_power(recorded.before, recorded.root, recorded.log, len(recorded.log), random.Random(turn), tmp_path / "x")
        assert Slots(tmp_path / "x", RULES, _proves, RecordingDisk()).boot().bundle.digest == recorded.new
        shutil.rmtree(tmp_path / "x")
