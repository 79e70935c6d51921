"""A ``.swu`` that swupdate and cpio read: installed where it says, for the board that it says, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgegen.artifacts.verify import verify
from edgegen.artifacts.wrap.cpio import write_cpio
from edgegen.core.errors import BuildError, UsageError
from support.apt_tools import apt_tool
from unit.artifacts.signed_bundle import signed
from unit.artifacts.wrapped_bundle import PASSPHRASE, certified, issued, wrapped

SUCCESS = "SWUPDATE successful"
"""swupdate 2022.12 ends with status 1 now and then after it said so; what it says is what counts."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("swu")
    return signed(root / "build", root / "work", "a")


def swupdate(swu: Path, certificate: str, own: Path, *options: str, hardware: str = "raspberrypi4:1.0") -> str:
    program = apt_tool("swupdate", "swupdate")
    own.mkdir(exist_ok=True)
    command = [program, *options, "-k", certificate, "-H", hardware, "-i", str(swu)]
    try:
        done = subprocess.run(command, env={"TMPDIR": str(own)}, capture_output=True, check=False, timeout=30)
    except subprocess.TimeoutExpired as hung:  # seen of 2022.12 after it had refused: what counts is what it said
        said = (hung.stdout or b"") + (hung.stderr or b"")
    else:
        said = done.stdout + done.stderr
    return said.decode(errors="replace")


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for swupdate's sockets, whose path is short enough for one."""
    return Path(tmp_path_factory.mktemp("s"))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_swupdate_installs_it_where_it_says(bundle: Path, tmp_path: Path, own: Path, kind: str) -> None:
    apt_tool("swupdate", "swupdate")
    keys = certified(tmp_path, kind)
    made = wrapped("swupdate", bundle, tmp_path / "x.swu", folder=str(tmp_path / "in"), **keys)
    assert made.made.checked == ("swupdate --check: signature and hardware hold",)
    assert made.document()["reproducible"] == (kind == "rsa")
    assert SUCCESS in swupdate(made.path, keys["certificate"], own)
    assert verify(tmp_path / "in" / "bundle").digest == made.bundle.digest
    assert (tmp_path / "in" / "files" / "model.onnx").read_bytes() == made.bundle.read("model.onnx")


def test_swupdate_refuses_other_boards_other_keys_and_every_flipped_part(
    bundle: Path, tmp_path: Path, own: Path
) -> None:
    keys, others = certified(tmp_path, "rsa"), certified(tmp_path, "rsa-other")
    made = wrapped(
        "swupdate", bundle, tmp_path / "x.swu", folder=str(tmp_path / "in"), revisions=("1.0", "1.1"), **keys
    )
    assert SUCCESS in swupdate(made.path, keys["certificate"], own, "--check", hardware="raspberrypi4:1.1")
    for hardware in ("raspberrypi5:1.0", "raspberrypi4:2.0"):
        assert SUCCESS not in swupdate(made.path, keys["certificate"], own, "--check", hardware=hardware)
    assert SUCCESS not in swupdate(made.path, others["certificate"], own, "--check")
    good = made.path.read_bytes()
    places = [good.index(word) + at for word, at in ((b"raspberrypi4 =", 3), (b"release rsa", 2), (b"oci-layout", 600))]
    for place in (*places, good.index(b"model.tar\0") + 3000):
        bad = bytearray(good)
        bad[place] ^= 1
        (tmp_path / "bad.swu").write_bytes(bad)
        assert SUCCESS not in swupdate(tmp_path / "bad.swu", keys["certificate"], own), place
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_file()]


def test_swupdate_wants_the_whole_chain_on_the_device(bundle: Path, tmp_path: Path, own: Path) -> None:
    """It takes no certificate between from the signature: the file that devices have must hold it."""
    apt_tool("swupdate", "swupdate")
    options = issued(tmp_path, "rsa")
    with pytest.raises(BuildError, match="swupdate --check"):
        wrapped("swupdate", bundle, tmp_path / "x.swu", **options)
    between = (tmp_path / "rsa.crt").read_text().split("-----END CERTIFICATE-----\n")[1]
    whole = tmp_path / "whole.pem"
    whole.write_text((tmp_path / "ca.pem").read_text() + between + "-----END CERTIFICATE-----\n")
    made = wrapped("swupdate", bundle, tmp_path / "x.swu", **{**options, "ca": str(whole)})
    assert SUCCESS in swupdate(made.path, str(whole), own, "--check")


def test_cpio_reads_the_archive(bundle: Path, tmp_path: Path) -> None:
    cpio = apt_tool("cpio", "cpio")
    (tmp_path / "long").write_bytes(bytes(range(256)) * 5000 + b"odd")
    with (tmp_path / "x.cpio").open("wb") as sink:
        write_cpio(sink, [("sw-description", b"one"), ("empty", b""), ("long", tmp_path / "long")], 1_700_000_000)
    data = (tmp_path / "x.cpio").read_bytes()
    for option in ("--only-verify-crc", "-t"):
        done = subprocess.run(
            [cpio, "-i", option, "-H", "crc"], input=data, capture_output=True, check=True, timeout=60
        )
        assert b"error" not in done.stderr, done.stderr
    assert done.stdout.split() == [b"sw-description", b"empty", b"long"]
    (tmp_path / "out").mkdir()
    subprocess.run([cpio, "-i", "--quiet"], input=data, cwd=tmp_path / "out", check=True, timeout=60)
    assert (tmp_path / "out" / "long").read_bytes() == (tmp_path / "long").read_bytes()
    bad = bytearray(data)
    bad[-1000] ^= 1
    told = subprocess.run([cpio, "-i", "--only-verify-crc"], input=bad, capture_output=True, check=False, timeout=60)
    assert b"checksum error" in told.stderr


def test_a_protected_key_asks_for_its_passphrase(bundle: Path, tmp_path: Path) -> None:
    keys = certified(tmp_path, "ec", protected=True)
    asked: list[str] = []
    made = wrapped(
        "swupdate", bundle, tmp_path / "x.swu", passphrase=lambda path: asked.append(path) or PASSPHRASE, **keys
    )
    assert (made.path.is_file(), asked) == (True, [keys["signing_key"]])
    with pytest.raises(UsageError, match="private key cannot be opened"):
        wrapped("swupdate", bundle, tmp_path / "y.swu", passphrase=lambda _: b"wrong", **keys)
    clear = certified(tmp_path, "rsa")
    assert wrapped("swupdate", bundle, tmp_path / "z.swu", **clear).path.is_file()


def test_keys_and_certificates_that_cannot_be_used_are_refused(bundle: Path, tmp_path: Path) -> None:
    keys, others = certified(tmp_path, "rsa"), certified(tmp_path, "rsa-other")
    (tmp_path / "noise").write_bytes(b"-----BEGIN nonsense")
    (tmp_path / "large").write_bytes(bytes(300_000))
    cases = {
        ("certificate", others["certificate"]): "about another key",
        ("certificate", str(tmp_path / "noise")): "certificate cannot be read",
        ("certificate", str(tmp_path / "absent")): "certificate cannot be read",
        ("signing_key", keys["certificate"]): "private key cannot be opened",
        ("signing_key", str(tmp_path / "absent")): "private key cannot be read",
        ("signing_key", str(tmp_path / "large")): "too large",
    }
    for (option, value), reason in cases.items():
        with pytest.raises(UsageError, match=reason):
            wrapped("swupdate", bundle, tmp_path / "x.swu", **{**keys, option: value})
    apt_tool("swupdate", "swupdate")
    with pytest.raises(BuildError, match="swupdate --check"):
        wrapped("swupdate", bundle, tmp_path / "x.swu", ca=others["certificate"], **keys)
    assert not (tmp_path / "x.swu").exists()


@pytest.mark.parametrize("text", ["../x", 'x"; }; evil = "', "x\ny", "$(reboot)", "/"])
@pytest.mark.parametrize("part", ["name", "target", "board", "folder", "revisions"])
def test_hostile_words_are_refused(tmp_path: Path, part: str, text: str) -> None:
    changes = {part: text} if part in ("name", "target") else {}
    build = signed(tmp_path / "build", tmp_path / "work", "a", **changes)
    options = {part: (text,) if part == "revisions" else text} if part in ("board", "folder", "revisions") else {}
    with pytest.raises(UsageError):
        wrapped("swupdate", build, tmp_path / "x.swu", **certified(tmp_path, "rsa"), **options)
