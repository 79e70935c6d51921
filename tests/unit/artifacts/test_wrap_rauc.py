"""A RAUC bundle that rauc checks and takes apart: what comes out is the bundle, and a changed payload is noticed."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from edgegen.artifacts.verify import verify
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from support.apt_tools import apt_tool
from unit.artifacts.signed_bundle import signed
from unit.artifacts.wrapped_bundle import PASSPHRASE, certified, issued, wrapped

END = "-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    apt_tool("rauc", "rauc")
    apt_tool("mksquashfs", "squashfs-tools")
    root = tmp_path_factory.mktemp("raucb")
    return signed(root / "build", root / "work", "a")


def rauc(action: str, path: Path, certificate: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [apt_tool("rauc", "rauc"), action, f"--keyring={certificate}", str(path), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(("kind", "image"), [("rsa", "tar"), ("ec", "squashfs")])
def test_rauc_takes_it_apart_and_finds_the_bundle(bundle: Path, tmp_path: Path, kind: str, image: str) -> None:
    keys = certified(tmp_path, kind, protected=True)
    made = wrapped(
        "rauc", bundle, tmp_path, image=image, compatible="acme-hub", passphrase=lambda _: PASSPHRASE, **keys
    )
    assert made.path.name == "digits-vae-0.1.0.raucb"
    assert (made.document()["reproducible"], len(made.made.checked)) == (False, 2)
    told = rauc("info", made.path, keys["certificate"], "--output-format=shell").stdout
    for line in ("RAUC_MF_COMPATIBLE='acme-hub'", "RAUC_MF_VERSION='0.1.0'", f"RAUC_MF_BUILD='{made.bundle.digest}'"):
        assert line in told
    assert rauc("extract", made.path, keys["certificate"], str(tmp_path / "apart")).returncode == 0
    if image == "tar":
        with tarfile.open(tmp_path / "apart" / "model.tar") as archive:
            archive.extractall(tmp_path / "slot")
    else:
        unsquashfs = apt_tool("unsquashfs", "squashfs-tools")
        command = [unsquashfs, "-q", "-n", "-d", str(tmp_path / "slot"), str(tmp_path / "apart/model.squashfs")]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert verify(tmp_path / "slot" / "bundle").digest == made.bundle.digest
    assert (tmp_path / "slot" / "files" / "model.onnx").read_bytes() == made.bundle.read("model.onnx")


def test_the_squashfs_image_has_the_same_bytes_again(bundle: Path, tmp_path: Path) -> None:
    keys = certified(tmp_path, "rsa")
    said = [wrapped("rauc", bundle, tmp_path / f"{n}.raucb", image="squashfs", **keys).made.checked for n in (1, 2)]
    assert said[0] == said[1]  # the image's sha256 is in it


def test_other_keys_and_changed_bytes_are_noticed(bundle: Path, tmp_path: Path) -> None:
    keys, others = certified(tmp_path, "rsa"), certified(tmp_path, "rsa-other")
    made = wrapped("rauc", bundle, tmp_path / "x.raucb", **keys)
    assert rauc("info", made.path, others["certificate"]).returncode != 0
    good = made.path.read_bytes()
    for place, action in ((200, "extract"), (len(good) // 3, "extract"), (len(good) - 900, "info")):
        bad = bytearray(good)
        bad[place] ^= 1
        (tmp_path / "bad.raucb").write_bytes(bad)
        done = rauc(
            action,
            tmp_path / "bad.raucb",
            keys["certificate"],
            *([str(tmp_path / "no")] if action == "extract" else []),
        )
        assert done.returncode != 0, place
        shutil.rmtree(tmp_path / "no", ignore_errors=True)


def test_a_certificate_that_devices_do_not_trust_is_noticed_here(bundle: Path, tmp_path: Path) -> None:
    keys, others = certified(tmp_path, "rsa"), certified(tmp_path, "rsa-other")
    with pytest.raises(BuildError, match="rauc info"):
        wrapped("rauc", bundle, tmp_path / "x.raucb", ca=others["certificate"], **keys)
    assert not (tmp_path / "x.raucb").exists()


def test_a_chain_of_certificates_goes_along(bundle: Path, tmp_path: Path) -> None:
    options = issued(tmp_path, "ec")
    made = wrapped("rauc", bundle, tmp_path / "x.raucb", **options)
    assert rauc("info", made.path, options["ca"]).returncode == 0
    (tmp_path / "ec.crt").write_text((tmp_path / "ec.crt").read_text().split("-----END CERTIFICATE-----")[0] + END)
    with pytest.raises(BuildError, match="rauc"):
        wrapped("rauc", bundle, tmp_path / "y.raucb", **options)


def test_without_rauc_the_package_is_named(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="apt install rauc"):
        wrapped("rauc", bundle, tmp_path / "x.raucb", **certified(tmp_path, "rsa"))


@pytest.mark.parametrize("text", ["../x", "x\n[hooks]\nfilename=evil", "$(reboot)"])
@pytest.mark.parametrize("part", ["name", "target", "compatible", "slot"])
def test_hostile_words_are_refused(tmp_path: Path, part: str, text: str) -> None:
    apt_tool("rauc", "rauc")
    build = signed(tmp_path / "build", tmp_path / "work", "a", **({part: text} if part in ("name", "target") else {}))
    options = {part: text} if part in ("compatible", "slot") else {}
    with pytest.raises(UsageError):
        wrapped("rauc", build, tmp_path / "x.raucb", **certified(tmp_path, "rsa"), **options)
