"""One artifact on its whole way: built, signed, pushed, pulled on another machine, trusted, and run there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.projects import ROOT, Ran, edgegen
from support.registries import PASSWORD, USER, Server, program, running_registry

PAGE = ROOT / "toolchain/edgegen/docs/receiving.md"
POLICY = 'schema_version = 1\nrequired_verdicts = ["size"]\n[keys.release]\nfile = "release.pub"\ntargets = ["null"]\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_registry(tmp_path / "registry", tls=True, password=True) as found:
        yield found


def test_built_signed_pushed_pulled_verified_and_run_elsewhere(
    project: Path, cache: Path, server: Server, tmp_path: Path
) -> None:
    place, ca = f"{server.host}/fw/digits:1.0.0", ("--ca", str(server.ca))
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    login = server.login(tmp_path / "docker")
    secret = {"EDGEGEN_PASSPHRASE": "long enough", "EDGEGEN_KEYS": str(here)}

    def mine(*arguments: str) -> Ran:
        done = edgegen(*arguments, "--json", cache=cache, cwd=here, **login, **secret)
        assert done.code == 0, done.err
        return done

    built = project / "build" / "null"
    mine("keys", "new", "release", "--type", "ed25519")
    digest = mine("sign", str(built), "--key", "release.key").document["digest"]
    assert mine("push", str(built), place, *ca).document["digest"] == digest
    signature = next(
        item["digest"]
        for item in mine("inspect", place, *ca).document["bundle"]["about"]
        if "signature" in item["artifact_type"]
    )

    # Another machine: its own cache, its own home, the registry, the password and a policy; nothing of the build.
    (there / "release.pub").write_bytes((here / "release.pub").read_bytes())
    (there / "policy.toml").write_text(POLICY)
    trusted = ("--policy", "policy.toml", "--target", "null", "--self-test")

    def theirs(*arguments: str) -> Ran:
        return edgegen(
            *arguments, "--json", cache=tmp_path / "their-cache", cwd=there, HOME=str(there), **login
        )  # fmt: skip

    pulled = theirs("pull", place, *ca, "--target", "null", "--out", "got", "--self-test")
    assert (pulled.code, pulled.document["digest"]) == (0, digest), pulled.err
    assert pulled.document["self_test"]["samples"] > 0
    verified = theirs("verify", "got", *trusted)
    assert (verified.code, verified.document["digest"]) == (0, digest), verified.err
    assert verified.document["signature"]["status"] == "trusted"
    _is_within_tolerance(verified)

    # The same artifact by skopeo: the core, and its signature, which is an artifact about it.
    _by_skopeo(server, there / "copy" / "bundle", digest, signature)
    copied = theirs("verify", "copy", *trusted)
    assert (copied.code, copied.document["digest"]) == (0, digest), copied.err
    assert copied.document["signature"] == verified.document["signature"]
    _is_within_tolerance(copied)

    for bundle in ("got", "copy"):
        assert f"the statement is about {digest.removeprefix('sha256:')}" in _by_openssl(there / bundle / "bundle")
    assert PASSWORD not in pulled.out + pulled.err


def _is_within_tolerance(ran: Ran) -> None:
    outputs = ran.document["self_test"]["outputs"]
    assert outputs
    assert all(item["apart"] <= item["tolerance"] for item in outputs)


def _by_skopeo(server: Server, to: Path, core: str, signature: str) -> None:
    certificates = to.parent / "certificates"
    certificates.mkdir(parents=True)
    shutil.copy(server.ca, certificates / "ca.crt")
    source = ["--src-cert-dir", str(certificates), "--src-creds", f"{USER}:{PASSWORD}"]
    for digest, tag in ((core, "0.1.0"), (signature, "0.1.0-signature-0")):
        command = [program("skopeo"), "--insecure-policy", "copy", "-q", *source]
        address = f"docker://{server.host}/fw/digits@{digest}"
        subprocess.run([*command, address, f"oci:{to}:{tag}"], check=True, timeout=60)
    shutil.rmtree(certificates)


def _by_openssl(bundle: Path) -> str:
    """What the page's commands print of a bundle; they must succeed."""
    shutil.copy(bundle.parent.parent / "release.pub", bundle / "release.pub")
    script = "set -eu\n" + "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    done = subprocess.run(["sh", "-c", script], cwd=bundle, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
