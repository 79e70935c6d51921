"""Keys in a token, with SoftHSM in the place of one: they sign what files sign, and never leave it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pkcs11
import pytest
from pkcs11.util.ec import encode_named_curve_parameters

from edgegen.artifacts.policy import Policy, TrustedKey, check_policy
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.token_keys import MODULE, read_uri, token_signer
from edgegen.artifacts.verify import verify
from edgegen.artifacts.wrap.order import wrap_as
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen_runtime.public_keys import parse_public_key, public_pem
from support.projects import Ran, edgegen
from unit.artifacts.c_bundle import write_litert
from unit.artifacts.signed_bundle import MOMENT, SIGNED_ON, signer, write

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN = b"1234"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library, with a token ``fw`` that holds keys of both kinds and one that is not for us."""
    found = next((path for path in LIBRARIES if Path(path).is_file()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        message = "SoftHSM is missing: apt-get install softhsm2"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    place = tmp_path_factory.mktemp("token")
    (place / "tokens").mkdir()
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(place / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "fw", "--pin", PIN.decode(), "--so-pin", "5678"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with pkcs11.lib(found).get_token(token_label="fw").open(rw=True, user_pin=PIN.decode()) as session:
        for name, curve in (("p256", "secp256r1"), ("p384", "secp384r1")):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(store=True, label=name)
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")},
            local=True,
        )
        parameters.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="ed25519")
    return found


def _uri(module: str, name: str, token: str = "fw") -> str:
    return f"pkcs11:token={token};object={name}?module-path={module}"


@pytest.mark.parametrize(("name", "kind"), [("p256", "ecdsa-p256"), ("ed25519", "ed25519")])
def test_a_key_in_a_token_signs_a_bundle(module: str, tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path / "out", tmp_path / "work")
    with token_signer(_uri(module, name), lambda: PIN) as held:
        public = held.public
        done = sign_bundle(tmp_path / "out/bundle", [held, signer("a")], moment=MOMENT, with_cosign=True)
        assert sign_bundle(tmp_path / "out/bundle", [held], moment=MOMENT).kept == (public.key_id,)
    assert (public.kind, done.added) == (kind, (public.key_id, signer("a").public.key_id))
    assert parse_public_key(public_pem(public).encode(), "x") == public
    policy = Policy(keys=(TrustedKey(name="token", key=public),))
    assert check_policy(verify(tmp_path / "out/bundle"), policy, SIGNED_ON).signers == {"token": public.key_id}


@pytest.mark.parametrize("name", ["p256", "ed25519"])
def test_a_key_in_a_token_signs_an_image_for_a_boot_loader(module: str, tmp_path: Path, name: str) -> None:
    write_litert(tmp_path / "out", bytes(range(256)) * 8)
    options = {"signing_key": _uri(module, name), "slot_size": 65536}
    made = wrap_as("mcuboot", tmp_path / "out", tmp_path / "i.bin", options, policy=None, passphrase=lambda key: PIN)
    assert made.made.checked[0].startswith("imgtool verify holds under the key ")


def test_the_command_line_takes_a_token_for_a_file(module: str, tmp_path: Path) -> None:
    write(tmp_path / "out", tmp_path / "work")
    uri = _uri(module, "p256")

    def run(*arguments: str) -> Ran:
        return edgegen(*arguments, cache=tmp_path / "cache", cwd=tmp_path, EDGEGEN_PASSPHRASE=PIN.decode())

    shown = run("keys", "show", uri)
    assert shown.code == 0, shown.err
    (tmp_path / "token.pub").write_text(shown.out)
    signed = run("sign", "out", "--key", uri, "--json")
    assert signed.document["added"] == [run("keys", "show", uri, "--json").document["key_id"]]
    assert run("verify", "out", "--key", "token.pub").code == 0


@pytest.mark.parametrize(
    ("name", "token", "pin", "words"),
    [
        ("nothing", "fw", PIN, "no such key"),
        ("p256", "other", PIN, "no such key"),
        ("p256", "fw", b"9999", "PIN"),
        ("p384", "fw", PIN, "another kind"),
    ],
)
def test_a_key_that_is_not_there_is_a_usage_error(module: str, name: str, token: str, pin: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words), token_signer(_uri(module, name, token), lambda: pin):
        pass


def test_read_uri_takes_the_module_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"")
    monkeypatch.setenv(MODULE, str(tmp_path / "m.so"))
    assert read_uri("pkcs11:token=a%20b;object=c") == {
        "token": "a b", "object": "c", "module-path": str(tmp_path / "m.so")
    }  # fmt: skip
    with pytest.raises(ToolMissingError), token_signer("pkcs11:token=a;object=c", lambda: PIN):
        pass  # no library
    with pytest.raises(ToolMissingError, match="not there"):
        read_uri("pkcs11:token=a;object=c?module-path=/nowhere.so")


@pytest.mark.parametrize(
    "uri", ["pkcs11:", "pkcs11:token=a", "pkcs11:object=a", "pkcs11:token=a;object=b;id=1", "x.key"]
)
def test_read_uri_refuses(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE, "/m.so")
    with pytest.raises(UsageError, match="URI"):
        read_uri(uri)
