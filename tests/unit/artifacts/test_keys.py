"""Keys as files: their mode, their id, what opens them, and that none is ever overwritten."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgegen.artifacts.handover import check_handover, handover
from edgegen.artifacts.keys import KINDS, list_keys, load_signer, new_key, next_name
from edgegen.artifacts.policy import trusted_key
from edgegen.core.errors import IntegrityError, UsageError
from unit.artifacts.signed_bundle import signer


def _never() -> bytes:
    raise AssertionError("asked for the passphrase of a key that has none")


@pytest.mark.parametrize("kind", KINDS)
def test_new_key_signs_and_its_public_half_checks(tmp_path: Path, kind: str) -> None:
    made = new_key(tmp_path / "k", "release", kind, b"open sesame")
    assert made.encrypted
    opened = load_signer(tmp_path / "k/release.key", lambda: b"open sesame")
    public = trusted_key(tmp_path / "k/release.pub").key
    assert public == opened.public
    assert (public.kind, public.key_id) == (kind, made.key_id)
    signature = opened.sign(b"text")
    assert opened.sign(b"text") == signature
    assert public.verifies(b"text", signature)
    assert not public.verifies(b"Text", signature)


@pytest.mark.parametrize("kind", KINDS)
def test_new_key_is_openssls_too_and_has_its_id(tmp_path: Path, kind: str) -> None:
    made = new_key(tmp_path, "release", kind, b"secret")
    command = ["openssl", "pkey", "-in", "release.key", "-passin", "pass:secret", "-pubout", "-outform", "DER"]
    der = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=30).stdout
    assert hashlib.sha256(der).hexdigest() == made.key_id
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-in", "release.key"], cwd=tmp_path, check=True, capture_output=True, timeout=30
    ).stdout
    for words in (b":PBKDF2", b":hmacWithSHA256", b":aes-256-cbc", b":0927C0"):  # 600,000 rounds
        assert words in parsed


def test_new_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        new_key(tmp_path / "k", "a", KINDS[0], None)
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "k").iterdir()}
    assert modes == {"a.key": 0o600, "a.pub": 0o644}


@pytest.mark.parametrize("there", ["a.key", "a.pub"])
def test_new_key_overwrites_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="already"):
        new_key(tmp_path, "a", KINDS[0], None)
    assert [path.name for path in tmp_path.iterdir()] == [there]


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a b", "x" * 65])
def test_new_key_refuses_a_name_with_a_path_trick(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        new_key(tmp_path, name, KINDS[0], None)


def test_new_key_refuses_an_empty_passphrase(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        new_key(tmp_path, "a", KINDS[0], b"")
    assert not list(tmp_path.iterdir())


def test_load_signer_asks_only_where_there_is_a_passphrase(tmp_path: Path) -> None:
    new_key(tmp_path, "open", KINDS[0], None)
    load_signer(tmp_path / "open.key", _never)
    new_key(tmp_path, "shut", KINDS[0], b"right")
    with pytest.raises(UsageError, match="cannot be opened"):
        load_signer(tmp_path / "shut.key", lambda: b"wrong")
    assert [(key.name, key.encrypted) for key in list_keys(tmp_path)] == [("open", False), ("shut", True)]


@pytest.mark.parametrize(
    "command",
    [
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out"],
        ["openssl", "genpkey", "-algorithm", "X25519", "-out"],
    ],
)
def test_load_signer_refuses_other_kinds(tmp_path: Path, command: list[str]) -> None:
    subprocess.run([*command, "k.key"], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    with pytest.raises(UsageError, match="another kind"):
        load_signer(tmp_path / "k.key", _never)
    subprocess.run(
        ["openssl", "pkey", "-in", "k.key", "-pubout", "-out", "k.pub"], cwd=tmp_path, check=True, timeout=30
    )
    with pytest.raises(UsageError, match="not a public key"):
        trusted_key(tmp_path / "k.pub")


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 100, b"x" * 70_000])
def test_load_signer_refuses_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "k.key").write_bytes(data)
    with pytest.raises(UsageError):
        load_signer(tmp_path / "k.key", _never)
    (tmp_path / "k.pub").write_bytes(data)
    with pytest.raises(UsageError):
        trusted_key(tmp_path / "k.pub")


def test_next_name_is_the_first_free_one(tmp_path: Path) -> None:
    assert next_name(tmp_path, "release") == "release-2"
    (tmp_path / "release-2.pub").write_bytes(b"")
    assert next_name(tmp_path, "release") == "release-3"
    assert next_name(tmp_path, "release-2") == "release-3"
    assert next_name(tmp_path, "-9") == "-9-2"


def test_handover_names_one_successor_of_one_key() -> None:
    old, new, other = signer("ec-old"), signer("new"), signer("other")
    document = handover(old, new, "release-2", datetime(2026, 11, 27, tzinfo=UTC))
    check_handover(document, old.public, new.public)
    for wrong in ((old.public, other.public), (other.public, new.public), (new.public, old.public)):
        with pytest.raises(IntegrityError, match="about other keys"):
            check_handover(document, *wrong)
    forged = handover(other, new, "x", datetime(2026, 11, 27, tzinfo=UTC))
    with pytest.raises(IntegrityError):
        check_handover(forged.replace(other.public.key_id.encode(), old.public.key_id.encode()), old.public, new.public)
    with pytest.raises(IntegrityError, match="cannot be read"):
        check_handover(b"{}", old.public, new.public)
