"""A Mender artifact that mender-artifact reads, and the update module that takes it on the device."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from edgegen.artifacts.verify import verify
from edgegen.artifacts.wrap import mender
from edgegen.core.errors import UsageError
from edgegen_runtime.kept import read_slot_state
from support.apt_tools import apt_tool
from unit.artifacts.signed_bundle import signed
from unit.artifacts.wrapped_bundle import PASSPHRASE, certified, wrapped
from unit.runtime.runnable_bundle import TARGET, runnable, write_public

MODULE = Path(mender.__file__).with_name("edgegen-model.sh")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mender")
    return signed(root / "build", root / "work", "a")


def mender_artifact(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [apt_tool("mender-artifact", "mender-artifact"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_mender_artifact_reads_and_trusts_it(bundle: Path, tmp_path: Path, kind: str) -> None:
    apt_tool("mender-artifact", "mender-artifact")
    key = certified(tmp_path, kind, protected=True)["signing_key"]
    made = wrapped(
        "mender", bundle, tmp_path, signing_key=key, device_types=("pi4", "pi5"), passphrase=lambda _: PASSPHRASE
    )
    assert made.made.checked == ("mender-artifact validate: checksums and signature hold",)
    told = mender_artifact("read", "-k", str(tmp_path / f"{kind}.pub"), str(made.path)).stdout
    for line in (
        "Name: digits-vae-0.1.0",
        "Signature: signed and verified correctly",
        "Compatible devices: '[pi4 pi5]'",
        "Type:   edgegen-model",
        f"edgegen.digits-vae.digest: {made.bundle.digest}",
    ):
        assert line in told
    certified(tmp_path, f"{kind}-other")
    other = mender_artifact("validate", "-k", str(tmp_path / f"{kind}-other.pub"), str(made.path))
    assert other.returncode != 0


def test_changed_bytes_are_noticed_with_a_key_and_without(bundle: Path, tmp_path: Path) -> None:
    key = certified(tmp_path, "ec")["signing_key"]
    signed_one = wrapped("mender", bundle, tmp_path / "s.mender", signing_key=key)
    plain_one = wrapped("mender", bundle, tmp_path / "p.mender")
    for made, options in ((signed_one, ["-k", str(tmp_path / "ec.pub")]), (plain_one, [])):
        good = made.path.read_bytes()
        assert mender_artifact("validate", *options, str(made.path)).returncode == 0
        for place in (good.index(b"header.tar.gz") - 70, good.index(b"\x1f\x8b") + 30, good.rindex(b"\x1f\x8b") + 900):
            bad = bytearray(good)
            bad[place] ^= 1
            (tmp_path / "bad.mender").write_bytes(bad)
            assert mender_artifact("validate", *options, str(tmp_path / "bad.mender")).returncode != 0, place


def payload(path: Path, to: Path) -> Path:
    """What the client gives a module: its files in ``files/``."""
    with tarfile.open(path) as outer:
        stream = outer.extractfile("data/0000.tar.gz")
        assert stream is not None
        data = stream.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as inner:
        inner.extractall(to / "files")
    return to


def test_the_directory_module_finds_what_it_wants(bundle: Path, tmp_path: Path) -> None:
    made = wrapped("mender", bundle, tmp_path / "x.mender", module="directory", folder="/data/models/digits")
    files = payload(made.path, tmp_path / "given") / "files"
    assert (files / "dest_dir").read_text() == "/data/models/digits\n"
    with tarfile.open(files / "update.tar") as archive:
        archive.extractall(tmp_path / "device")
    assert verify(tmp_path / "device" / "bundle").digest == made.bundle.digest


class Device:
    """A device whose Mender client calls our module, state after state."""

    def __init__(self, root: Path, key: list[str]) -> None:
        self.root = root
        root.mkdir(parents=True)
        words = [f"ROOT={root}/slots", f'KEYS="{" ".join(key)}"', f"TARGET={TARGET}", f"PYTHON={sys.executable}"]
        (root / "model.conf").write_text("\n".join([*words, f'RESTART="touch {root}/restarted"', ""]))

    def call(self, state: str, given: Path) -> subprocess.CompletedProcess[str]:
        (given / "tmp").mkdir(exist_ok=True)
        environment = {**os.environ, "EDGEGEN_MODEL_CONF": str(self.root / "model.conf")}
        return subprocess.run(
            ["sh", str(MODULE), state, str(given)],
            cwd=given, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def update(self, given: Path) -> str:
        """The state that failed, or an empty text."""
        for state in ("ArtifactInstall", "NeedsArtifactReboot", "ArtifactCommit", "Cleanup"):
            done = self.call(state, given)
            if done.returncode:
                assert self.call("ArtifactRollback", given).returncode == 0
                assert self.call("ArtifactFailure", given).returncode == 0
                assert self.call("Cleanup", given).returncode == 0
                return state
            assert done.stdout == ("No\n" if state == "NeedsArtifactReboot" else "")
        return ""


def test_the_module_switches_slots_only_for_what_proves_itself(tmp_path: Path) -> None:
    device = Device(tmp_path / "device", write_public(tmp_path, "a"))
    versions = {
        "1.0.0": runnable(tmp_path / "good", "1.0.0", "a"),
        "1.1.0": runnable(tmp_path / "good", "1.1.0", "a"),
        "1.2.0": runnable(tmp_path / "wrong", "1.2.0", "a", wrong_by=1.0),
        "1.3.0": runnable(tmp_path / "stranger", "1.3.0", "other"),
    }
    given = {}
    for version, bundle in versions.items():
        made = wrapped("mender", bundle, tmp_path / f"{version}.mender")
        given[version] = payload(made.path, tmp_path / version)
    assert device.call("SupportsRollback", given["1.0.0"]).stdout == "Yes\n"
    assert device.update(given["1.0.0"]) == ""
    assert (tmp_path / "device" / "restarted").is_file()
    assert device.update(given["1.1.0"]) == ""
    for version in ("1.2.0", "1.3.0"):
        assert device.update(given[version]) == "ArtifactInstall"
    state = read_slot_state(tmp_path / "device" / "slots")
    assert (state.active, state.pending, state.minimum_version) == ("b", None, "1.1.0")
    assert device.update(given["1.0.0"]) == "ArtifactCommit", "an older one never comes back"
    assert not list(tmp_path.glob("1.*/tmp/*"))


@pytest.mark.parametrize("text", ["../x", "x\ny", "$(reboot)", '"'])
@pytest.mark.parametrize("part", ["name", "target", "artifact_name", "device_types", "folder"])
def test_hostile_words_are_refused(tmp_path: Path, part: str, text: str) -> None:
    build = signed(tmp_path / "build", tmp_path / "work", "a", **({part: text} if part in ("name", "target") else {}))
    options = {part: (text,) if part == "device_types" else text} if part not in ("name", "target") else {}
    with pytest.raises(UsageError):
        wrapped("mender", build, tmp_path / "x.mender", **options)


def test_header_says_what_a_server_asks_for(bundle: Path, tmp_path: Path) -> None:
    made = wrapped("mender", bundle, tmp_path / "x.mender", artifact_name="release 7")
    with tarfile.open(made.path) as outer:
        assert outer.getnames() == ["version", "manifest", "header.tar.gz", "data/0000.tar.gz"]
        version, header = (outer.extractfile(name) for name in ("version", "header.tar.gz"))
        assert version is not None
        assert json.load(version) == {"format": "mender", "version": 3}
        assert header is not None
        with tarfile.open(fileobj=io.BytesIO(header.read())) as inner:
            info = inner.extractfile("header-info")
            assert info is not None
            assert json.load(info)["artifact_depends"] == {"device_type": ["raspberrypi4"]}
