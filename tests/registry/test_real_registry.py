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
import signed_bundle
from example_bundle import contents, evidence
from pushed_bundle import ACCESS, bundle, pull_from, push_to

from edgegen.artifacts.bundle import writing_bundle
from edgegen.artifacts.layout import EVIDENCE_TYPE
from edgegen.artifacts.policy import check_policy
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.sign import sign_bundle
from edgegen.artifacts.transfer_places import source_of
from edgegen.artifacts.verify import verify
from edgegen.core.errors import EdgegenError, IntegrityError
from support.cutting import cuttable_way
from support.projects import Ran, edgegen
from support.registries import PASSWORD, USER, Server, program

CALM = replace(ACCESS, patience=replace(ACCESS.patience, settle_s=(0.1, 0.4), window_s=10, answer_s=30))

NOISY = replace(CALM, patience=replace(CALM.patience, window_s=0.5, answer_s=0.5))


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


def flip_on_the_way(times: int, plain: Server, tmp_path: Path) -> dict[str | int, int]:
    """How often a pull with one flipped bit, of a body or of a header, gave which digest or exit code."""
    digest, dice, outcomes = bundle(tmp_path / "b"), random.Random(21), dict[str | int, int]()
    with cuttable_way(plain.port) as way:
        place = f"{way.host}/fw/noisy:1"
        push_to(place, tmp_path / "b", access=CALM)
        way.passed = 0
        pull_from(place, tmp_path / "out", access=CALM)
        total = way.passed
        for number in range(times):
            way.passed, way.flip_at = 0, dice.randrange(total)
            out = tmp_path / f"out{number}"
            try:
                found: str | int = pull_from(place, out, access=NOISY).digest
            except EdgegenError as error:
                found = int(error.exit_code)
                assert not (out / "bundle").exists()
            assert found in (digest, 4, 5), (number, found)
            outcomes[found] = outcomes.get(found, 0) + 1
            shutil.rmtree(out, ignore_errors=True)
    return outcomes


def test_bit_flipped_on_the_way_is_refused_or_gives_the_same_digest(plain: Server, tmp_path: Path) -> None:
    outcomes = flip_on_the_way(30, plain, tmp_path)
    assert outcomes[5] > 5


@pytest.mark.long
def test_any_of_a_thousand_bits_flipped_on_the_way_is_refused_or_gives_the_same_digest(
    plain: Server, tmp_path: Path
) -> None:
    outcomes = flip_on_the_way(1000, plain, tmp_path)
    assert outcomes[5] > 300


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


def test_signatures_travel_with_the_bundle_and_count_at_its_end(locked_up: Server, tmp_path: Path) -> None:
    folder = signed_bundle.signed(tmp_path / "b", tmp_path / "work", "release", "ec-second")
    verified = verify(folder)
    sign_bundle(folder, [signed_bundle.signer("ec-second")], moment=signed_bundle.MOMENT, with_cosign=True)
    place, ca = f"{locked_up.host}/fw/signed:0.1.0", ("--ca", str(locked_up.ca))
    login = locked_up.login(tmp_path / "docker")
    assert run(tmp_path, "push", "b", place, *ca, **login).code == 0
    pulled = run(tmp_path, "pull", place, *ca, "--out", "got", machine="there", **login).document
    assert (pulled["digest"], pulled["signatures"]) == (verified.digest, 2)
    got = verify(tmp_path / "got" / "bundle")
    assert "cosign's form of 1 signatures" in got.checked
    policy = signed_bundle.trusting("release", "ec-second", threshold=2)
    check_policy(got, policy, signed_bundle.SIGNED_ON)
    with pytest.raises(IntegrityError):
        check_policy(got, signed_bundle.trusting("stranger"), signed_bundle.SIGNED_ON)
    seen = run(tmp_path, "inspect", place, *ca, **login).document["bundle"]
    known = {signed_bundle.signer(name).public.key_id for name in ("release", "ec-second")}
    assert {key for item in seen["signatures"] for key in item["keys"]} == known
    assert seen["cosign"] is True
    # Who pulled it may sign it too, and push what was added.
    sign_bundle(tmp_path / "got" / "bundle", [signed_bundle.signer("third")], moment=signed_bundle.MOMENT)
    assert run(tmp_path, "push", "got", place, *ca, **login).code == 0
    again = run(tmp_path, "pull", place, *ca, "--out", "again", **login).document
    assert (again["digest"], again["signatures"]) == (verified.digest, 3)
    # cosign's signatures share a tag: a bundle that lacks one of them must not take it away.
    signers = [signed_bundle.signer(name) for name in ("third", "ec-second")]
    sign_bundle(tmp_path / "again" / "bundle", signers, moment=signed_bundle.MOMENT, with_cosign=True)
    assert run(tmp_path, "push", "again", place, *ca, **login).code == 0
    refused = run(tmp_path, "push", "got", place, *ca, **login)
    assert (refused.code, "cosign" in refused.err) == (2, True)
