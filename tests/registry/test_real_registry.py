"""Push and pull with Debian's docker-registry and skopeo: TLS, password, damage, and writers at once."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from example_bundle import contents, evidence
from pushed_bundle import ACCESS, bundle, pull_from, push_to

from edgegen.artifacts.bundle import writing_bundle
from edgegen.artifacts.layout import EVIDENCE_TYPE
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.transfer_places import source_of
from edgegen.artifacts.verify import verify
from edgegen.core.errors import EdgegenError
from support.projects import Ran, edgegen
from support.registries import PASSWORD, USER, Server, program

CALM = replace(ACCESS, patience=replace(ACCESS.patience, settle_s=(0.1, 0.4), window_s=10, answer_s=30))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))


def run(tmp_path: Path, *arguments: str, machine: str = "here", **more: str) -> Ran:
    """A command on one of several machines, each with a cache and a home of its own."""
    return edgegen(*arguments, "--json", cache=tmp_path / machine, cwd=tmp_path, HOME=str(tmp_path / machine), **more)


def skopeo(*arguments: str) -> None:
    subprocess.run([program("skopeo"), "--insecure-policy", "copy", "-q", *arguments], check=True, timeout=60)


def test_bundle_travels_through_tls_and_password_to_another_machine(locked_up: Server, tmp_path: Path) -> None:
    digest = bundle(tmp_path / "b")
    place, ca = f"{locked_up.host}/fw/kws:1.0", ("--ca", str(locked_up.ca))
    login = locked_up.login(tmp_path / "docker")
    pushed = run(tmp_path, "push", "b", place, *ca, **login)
    assert pushed.document["digest"] == digest, pushed.err
    pulled = run(tmp_path, "pull", place, *ca, "--out", "got", "--target", "raspberrypi4", machine="there", **login)
    assert pulled.document["digest"] == digest, pulled.err
    assert run(tmp_path, "verify", "got", machine="there").document["digest"] == digest
    seen = run(tmp_path, "inspect", place, *ca, machine="there", **login).document
    assert seen["bundle"]["digest"] == digest
    assert [item["budget"] for item in seen["bundle"]["verdicts"]] == ["instructions", "psnr_db"]
    assert {item["artifact_type"] for item in seen["bundle"]["about"]} >= {EVIDENCE_TYPE}
    for refused in (("pull", place, *ca), ("pull", place), ("inspect", place, *ca)):
        assert run(tmp_path, *refused, machine="stranger").code == 4
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    config = json.loads((tmp_path / "docker" / "config.json").read_text())
    config["auths"][locked_up.host]["auth"] = "Znc6d3Jvbmc="
    (wrong / "config.json").write_text(json.dumps(config))
    answer = run(tmp_path, "pull", place, *ca, machine="stranger", DOCKER_CONFIG=str(wrong))
    assert answer.code == 4
    assert "does not let us in" in answer.err
    assert PASSWORD not in pushed.out + pushed.err + answer.err


def test_skopeo_copies_what_edgegen_pushed_without_a_change(locked_up: Server, tmp_path: Path) -> None:
    digest = bundle(tmp_path / "b")
    place, ca = f"{locked_up.host}/fw/copied:0.1.0", ("--ca", str(locked_up.ca))
    assert run(tmp_path, "push", "b", place, *ca, **locked_up.login(tmp_path / "docker")).code == 0
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    shutil.copy(locked_up.ca, certificates / "ca.crt")
    (tmp_path / "copy").mkdir()
    source = ("--src-cert-dir", str(certificates), "--src-creds", f"{USER}:{PASSWORD}", f"docker://{place}")
    skopeo(*source, f"oci:{tmp_path}/copy/bundle:0.1.0")
    assert verify(tmp_path / "copy" / "bundle").digest == digest
    assert pull_from(f"oci:{tmp_path}/copy/bundle:0.1.0", tmp_path / "out").digest == digest


def test_edgegen_pulls_what_skopeo_pushed(plain: Server, tmp_path: Path) -> None:
    digest = bundle(tmp_path / "b")
    for tag in ("0.1.0", "0.1.0-evidence"):
        skopeo("--dest-tls-verify=false", f"oci:{tmp_path}/b/bundle:{tag}", f"docker://{plain.host}/fw/by-skopeo:{tag}")
    assert pull_from(f"{plain.host}/fw/by-skopeo:0.1.0", tmp_path / "out", access=CALM).digest == digest
    assert verify(tmp_path / "out" / "bundle").digest == digest


def test_bundles_of_several_targets_are_chosen_among(plain: Server, tmp_path: Path) -> None:
    bundle(tmp_path / "b4")
    five = bundle(tmp_path / "b5", target="raspberrypi5")
    place = f"{plain.host}/fw/several"
    assert run(tmp_path, "push", "b4", "b5", place).document["tag"] == "0.1.0"
    assert [item["target"] for item in run(tmp_path, "inspect", f"{place}:0.1.0").document["targets"]] == [
        "raspberrypi4",
        "raspberrypi5",
    ]
    assert run(tmp_path, "pull", f"{place}:0.1.0").code == 2
    assert run(tmp_path, "pull", f"{place}:0.1.0", "--target", "raspberrypi5").document["digest"] == five
    assert (tmp_path / "several" / "files" / "model.onnx").is_file()
    assert run(tmp_path, "pull", f"{place}:0.1.0", "--target", "null", "--out", "x").code == 4


def test_byte_flipped_in_any_file_of_the_registry_is_refused_or_gives_the_same_digest(
    plain: Server, tmp_path: Path
) -> None:
    digest = bundle(tmp_path / "b")
    place, dice = f"{plain.host}/fw/damaged:1", random.Random(20)
    push_to(place, tmp_path / "b", access=CALM)
    root = plain.folder / "storage" / "docker" / "registry" / "v2"
    own = {path.name for path in (tmp_path / "b/bundle/blobs/sha256").iterdir()}
    files = [path for path in sorted(plain.blobs.rglob("data")) if path.parent.name in own]
    files += sorted((root / "repositories" / "fw" / "damaged").rglob("link"))
    assert len(files) > len(own)
    refused = 0
    for path in files:
        whole = path.read_bytes()
        at = dice.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
        out = tmp_path / "out"
        try:
            found = pull_from(place, out, access=CALM).digest
        except EdgegenError as error:
            refused += error.exit_code in (4, 5)
            assert not (out / "bundle").exists(), path
        else:
            assert found == digest, path
        path.write_bytes(whole)
        shutil.rmtree(out, ignore_errors=True)
    assert refused >= len(own) - 1
    assert pull_from(place, tmp_path / "out", access=CALM).digest == digest


def test_eight_writers_of_evidence_at_once_lose_none(plain: Server, tmp_path: Path) -> None:
    place, failures = f"{plain.host}/fw/crowded:1", []
    for number in range(8):
        with writing_bundle(tmp_path / f"b{number}") as writer:
            written = writer.add_core(contents(tmp_path / "work"))
            writer.add_evidence({**evidence(written.digest), "summary.md": b"%d" % number})
    start = threading.Barrier(8)

    def push_one(out: Path) -> None:
        try:
            start.wait(10)
            push_to(place, out, access=CALM)
        except EdgegenError as error:
            failures.append(error)

    writers = [threading.Thread(target=push_one, args=(tmp_path / f"b{number}",)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert not failures
    with source_of(parse_reference(place), CALM) as source:
        listed = source.referrers(written.digest)
    assert len({item.digest for item in listed if item.artifact_type == EVIDENCE_TYPE}) == 8
    assert pull_from(place, tmp_path / "out", access=CALM).digest == written.digest
