"""A Debian package that dpkg reads, installs, upgrades, verifies and removes; and the self-test that it brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.artifacts.verify import verify
from edgegen.core.errors import UsageError
from support.apt_tools import apt_tool
from unit.artifacts.signed_bundle import signed
from unit.artifacts.wrapped_bundle import wrapped
from unit.runtime.runnable_bundle import runnable, write_public

MODELS = "usr/share/edgegen/models/digits-vae"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("deb")
    return {version: runnable(root, version, "a") for version in ("1.0.0-rc.2", "1.0.0")}


def read(deb: Path, *options: str) -> str:
    command = [apt_tool("dpkg-deb", "dpkg"), *options[:1], str(deb), *options[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_dpkg_deb_reads_what_is_in_it(bundles: dict[str, Path], tmp_path: Path) -> None:
    made = wrapped("deb", bundles["1.0.0-rc.2"], tmp_path)
    assert made.path.name == "edgegen-model-digits-vae_1.0.0~rc2_arm64.deb"
    fields = {name: read(made.path, "--field", name).strip() for name in ("Package", "Version", "Architecture")}
    assert fields == {"Package": "edgegen-model-digits-vae", "Version": "1.0.0~rc2", "Architecture": "arm64"}
    assert read(made.path, "--field", "Edgegen-Digest").strip() == made.bundle.digest
    assert read(made.path, "--field", "Edgegen-Version").strip() == "1.0.0-rc.2"
    lines = read(made.path, "--contents").splitlines()
    assert all(line.split()[1] == "root/root" for line in lines)
    assert {line.split()[0] for line in lines} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "hrw-r--r--"}
    assert [line.split()[5] for line in lines if "model.onnx" in line] == [f"./{MODELS}/files/model.onnx"]
    assert not read(made.path, "--ctrl-tarfile").count("postinst"), "nothing of ours runs when it is installed"


class Root:
    """A folder that dpkg takes for a whole system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._dpkg = apt_tool("dpkg", "dpkg")
        if os.geteuid() != 0:
            message = "dpkg installs for root alone"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)

    def dpkg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._dpkg, f"--root={self.root}", "--force-architecture", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def self_test(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The program that the package brings, with its paths below the folder."""
        text = (self.root / "usr/bin/edgegen-model-digits-vae-selftest").read_text()
        script = text.replace("/usr/", f"{self.root}/usr/")
        environment = {"EDGEGEN_PYTHON": sys.executable, "PATH": os.environ["PATH"]}
        return subprocess.run(
            ["sh", "-c", script, "selftest", *arguments],
            env=environment, cwd=self.root, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


@pytest.fixture
def system(tmp_path: Path) -> Root:
    root = Root(tmp_path / "system")
    (root.root / "var/lib/dpkg").mkdir(parents=True)
    return root


def test_dpkg_installs_upgrades_verifies_and_removes(bundles: dict[str, Path], system: Root, tmp_path: Path) -> None:
    debs = {version: wrapped("deb", bundle, tmp_path).path for version, bundle in bundles.items()}
    for version in ("1.0.0-rc.2", "1.0.0"):
        done = system.dpkg("-i", str(debs[version]))
        assert done.returncode == 0, done.stderr
        assert verify(system.root / MODELS / "bundle").manifest.version == version
        assert system.dpkg("--verify").stdout == ""
    older = system.dpkg("--refuse-downgrade", "-i", str(debs["1.0.0-rc.2"]))
    assert "will not downgrade" in older.stderr.lower()
    tested = system.self_test(*write_public(tmp_path, "a"), "--target", "raspberrypi4")
    assert tested.returncode == 0, tested.stderr
    assert json.loads(tested.stdout)["self_test"]["samples"] == 8
    assert system.self_test().returncode == 0
    assert system.self_test(*write_public(tmp_path, "other")).returncode == 6
    assert system.self_test("--target", "raspberrypi5").returncode == 6
    model = system.root / MODELS / "files/model.onnx"
    assert model.stat().st_ino in {
        path.stat().st_ino for path in (system.root / MODELS / "bundle/blobs/sha256").iterdir()
    }
    model.write_bytes(model.read_bytes() + b"x")
    assert "model.onnx" in system.dpkg("--verify").stdout
    assert system.self_test().returncode == 6
    assert system.dpkg("--purge", "edgegen-model-digits-vae").returncode == 0
    assert [path for path in system.root.rglob("*") if "digits-vae" in path.name] == []


def test_wrong_golden_vectors_fail_the_self_test(system: Root, tmp_path: Path) -> None:
    wrong = runnable(tmp_path, "2.0.0", "a", wrong_by=1.0)
    assert system.dpkg("-i", str(wrapped("deb", wrong, tmp_path / "x.deb").path)).returncode == 0
    done = system.self_test()
    assert (done.returncode, "self-test failed" in done.stderr) == (6, True)


@pytest.mark.parametrize("text", ["../x", "x\nDepends: y", "$(reboot)", "x" * 65, ""])
@pytest.mark.parametrize("part", ["name", "package", "package_version", "architecture", "maintainer"])
def test_hostile_words_are_refused(tmp_path: Path, part: str, text: str) -> None:
    changes = {"name": text} if part == "name" else {}
    options = {part: text} if part != "name" else {}
    bundle = signed(tmp_path / "build", tmp_path / "work", "a", **changes)
    if part == "maintainer" and text not in ("", "x\nDepends: y"):
        assert text in read(wrapped("deb", bundle, tmp_path / "x.deb", **options).path, "--field", "Maintainer")
        return
    with pytest.raises(UsageError):
        wrapped("deb", bundle, tmp_path / "x.deb", **options)
    assert not (tmp_path / "x.deb").exists()


def test_a_strangers_words_stay_in_their_field(tmp_path: Path) -> None:
    evil = "onnxruntime\nDepends: evil\n\nPackage: other"
    bundle = signed(tmp_path / "build", tmp_path / "work", "a", runtime=evil, target="null")
    made = wrapped("deb", bundle, tmp_path / "x.deb", architecture="all")
    assert read(made.path, "--field", "Depends").strip() == ""
    assert read(made.path, "--field", "Package").strip() == "edgegen-model-digits-vae"


@pytest.mark.parametrize(
    ("target", "architecture"),
    [("raspberrypi5", "arm64"), ("raspberrypi2", "armhf"), ("linux-x86_64", "amd64"), ("null", "all"), ("own", None)],
)
def test_the_architecture_is_the_targets(tmp_path: Path, target: str, architecture: str | None) -> None:
    bundle = signed(tmp_path / "build", tmp_path / "work", "a", target=target)
    if architecture is None:
        with pytest.raises(UsageError, match="--architecture"):
            wrapped("deb", bundle, tmp_path / "x.deb")
        return
    assert wrapped("deb", bundle, tmp_path / "x.deb").made.details["architecture"] == architecture
