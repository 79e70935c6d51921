"""Keys in a token, with SoftHSM in the place of one: they sign what files sign, and never leave it."""

from __future__ import annotations

from pathlib import Path

import pkcs11
import pytest

from edgegen.artifacts.policy import Policy, TrustedKey, check_policy
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.token_keys import Tokens, check_tries, token_signer
from edgegen.artifacts.token_uri import MODULE, read_uri
from edgegen.artifacts.verify import verify
from edgegen.artifacts.wrap.order import wrap_as
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen_runtime.public_keys import parse_public_key, public_pem
from support.projects import Ran, edgegen
from unit.artifacts.c_bundle import write_litert
from unit.artifacts.signed_bundle import MOMENT, SIGNED_ON, signer, write
from unit.artifacts.soft_token import PIN, SoftToken


@pytest.mark.parametrize(("name", "kind"), [("p256", "ecdsa-p256"), ("ed25519", "ed25519")])
def test_a_key_in_a_token_signs_a_bundle(token: SoftToken, tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path / "out", tmp_path / "work")
    with token_signer(token.uri(name), lambda: PIN) as held:
        public = held.public
        done = sign_bundle(tmp_path / "out/bundle", [held, signer("a")], moment=MOMENT, with_cosign=True)
        assert sign_bundle(tmp_path / "out/bundle", [held], moment=MOMENT).kept == (public.key_id,)
    assert (public.kind, done.added) == (kind, (public.key_id, signer("a").public.key_id))
    assert parse_public_key(public_pem(public).encode(), "x") == public
    policy = Policy(keys=(TrustedKey(name="token", key=public),))
    assert check_policy(verify(tmp_path / "out/bundle"), policy, SIGNED_ON).signers == {"token": public.key_id}


@pytest.mark.parametrize("name", ["p256", "ed25519"])
def test_a_key_in_a_token_signs_an_image_for_a_boot_loader(token: SoftToken, tmp_path: Path, name: str) -> None:
    write_litert(tmp_path / "out", bytes(range(256)) * 8)
    options = {"signing_key": token.uri(name), "slot_size": 65536}
    made = wrap_as("mcuboot", tmp_path / "out", tmp_path / "i.bin", options, policy=None, passphrase=lambda key: PIN)
    assert made.made.checked[0].startswith("imgtool verify holds under the key ")


def test_the_command_line_takes_a_token_for_a_file(token: SoftToken, tmp_path: Path) -> None:
    write(tmp_path / "out", tmp_path / "work")
    uri = token.uri("p256")

    def run(*arguments: str) -> Ran:
        return edgegen(*arguments, cache=tmp_path / "cache", cwd=tmp_path, EDGEGEN_PASSPHRASE=PIN.decode())

    shown = run("keys", "show", uri)
    assert shown.code == 0, shown.err
    (tmp_path / "token.pub").write_text(shown.out)
    signed = run("sign", "out", "--key", uri, "--json")
    assert signed.document["added"] == [run("keys", "show", uri, "--json").document["key_id"]]
    assert run("verify", "out", "--key", "token.pub").code == 0


@pytest.mark.parametrize(
    ("name", "pin", "words"),
    [
        ("nothing", PIN, "no such key"),
        ("p256", b"9999", "PIN is wrong.*tried once"),
        ("p256", b"\xff\xfe", "PIN is no text"),
        ("p384", PIN, "another kind"),
        ("rsa", PIN, "another kind.*RSA"),
    ],
)
def test_a_key_that_cannot_be_used_is_a_usage_error(token: SoftToken, name: str, pin: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words), token_signer(token.uri(name), lambda: pin):
        pass


def test_a_token_or_library_that_is_not_there_is_told(token: SoftToken, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"no library")
    cases = {
        token.uri("p256", "other"): "token is not there",
        f"pkcs11:token=fw;object=p256?module-path={tmp_path / 'm.so'}": "module cannot be loaded",
        "pkcs11:token=fw;object=p256?module-path=/nowhere.so": "module is not there",
    }
    for uri, words in cases.items():
        with pytest.raises(ToolMissingError, match=words), token_signer(uri, lambda: PIN):
            pass


def test_keys_of_one_token_are_used_side_by_side_with_one_login(token: SoftToken, tmp_path: Path) -> None:
    asked = []

    def pin() -> bytes:
        asked.append(1)
        return PIN

    with Tokens() as tokens:
        first, second = (tokens.signer(token.uri(name), pin) for name in ("p256", "ed25519"))
        for held in (first, second, first):
            assert held.public.verifies(b"x", held.sign(b"x"))
    assert asked == [1]
    with pytest.raises(ToolMissingError, match="token fails"):
        first.sign(b"x")  # the session is over


def test_a_wrong_pin_is_tried_once_for_all_keys_of_a_token(token: SoftToken, tmp_path: Path) -> None:
    asked = []

    def pin() -> bytes:
        asked.append(1)
        return b"0000"

    with pytest.raises(UsageError, match="PIN is wrong"), Tokens() as tokens:
        [tokens.signer(token.uri(name), pin) for name in ("p256", "ed25519")]
    assert asked == [1]


def test_the_last_try_before_a_token_locks_is_left_alone() -> None:
    check_tries(pkcs11.TokenFlag.USER_PIN_COUNT_LOW, "x")
    with pytest.raises(UsageError, match="none is tried"):
        check_tries(pkcs11.TokenFlag.USER_PIN_COUNT_LOW | pkcs11.TokenFlag.USER_PIN_FINAL_TRY, "x")


def test_a_uri_may_lead_to_the_pin(token: SoftToken, tmp_path: Path) -> None:
    def nobody() -> bytes:
        raise AssertionError("the PIN was asked for")

    (tmp_path / "pin").write_bytes(PIN + b"\r\nmore")
    with token_signer(f"{token.uri('p256')}&pin-source=file:{tmp_path / 'pin'}", nobody) as held:
        assert held.sign(b"x")
    with pytest.raises(UsageError, match="PIN's file"), token_signer(f"{token.uri('p256')}&pin-source=/none", nobody):
        pass


def test_read_uri_takes_the_module_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"")
    monkeypatch.setenv(MODULE, str(tmp_path / "m.so"))
    found = read_uri("pkcs11:token=a%20b;object=c%3B")
    assert (found.token, found.label, found.module, found.pin()) == ("a b", "c;", str(tmp_path / "m.so"), None)
    assert found.bare() == "pkcs11:token=a%20b;object=c%3B;type=private"


@pytest.mark.parametrize(
    "uri",
    [
        *("pkcs11:", "pkcs11:token=a", "pkcs11:object=a", "pkcs11:token=a;object=b;id=1", "x.key"),
        *("pkcs11:token=a;object=b;pin-source=/x", "pkcs11:token=a;object=b;token=c", "pkcs11:token=a;object="),
        *("pkcs11:token=a;object=b?pin-value=1234", "pkcs11:object=b?token=a"),
    ],
)
def test_read_uri_refuses(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE, "/m.so")
    with pytest.raises(UsageError, match="URI"):
        read_uri(uri)


def test_read_uri_runs_no_program_for_a_pin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"")
    monkeypatch.setenv(MODULE, str(tmp_path / "m.so"))
    with pytest.raises(UsageError, match="not a place for a PIN"):
        read_uri(f"pkcs11:token=a;object=b?pin-source=|touch {tmp_path / 'x'}")
