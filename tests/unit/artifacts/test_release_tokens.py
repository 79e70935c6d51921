"""Releases that keys in a token sign: every command, mixed thresholds, a change from file to token and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from edgegen.artifacts.keys import Signer, new_key, public_pem
from edgegen.artifacts.policy import TrustedKey
from edgegen.artifacts.release_channels import add
from edgegen.artifacts.release_find import find_release
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.token_keys import Tokens, TokenSigner
from edgegen.artifacts.verify import Verified
from edgegen.cli.release import command
from edgegen.core.errors import ToolMissingError, UsageError
from support.projects import edgegen
from unit.artifacts.release_fleet import NOW, Fleet, made, trusted
from unit.artifacts.signed_bundle import signer
from unit.artifacts.soft_token import PIN, SoftToken


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture(scope="module")
def bundles(packed: Path) -> dict[str, Verified]:
    kinds: dict[str, dict[str, Any]] = {version: {"version": version} for version in ("1.0.0", "1.1.0", "1.2.0")}
    return made(packed, **kinds)


@pytest.fixture
def held(token: SoftToken) -> Iterator[Callable[[str], TokenSigner]]:
    """Keys of the token, by their label."""
    with Tokens() as tokens:
        yield lambda name: tokens.signer(token.uri(name), lambda: PIN)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``edgegen release …`` in this process."""
    monkeypatch.setenv("EDGEGEN_PASSPHRASE", PIN.decode())
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(command, [str(item) for item in arguments], catch_exceptions=False)

    return run


def write_key(path: Path, key: Signer) -> Path:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private.private_bytes(*form))
    path.with_suffix(".pub").write_bytes(public_pem(key.private))
    return path


def public(key: Signer | TokenSigner) -> TrustedKey:
    return TrustedKey(name="x", key=key.public)


def test_every_command_takes_keys_in_a_token(
    token: SoftToken, release: Callable[..., Result], packed: Path, bundles: dict[str, Verified], tmp_path: Path
) -> None:
    file, online = write_key(tmp_path / "r1.key", signer("r1")), token.uri("ec-online")
    two = ("--root-key", token.uri("ec-root"), "--root-key", file)
    release("init", "up", *two, "--root-threshold", "2", "--targets-key", token.uri("ed25519"), "--online-key", online)
    release(
        *("delegate", "up", "pi", "--targets", "raspberrypi*", "--key", token.uri("ed25519")),
        *("--pub", token.uri("p256"), "--pub", file.with_suffix(".pub")),
    )
    own = ("--key", token.uri("p256"))

    def current(channel: str) -> str:
        release("publish", "up", "--key", online)
        asked: dict[str, Any] = {"target": "raspberrypi4", "channel": channel, "name": "digits-vae"}
        return find_release("up", tmp_path / channel, root=tmp_path / "up/metadata/1.root.json", **asked).version

    for version in ("1.0.0", "1.1.0"):
        release("add", "up", "pi", packed / version, "--channel", "canary", *own)
        release("promote", "up", "pi", *own)
    assert (current("canary"), current("stable")) == ("1.1.0", "1.1.0")
    release("recall", "up", "pi", bundles["1.1.0"].digest, "--reason", "wrong scale", "--instead", "1.0.0", *own)
    release("remove", "up", "pi", "raspberrypi4/canary/digits-vae.json", *own)
    release("add", "up", "pi", packed / "1.2.0", "--key", file)  # one of the two keys is in a file
    release("renew", "up", "pi", *own)
    release("rekey", "up", "timestamp", "--pub", file.with_suffix(".pub"), *two)
    online = str(file)
    with pytest.raises(UsageError, match="not one of the role"):
        current("stable")  # the snapshot's key is the token's still
    release("rekey", "up", "snapshot", "--pub", file.with_suffix(".pub"), *two)
    assert current("stable") == "1.2.0"


def test_a_key_has_one_id_in_a_file_and_in_a_token(held: Callable[[str], TokenSigner], tmp_path: Path) -> None:
    signed = []
    for name, key in (("file", signer("ec-root")), ("token", held("ec-root"))):
        Releases(tmp_path / name, NOW).begin([key], 1, signer("t"), key)
        signed.append(json.loads((tmp_path / name / "metadata/1.root.json").read_bytes()))
    assert signed[0]["signed"] == signed[1]["signed"]
    assert [item["keyid"] for item in signed[0]["signatures"]] == [item["keyid"] for item in signed[1]["signatures"]]
    # A folder that the file began, the token goes on with; and the other way round.
    Releases(tmp_path / "file", NOW).publish(held("ec-root"))
    Releases(tmp_path / "token", NOW).publish(signer("ec-root"))


def test_a_threshold_counts_files_and_tokens_alike(held: Callable[[str], TokenSigner], tmp_path: Path) -> None:
    releases = Releases(tmp_path / "up", NOW)
    root = [signer("r1"), held("ec-root")]
    releases.begin(root, 2, signer("t"), signer("online"))
    for key in root:
        with pytest.raises(UsageError, match="too few of the earlier"):
            releases.rekey("targets", [trusted("t2")], 1, [key])
    with pytest.raises(UsageError, match="does not fit the root keys"):
        Releases(tmp_path / "other", NOW).begin([signer("ec-root"), held("ec-root")], 2, signer("t"), signer("online"))
    releases.rekey("targets", [trusted("t2")], 1, root)


def test_roles_change_from_a_file_to_a_token_and_back(
    held: Callable[[str], TokenSigner], tmp_path: Path, bundles: dict[str, Verified]
) -> None:
    fleet = Fleet(tmp_path, bundles)
    fleet.begin()
    fleet.release("1.0.0")
    assert fleet.find().version == "1.0.0"
    files, releases = [signer("r1"), signer("ec-r2")], fleet.at()
    tokens = [held("ec-root"), held("ed25519")]
    releases.rekey("root", [public(key) for key in tokens], 2, [*files, *tokens])
    for role in ("targets", "snapshot", "timestamp"):
        releases.rekey(role, [public(held("p256"))], 1, tokens)
    with pytest.raises(UsageError, match="too few of the earlier"):
        releases.rekey("targets", [trusted("t")], 1, files)
    releases.renew("targets", held("p256"))
    releases.delegate("pi", [public(held("ec-online"))], ["raspberrypi*"], held("p256"))
    add(releases, "pi", bundles["1.1.0"], "stable", held("ec-online"))
    releases.publish(held("p256"))
    assert fleet.find(root=None).version == "1.1.0"  # a device that was there from the beginning follows
    releases.rekey("root", [trusted("r1")], 1, [*tokens, signer("r1")])
    for role, name in (("targets", "t"), ("snapshot", "online"), ("timestamp", "online")):
        releases.rekey(role, [trusted(name)], 1, [signer("r1")])
    releases.renew("targets", signer("t"))
    releases.delegate("pi", [trusted("pi")], ["raspberrypi*"], signer("t"))
    fleet.release("1.2.0")
    assert fleet.find(root=None).version == "1.2.0"


ERRORS: dict[str, tuple[str, str, str, int, str]] = {
    "wrong PIN": ("p256", "fw", "9999", 2, "the PIN is wrong"),
    "no such key": ("nothing", "fw", "1234", 2, "the token has no such key"),
    "a key of RSA": ("rsa", "receivers", "1234", 2, "a key of another kind"),
    "no such token": ("p256", "absent", "1234", 4, "the token is not there"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_token_refuses_is_one_paragraph(token: SoftToken, tmp_path: Path, name: str) -> None:
    key, label, pin, code, words = ERRORS[name]
    begin = ("--targets-key", token.uri("p256"), "--online-key", token.uri("p256"))
    ran = edgegen(
        *("release", "init", "up", "--root-key", token.uri(key, label), *begin),
        cache=tmp_path / "cache", cwd=tmp_path, EDGEGEN_PASSPHRASE=pin,
    )  # fmt: skip
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "\n\n" not in ran.err.strip()
    assert "Traceback" not in ran.err
    assert not (tmp_path / "up").exists()


def test_a_module_or_mechanism_that_is_not_there_is_told(token: SoftToken, tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(b"no library")
    cases: dict[str, tuple[str, dict[str, str]]] = {
        "module is not there": (f"{token.uri('p256')}.gone", {}),
        "module cannot be loaded": (f"pkcs11:token=fw;object=p256?module-path={tmp_path / 'm.so'}", {}),
        "cannot sign with such a key.*CKM_ECDSA": (token.uri("p256"), token.offering("CKM_EDDSA")),
        "cannot sign with such a key.*CKM_EDDSA": (token.uri("ed25519"), token.offering("CKM_ECDSA")),
    }
    for words, (uri, changed) in cases.items():
        variables = {"EDGEGEN_PASSPHRASE": PIN.decode(), **changed}
        begin = ("--root-key", uri, "--targets-key", uri, "--online-key", uri)
        ran = edgegen("release", "init", "up", *begin, cache=tmp_path / "cache", cwd=tmp_path, **variables)
        assert ran.code == 4, ran.err
        assert re.search(words, " ".join(ran.err.split())), ran.err
        assert not (tmp_path / "up").exists()


def test_nothing_is_written_where_the_token_fails_meanwhile(token: SoftToken, tmp_path: Path) -> None:
    releases = Releases(tmp_path / "up", NOW)
    with Tokens() as tokens:
        key = tokens.signer(token.uri("p256"), lambda: PIN)
        releases.begin([key], 1, key, key)
    before = sorted(path.name for path in (tmp_path / "up/metadata").iterdir())
    with pytest.raises(ToolMissingError, match="the token fails"):
        releases.publish(key)
    with pytest.raises(ToolMissingError, match="the token fails"):
        releases.rekey("root", [trusted("r1")], 1, [signer("r1"), key])
    assert sorted(path.name for path in (tmp_path / "up/metadata").iterdir()) == before


def test_a_pin_for_the_token_and_a_passphrase_for_the_file(token: SoftToken, tmp_path: Path) -> None:
    new_key(tmp_path, "r1", "ed25519", b"another secret")
    (tmp_path / "pin").write_bytes(PIN)
    uri = f"{token.uri('p256')}&pin-source=file:{tmp_path / 'pin'}"
    begin = ("--root-key", "r1.key", "--root-key", uri, "--root-threshold", "2", "--targets-key", uri)
    ran = edgegen(
        *("release", "init", "up", *begin, "--online-key", uri),
        cache=tmp_path / "cache", cwd=tmp_path, EDGEGEN_PASSPHRASE="another secret",
    )  # fmt: skip
    assert ran.code == 0, ran.err
