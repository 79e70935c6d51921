"""Wrappers that a key in a token signs: each receiver's own program trusts them, and what cannot be done is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from edgegen.artifacts.wrap.order import Tools
from edgegen.artifacts.wrap.token_private import TokenP256, TokenRsaPrivate, token_private
from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from support.apt_tools import apt_tool
from support.projects import edgegen
from unit.artifacts.signed_bundle import signed
from unit.artifacts.soft_token import PIN, SoftToken
from unit.artifacts.wrapped_bundle import certified, issued, private_key, wrapped

RANDOM = "holds a random number"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokens")
    return signed(root / "build", root / "work", "a")


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def pin(asked: list[str]) -> Callable[[str], bytes]:
    return lambda key: asked.append(key) or PIN


def engine() -> None:
    """What rauc signs by a token through."""
    found = subprocess.run([apt_tool("openssl", "openssl"), "engine", "pkcs11"], capture_output=True, check=False)
    if found.returncode:
        message = "OpenSSL's engine pkcs11 is missing: apt-get install libengine-pkcs11-openssl"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_swupdate_trusts_what_a_token_signed(
    token: SoftToken, bundle: Path, tmp_path: Path, pin: Callable[[str], bytes], asked: list[str], kind: str
) -> None:
    apt_tool("swupdate", "swupdate")
    keys = issued(tmp_path, kind) | {"signing_key": token.uri(kind)}
    chain = (tmp_path / f"{kind}.crt").read_text() + (tmp_path / "ca.pem").read_text()
    (tmp_path / "chain.pem").write_text(chain)
    keys["ca"] = str(tmp_path / "chain.pem")  # swupdate wants all of it on the device
    made = wrapped("swupdate", bundle, tmp_path / "x.swu", passphrase=pin, **keys)
    assert made.made.checked == ("swupdate --check: signature and hardware hold",)
    assert (RANDOM in made.made.not_reproducible) == (kind == "ec")
    assert asked == [token.uri(kind)]


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_mender_trusts_what_a_token_signed(
    token: SoftToken, bundle: Path, tmp_path: Path, pin: Callable[[str], bytes], kind: str
) -> None:
    tool = apt_tool("mender-artifact", "mender-artifact")
    certified(tmp_path, kind)
    made = wrapped("mender", bundle, tmp_path / "x.mender", passphrase=pin, signing_key=token.uri(kind))
    assert made.made.checked == ("mender-artifact validate: checksums and signature hold",)
    assert (RANDOM in made.made.not_reproducible) == (kind == "ec")
    command = [tool, "validate", "-k", str(tmp_path / f"{kind}.pub"), str(made.path)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_rauc_trusts_what_it_signed_by_a_token(
    token: SoftToken, bundle: Path, tmp_path: Path, pin: Callable[[str], bytes], asked: list[str], kind: str
) -> None:
    apt_tool("rauc", "rauc")
    engine()
    keys = issued(tmp_path, kind) | {"signing_key": token.uri(kind)}
    made = wrapped("rauc", bundle, tmp_path / "x.raucb", passphrase=pin, **keys)
    assert made.made.checked[0] == "rauc info: signature and manifest hold"
    assert asked == [token.uri(kind)]  # once, though it is wanted twice


def test_rauc_without_the_engine_is_told(
    token: SoftToken, bundle: Path, tmp_path: Path, pin: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    apt_tool("rauc", "rauc")
    monkeypatch.setenv("OPENSSL_ENGINES", str(tmp_path))
    keys = certified(tmp_path, "ec") | {"signing_key": token.uri("ec")}
    with pytest.raises(ToolMissingError, match="apt install libengine-pkcs11-openssl"):
        wrapped("rauc", bundle, tmp_path / "x.raucb", passphrase=pin, **keys)
    assert not (tmp_path / "x.raucb").exists()


@pytest.mark.parametrize("form", ["rauc", "swupdate", "mender"])
def test_keys_in_a_token_that_cannot_be_used_are_refused(
    token: SoftToken, bundle: Path, tmp_path: Path, pin: Callable[[str], bytes], asked: list[str], form: str
) -> None:
    if form == "rauc":
        apt_tool("rauc", "rauc")
    keys = certified(tmp_path, "ec") if form != "mender" else {}
    cases = {
        token.uri("p384"): "a key of another kind",
        token.uri("ed25519"): "takes no such key.*P-256",
        token.uri("nothing"): "no such key",
    }
    if form != "mender":
        cases[token.uri("p256")] = "certificate is about another key"
    for uri, words in cases.items():
        with pytest.raises(UsageError, match=words):
            wrapped(form, bundle, tmp_path / "x", passphrase=pin, **keys | {"signing_key": uri})
    asked.clear()

    def wrong(key: str) -> bytes:
        asked.append(key)
        return b"0000"

    with pytest.raises(UsageError, match="PIN is wrong"):
        wrapped(form, bundle, tmp_path / "x", passphrase=wrong, **keys | {"signing_key": token.uri("ec")})
    assert len(asked) == 1  # rauc never saw it
    with pytest.raises(ToolMissingError, match="token is not there"):
        wrapped(form, bundle, tmp_path / "x", passphrase=pin, **keys | {"signing_key": token.uri("ec", "other")})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_private_key_does_not_leave_its_token_and_signs_with_sha256(token: SoftToken, kind: str) -> None:
    with token_private(token.uri(kind), Tools(moment=0, passphrase=lambda key: PIN)) as private:
        for asking in (private.private_numbers, lambda: private.private_bytes(1, 2, 3)):
            with pytest.raises(BuildError, match="does not leave its token"):
                asking()
        if isinstance(private, TokenP256):
            with pytest.raises(BuildError, match="with SHA-256"):
                private.sign(b"x", ec.ECDSA(hashes.SHA384()))
            return
        assert isinstance(private, TokenRsaPrivate)
        with pytest.raises(BuildError, match="with SHA-256"):
            private.sign(b"x", padding.PKCS1v15(), hashes.SHA384())
        with pytest.raises(BuildError, match="with PKCS #1"):
            private.sign(b"x", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        inside = private_key(kind)
        assert isinstance(inside, rsa.RSAPrivateKey)
        ways = (padding.PKCS1v15(), hashes.SHA256())
        assert private.sign(b"x", *ways) == inside.sign(b"x", *ways)


def test_the_command_line_takes_a_token(token: SoftToken, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_bytes(PIN)
    ran = edgegen(
        *("wrap", str(bundle), "--as", "mender", "--out", "x.mender", "--passphrase-file", "pin"),
        *("--signing-key", token.uri("ec")),
        cache=tmp_path / "cache", cwd=tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert RANDOM in ran.out
