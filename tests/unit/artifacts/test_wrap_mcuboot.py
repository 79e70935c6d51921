"""MCUboot images: what imgtool makes and says of them, and what is refused before it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts.keys import new_key
from edgegen.artifacts.wrap.c_sources import constants_of
from edgegen.artifacts.wrap.mcuboot import image_version
from edgegen.artifacts.wrap.order import wrap_as
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from unit.artifacts.c_bundle import write_c, write_litert

MODEL = bytes(range(256)) * 64
SLOT = 0x10000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles and keys."""
    folder = tmp_path_factory.mktemp("mcuboot")
    write_c(folder / "c")
    write_litert(folder / "litert", MODEL)
    for kind in ("ed25519", "ecdsa-p256"):
        new_key(folder, kind, kind, None)
    new_key(folder, "locked", "ecdsa-p256", b"secret")
    model = (folder / "c" / "files" / "model.c").read_text()
    weights = max(constants_of(model).values(), key=len)
    (folder / "firmware.bin").write_bytes(b"\x00\x20" * 300 + weights + b"\x70\x47" * 50)
    (folder / "zephyr.bin").write_bytes(bytes(1024) + weights)
    (folder / "other.bin").write_bytes(b"\x00\x20" * 300 + weights[:-1] + bytes([weights[-1] ^ 1]))
    return folder


def wrapped(made: Path, out: Path, bundle: str = "c", key: str = "ed25519", **options: Any) -> Any:
    given: dict[str, Any] = {"signing_key": str(made / f"{key}.key"), "slot_size": SLOT}
    if bundle == "c":
        given["firmware"] = str(made / "firmware.bin")
    kept = {name: value for name, value in (given | options).items() if value is not None}
    return wrap_as("mcuboot", made / bundle, out, kept, policy=None, passphrase=lambda key: b"secret")


def imgtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imgtool.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("bundle", "key"), [("c", "ed25519"), ("c", "locked"), ("litert", "ecdsa-p256")])
def test_image_verifies_under_its_key_and_no_other(made: Path, tmp_path: Path, bundle: str, key: str) -> None:
    image = wrapped(made, tmp_path / "image.bin", bundle, key)
    assert imgtool("verify", "-k", made / f"{key}.pub", image.path).returncode == 0
    other = "ed25519" if key != "ed25519" else "ecdsa-p256"
    assert imgtool("verify", "-k", made / f"{other}.pub", image.path).returncode != 0
    again = wrapped(made, tmp_path / "again.bin", bundle, key)
    assert again.path.read_bytes() == image.path.read_bytes()
    assert again.document()["reproducible"]


def test_image_says_which_bundle_it_is_and_what_it_needs(made: Path, tmp_path: Path) -> None:
    image = wrapped(
        made,
        tmp_path / "image.bin",
        security_counter="7",
        depends=["1:2.0.1"],
        image_version="1.4.0+9",
        header_size=1024,
    )
    assert imgtool("dumpinfo", "-s", "-f", "json", "-o", tmp_path / "info.json", image.path).returncode == 0
    text = (tmp_path / "info.json").read_text()
    info = json.loads(text)
    version = info["header"]["version"] if "header" in info else info
    assert "1.4.0+9" in str(version) or "'major': 1" in str(version), text
    assert image.bundle.digest.removeprefix("sha256:") in text.replace(" ", "").replace("0x", "").lower()
    data = image.path.read_bytes()
    assert data[:4] == bytes.fromhex("3db8f396")
    assert data[1024 : 1024 + 4] == b"\x00\x20\x00\x20"
    # The protected area: security counter, dependency, digest (image_tlv of MCUboot: type, length, value).
    assert b"\x50\x00\x04\x00\x07\x00\x00\x00" in data
    assert b"\x40\x00\x0c\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00\x00" in data
    assert b"\xa0\x00\x20\x00" + bytes.fromhex(image.bundle.digest.removeprefix("sha256:")) in data
    assert not int.from_bytes(data[16:20], "little") & 0x10


def test_image_of_a_model_file_is_data_with_the_model_behind_its_header(made: Path, tmp_path: Path) -> None:
    image = wrapped(made, tmp_path / "image.bin", "litert", pad=True)
    data = image.path.read_bytes()
    assert data[512 : 512 + len(MODEL)] == MODEL
    assert int.from_bytes(data[16:20], "little") & 0x10  # not bootable
    assert len(data) == SLOT
    assert image.made.details["holds"] == "model"


def test_image_of_a_firmware_with_room_for_its_header(made: Path, tmp_path: Path) -> None:
    image = wrapped(
        made, tmp_path / "image.bin", firmware=str(made / "zephyr.bin"), header_in_place=True, header_size=1024
    )
    assert image.path.read_bytes()[1024:1100] == (made / "zephyr.bin").read_bytes()[1024:1100]
    with pytest.raises(BuildError, match="imgtool sign refuses"):
        wrapped(made, tmp_path / "no.bin", header_in_place=True)


def test_every_turned_byte_of_an_image_is_refused(made: Path, tmp_path: Path) -> None:
    """By imgtool's own check: header, payload, protected TLVs, hash and signature."""
    from imgtool import image as images
    from imgtool import keys

    path = wrapped(made, tmp_path / "image.bin").path
    key, whole = keys.load(str(made / "ed25519.pub")), path.read_bytes()
    turned = tmp_path / "turned.bin"
    # Behind what is signed come heads of TLVs, which imgtool skims, and the hash by which MCUboot looks for its key.
    unsigned = whole.index(b"\x07\x69", 512)
    places = [*range(0, 20), *range(512, unsigned, 5), *range(len(whole) - 64, len(whole))]
    assert len(places) > 200
    for place in places:
        data = bytearray(whole)
        data[place] ^= 0x40
        turned.write_bytes(data)
        try:
            result = images.Image.verify(str(turned), key)[0]
        except Exception as error:  # noqa: BLE001 - any complaint of the tool is a refusal
            result = error
        assert result != images.VerifyResult.OK, place


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"firmware": None}, "part of a firmware"),
        ({"firmware": "{made}/other.bin"}, "does not hold the bundle's model"),
        ({"firmware": "{made}/absent.bin"}, "cannot be read"),
        ({"image_version": "1.4.0-rc.1"}, "no equal in an MCUboot image"),
        ({"image_version": "256.0.0"}, "no equal in an MCUboot image"),
        ({"header_size": 500}, "not a size for a header"),
        ({"header_size": 8}, "header_size"),
        ({"security_counter": "-1"}, "not a security counter"),
        ({"depends": ["firmware 1"]}, "not a dependency"),
        ({"digest_tag": 16}, "digest_tag"),
        ({"slot_size": "big"}, "slot_size"),
        ({"signing_key": "{made}/ed25519.pub"}, "private key"),
    ],
)
def test_image_that_cannot_be_is_refused(made: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    given = {name: value.format(made=made) if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(UsageError, match=says):
        wrapped(made, tmp_path / "image.bin", **given)
    assert not (tmp_path / "image.bin").exists()


def test_image_larger_than_its_slot_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="imgtool sign refuses"):
        wrapped(made, tmp_path / "image.bin", "litert", slot_size=8192)


def test_image_without_imgtool_says_what_to_install(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match=r"edgegen\[mcuboot\]"):
        wrapped(made, tmp_path / "image.bin")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1", "1.0.0+0"),
        ("1.2", "1.2.0+0"),
        ("1.2.3", "1.2.3+0"),
        ("255.255.65535+4294967295", "255.255.65535+4294967295"),
    ],
)
def test_versions_keep_their_place(text: str, version: str) -> None:
    assert image_version(text) == version


@pytest.mark.parametrize("text", ["", "v1", "1.2.3.4", "01.2", "1.2.3-1", "1.2.3+a", "0.0.65536", "1.0.0+4294967296"])
def test_versions_without_an_equal_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no equal"):
        image_version(text)


def test_no_passphrase_reaches_a_command_line(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = subprocess.run

    def watched(command: Any, **more: Any) -> Any:
        seen.append(command)
        assert not any(path.name.endswith(".key") for path in Path(more["cwd"]).iterdir())
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", watched)
    wrapped(made, tmp_path / "image.bin", key="locked")
    assert len(seen) == 4
    assert "secret" not in os.fsdecode(str(seen).encode())
