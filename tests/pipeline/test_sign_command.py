"""Keys, signatures and policies from the command line, on a real build; and the commands of the page as they stand."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from support.projects import ROOT, Ran, edgegen

PAGE = ROOT / "toolchain/edgegen/docs/receiving.md"


class Desk:
    """Somebody's keys and a build to sign."""

    def __init__(self, place: Path, project: Path, cache: Path) -> None:
        self.place = place
        self.bundle = project / "build" / "null"
        self._cache = cache

    def run(self, *arguments: str, passphrase: str = "long enough") -> Ran:
        return edgegen(
            *arguments, cache=self._cache, cwd=self.place, EDGEGEN_PASSPHRASE=passphrase, EDGEGEN_KEYS="keys"
        )

    def key(self, name: str, kind: str = "ecdsa-p256") -> str:
        done = self.run("keys", "new", name, "--type", kind, "--json")
        assert done.code == 0, done.err
        return str(done.document["key_id"])

    def sign(self, *names: str) -> Ran:
        keys = [item for name in names for item in ("--key", f"keys/{name}.key")]
        return self.run("sign", str(self.bundle), *keys, "--json")

    def verify(self, *arguments: str) -> Ran:
        return self.run("verify", str(self.bundle), *arguments, "--json")


@pytest.fixture
def desk(project: Path, cache: Path, tmp_path: Path) -> Desk:
    return Desk(tmp_path, project, cache)


def test_keys_are_made_shown_listed_and_followed_up(desk: Desk) -> None:
    key_id = desk.key("release", "ed25519")
    assert desk.run("keys", "show", "release", "--json").document["key_id"] == key_id
    again = desk.run("keys", "new", "release")
    assert (again.code, "never overwritten" in again.err) == (2, True)
    rotated = desk.run("keys", "rotate", "release", "--json")
    assert (rotated.code, rotated.document["name"], rotated.document["type"]) == (0, "release-2", "ed25519")
    listed = {item["name"]: item for item in desk.run("keys", "list", "--json").document["keys"]}
    assert set(listed) == {"release", "release-2"}
    assert all(item["passphrase"] for item in listed.values())
    follows = ("keys", "show", "keys/release-2.pub", "--follows")
    assert "named its successor by release" in desk.run(*follows, "keys/release.pub").out
    desk.key("other")
    assert desk.run(*follows, "keys/other.pub").code == 5
    assert desk.run("keys", "rotate", "release", passphrase="wrong").code == 2


def test_a_build_is_signed_and_verified(desk: Desk) -> None:
    before = desk.verify()
    assert (before.code, before.document["signature"]["status"]) == (0, "none")
    assert "unsigned" in desk.run("verify", str(desk.bundle)).out
    ids = {name: desk.key(name, kind) for name, kind in (("a", "ecdsa-p256"), ("b", "ed25519"))}
    assert desk.verify("--key", "keys/a.pub").code == 5
    signed = desk.sign("a")
    assert (signed.code, signed.document["added"]) == (0, [ids["a"]]), signed.err
    assert desk.sign("a", "b").document == {**signed.document, "added": [ids["b"]], "kept": [ids["a"]]}
    after = desk.verify()
    assert after.document["digest"] == before.document["digest"] == signed.document["digest"]
    assert after.document["signature"] == {"status": "unknown", "trusted": {}, "others": sorted(ids.values())}
    assert "signed by unknown" in desk.run("verify", str(desk.bundle)).out
    good = desk.verify("--key", "keys/a.pub", "--key", "keys/b.pub", "--threshold", "2", "--target", "null")
    assert good.document["signature"] == {"status": "trusted", "trusted": ids, "others": []}
    assert f"signed by a ({ids['a']})" in good.document["checked"]


def test_what_a_policy_does_not_allow_is_refused_with_its_reason(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.key(name)
    assert desk.sign("a").code == 0
    policy = desk.place / "policy.toml"
    policy.write_text('schema_version = 1\nrequired_verdicts = ["size"]\n[keys.a]\nfile = "keys/a.pub"\n')
    assert desk.verify("--policy", "policy.toml").code == 0
    cases = {
        ("--key", "keys/b.pub"): "unknown key",
        ("--key", "keys/a.pub", "--target", "raspberrypi5"): "wrong device",
        ("--key", "keys/a.pub", "--minimum-version", "9"): "downgraded",
        ("--minimum-version", "9"): "downgraded",
        ("--key", "keys/a.pub", "--key", "keys/b.pub", "--threshold", "2"): "too few",
    }
    for arguments, reason in cases.items():
        done = desk.verify(*arguments)
        assert (done.code, reason in done.document["error"]["what"]) == (5, True), (arguments, done.out)
    for text, reason in {
        'required_verdicts = ["latency"]': "missing verdict",
        'recipes = ["pruned"]': "recipe",
        'formats = ["litert"]': "format",
        f'recalled = ["{desk.verify().document["digest"]}"]': "recalled",
        f'revoked_keys = ["{desk.run("keys", "show", "a", "--json").document["key_id"]}"]': "revoked",
    }.items():
        policy.write_text(f'schema_version = 1\n{text}\n[keys.a]\nfile = "keys/a.pub"\n')
        done = desk.verify("--policy", "policy.toml")
        assert (done.code, reason in done.document["error"]["what"]) == (5, True), (text, done.out)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--policy", "absent.toml"),
        ("--key", "absent.pub"),
        ("--threshold", "2"),
        ("--policy", "p", "--key", "k"),
        ("--minimum-version", "new"),
    ],
)
def test_wrong_options_are_a_usage_error(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk.verify(*arguments).code == 2


def test_sign_needs_the_right_passphrase(desk: Desk) -> None:
    desk.key("a")
    assert desk.run("sign", str(desk.bundle), "--key", "keys/a.key", passphrase="wrong").code == 2
    (desk.place / "secret").write_text("long enough\n")
    arguments = ("sign", str(desk.bundle), "--key", "keys/a.key", "--passphrase-file", "secret")
    assert desk.run(*arguments, passphrase="wrong").code == 0


def test_a_release_is_published_and_found(desk: Desk) -> None:
    for name in ("r1", "r2", "t", "o", "null"):
        desk.key(name)
    files = {name: f"keys/{name}.key" for name in ("r1", "r2", "t", "o", "null")}
    roots = ("--root-key", files["r1"], "--root-key", files["r2"])
    online = ("--targets-key", files["t"], "--online-key", files["o"])
    steps = [
        ("init", "updates", *roots, "--root-threshold", "2", *online),
        ("delegate", "updates", "fakes", "--pub", "keys/null.pub", "--targets", "null", "--key", files["t"]),
        ("add", "updates", "fakes", str(desk.bundle), "--key", files["null"]),
        ("publish", "updates", "--key", files["o"]),
    ]
    for step in steps:
        done = desk.run("release", *step)
        assert done.code == 0, done.err
    find = ("release", "find", "updates", "--target", "null", "--name", "small-digits", "--json")
    assert desk.run(*find).code == 2
    found = desk.run(*find, "--root", "updates/metadata/1.root.json")
    assert found.document["digest"] == desk.verify().document["digest"]
    assert desk.run("release", "rekey", "updates", "timestamp", "--pub", "keys/t.pub", *roots).code == 0
    assert desk.run(*find).code == 5  # what the online key signed counts no more
    assert desk.run("release", "publish", "updates", "--key", files["o"]).code == 2
    assert desk.run("release", "publish", "updates", "--key", files["o"], "--key", files["t"]).code == 0
    assert desk.run("release", "renew", "updates", "targets", "--key", files["t"]).code == 0
    assert desk.run(*find).document == found.document
    removed = desk.run("release", "remove", "updates", "fakes", "null/stable/small-digits.json", "--key", files["null"])
    assert removed.code == 0, removed.err


def test_a_build_that_failed_leaves_nothing_to_sign(desk: Desk, project: Path, cache: Path) -> None:
    desk.key("a")
    failed = edgegen("build", "--target", "null", "--set", "budgets.size.max_bytes=100", cache=cache, cwd=project)
    assert failed.code == 1
    for refused in (desk.sign("a"), desk.verify(), desk.run("push", str(desk.bundle), "oci:store")):
        assert (refused.code, "there is no bundle" in refused.err + refused.out) == (2, True)


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])
def test_the_pages_openssl_commands_check_a_signature(desk: Desk, kind: str) -> None:
    desk.key("release", kind)
    desk.key("beside", "ed25519")
    assert desk.sign("release", "beside").code == 0
    place = desk.bundle / "bundle"
    public = (desk.place / "keys/release.pub").read_bytes()
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))

    def run(key: bytes) -> subprocess.CompletedProcess[str]:
        (place / "release.pub").write_bytes(key)
        command = ["sh", "-c", script]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)

    good = run(public)
    assert good.returncode == 0, good.stderr
    assert ("Verified OK" if kind == "ecdsa-p256" else "Signature Verified Successfully") in good.stdout
    assert "every blob is what its name says" in good.stdout
    digest = json.loads((desk.bundle / "result.json").read_text())["chosen"]["bundle_digest"]
    assert f"the statement is about {digest.removeprefix('sha256:')}" in good.stdout
    desk.key("other", kind)
    stranger = run((desk.place / "keys/other.pub").read_bytes())
    assert (stranger.returncode, "signed nothing about" in stranger.stdout) == (1, True)
    model = next(path for path in (place / "blobs/sha256").iterdir() if path.stat().st_size > 5000)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert run(public).returncode != 0
