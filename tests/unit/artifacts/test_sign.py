"""Signing a bundle: what is vouched for, what is not, and that nothing else changes."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegen.artifacts import sign as sign_module
from edgegen.artifacts.cosign import KEY_ID, SIGNATURE, payload
from edgegen.artifacts.policy import check_policy
from edgegen.artifacts.sign import moment_of_signing, sign_bundle
from edgegen.artifacts.statement import Moment
from edgegen.artifacts.verify import verify
from edgegen.core.errors import BudgetError, BuildError, IntegrityError, ToolMissingError, UsageError
from edgegen.core.store import Store
from unit.artifacts import example_bundle
from unit.artifacts.signed_bundle import MOMENT, SIGNED_ON, copied, signed, signer, trusting, write


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sign")
    write(root / "out", root / "work")
    return root / "out"


@pytest.fixture
def out(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


def test_a_signed_bundle_holds_and_has_the_same_core(out: Path) -> None:
    before, files = verify(out / "bundle"), tree(out)
    done = sign_bundle(out / "bundle", [signer("a"), signer("ec")], moment=MOMENT)
    after = verify(out / "bundle")
    assert done.digest == after.digest == before.digest
    assert (before.signature, after.signature) == ("none", "unknown")
    assert {key_id for claim in after.claims for key_id in claim.core.signatures} == set(done.added)
    index = files.pop("bundle/index.json")
    assert files.items() <= tree(out).items()
    assert index != (out / "bundle/index.json").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == ["bundle", "files"]
    assert check_policy(after, trusting("a", "ec", threshold=2), SIGNED_ON).signers.keys() == {"a", "ec"}


def test_a_signature_is_an_artifact_about_the_core(out: Path) -> None:
    sign_bundle(out / "bundle", [signer("a")], moment=MOMENT)
    manifest = Store(out / "bundle").find(f"0.1.0-signature-{signer('a').public.key_id[:16]}")
    assert manifest is not None
    assert manifest["artifactType"] == "application/vnd.edgegen.signature.v1+json"
    assert manifest["subject"]["digest"] == example_digest(out)
    names = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert names == ["core.dsse.json", "evidence.dsse.json"]


def example_digest(out: Path) -> str:
    index = json.loads((out / "bundle/index.json").read_bytes())
    kinds = {item.get("artifactType"): item["digest"] for item in index["manifests"]}
    return str(kinds["application/vnd.edgegen.bundle.v1+json"])


def statement_of(bundle: Path, name: str) -> dict[str, Any]:
    claim = verify(bundle).claims[0]
    envelope = claim.core if name == "core" else claim.evidence
    assert envelope is not None
    return dict(json.loads(envelope.payload))


def test_the_statements_tell_of_provenance_and_verdicts(tmp_path: Path) -> None:
    bundle = signed(tmp_path / "out", tmp_path / "work", "a")
    core = statement_of(bundle, "core")
    assert core["subject"] == [
        {"name": "digits-vae", "digest": {"sha256": verify(bundle).digest.removeprefix("sha256:")}}
    ]
    predicate = core["predicate"]
    assert predicate["buildDefinition"]["externalParameters"]["target"] == "raspberrypi4"
    dependencies = {item["name"]: item for item in predicate["buildDefinition"]["resolvedDependencies"]}
    assert dependencies["mnist-digits"]["digest"] == {"sha256": "3a" * 32}
    assert dependencies["onnxruntime"]["uri"] == "pkg:pypi/onnxruntime@1.32.0"
    assert [item["budget"] for item in predicate["edgegen_verdicts"]] == ["instructions", "latency", "psnr_db"]
    assert predicate["edgegen_signed_on"] == "2026-11-27T12:00:00Z"
    evidence = statement_of(bundle, "evidence")["predicate"]
    assert evidence["result"] == "PASSED"
    assert evidence["configuration"][0]["digest"] == core["subject"][0]["digest"]
    assert evidence["passedTests"] == ["instructions", "latency", "psnr_db"]


def test_signing_twice_with_one_key_changes_nothing(out: Path) -> None:
    sign_bundle(out / "bundle", [signer("a")], moment=MOMENT)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = sign_bundle(
        out / "bundle", [signer("a"), signer("a")], moment=Moment(signed_on=SIGNED_ON + timedelta(days=3))
    )
    assert (again.added, set(again.kept)) == ((), {signer("a").public.key_id})
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_signing_anew_after_the_end_replaces_the_signature(out: Path) -> None:
    short = Moment(signed_on=SIGNED_ON, expires_on=SIGNED_ON + timedelta(days=1))
    sign_bundle(out / "bundle", [signer("a")], moment=short)
    later = SIGNED_ON + timedelta(days=2)
    with pytest.raises(IntegrityError, match="expired"):
        check_policy(verify(out / "bundle"), trusting("a"), later)
    assert sign_bundle(out / "bundle", [signer("a")], moment=Moment(signed_on=later)).added
    assert len(verify(out / "bundle").claims) == 1
    check_policy(verify(out / "bundle"), trusting("a"), later)


def test_signers_of_one_bundle_at_once_lose_nothing(out: Path) -> None:
    names = ["a", "b", "ec1", "ec2"]
    threads = [
        threading.Thread(target=sign_bundle, args=(out / "bundle", [signer(name)]), kwargs={"moment": MOMENT})
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert check_policy(verify(out / "bundle"), trusting(*names, threshold=4), SIGNED_ON).signers.keys() == set(names)


def _with(status: str, kind: str = "counted", *, required: bool = True) -> list[Any]:
    changed = dataclasses.replace(
        example_bundle.verdict("peak_ram", "peak_ram_bytes", kind, 1.0), status=status, required=required
    )  # fmt: skip
    return [*example_bundle.VERDICTS, changed]


@pytest.mark.parametrize("kind", ["counted", "measured"])
def test_a_failed_verdict_is_not_signed(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "out", tmp_path / "work", verdicts=_with("fail", kind))
    before = tree(tmp_path / "out")
    with pytest.raises(BudgetError, match="peak_ram") as caught:
        sign_bundle(tmp_path / "out/bundle", [signer("a")], moment=MOMENT)
    assert caught.value.exit_code == 1
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("status", ["unverified", "inconclusive"])
def test_a_verdict_that_was_not_reached_is_not_signed(tmp_path: Path, status: str) -> None:
    write(tmp_path / "out", tmp_path / "work", verdicts=_with(status, "measured"))
    with pytest.raises(ToolMissingError, match="peak_ram"):
        sign_bundle(tmp_path / "out/bundle", [signer("a")], moment=MOMENT)


def test_a_budget_that_is_not_required_may_fail(tmp_path: Path) -> None:
    bundle = signed(tmp_path / "out", tmp_path / "work", "a", verdicts=_with("fail", required=False))
    check_policy(verify(bundle), trusting("a"), SIGNED_ON)
    assert statement_of(bundle, "evidence")["predicate"]["warnedTests"] == ["peak_ram"]
    with pytest.raises(IntegrityError, match="failed verdict"):
        check_policy(verify(bundle), trusting("a", required_verdicts=("peak_ram",)), SIGNED_ON)


def test_a_bundle_without_the_evidence_of_its_verdicts_is_not_signed(tmp_path: Path) -> None:
    example_bundle.write(tmp_path / "out", tmp_path / "work")  # a result without verdicts
    with pytest.raises(ToolMissingError, match="latency"):
        sign_bundle(tmp_path / "out/bundle", [signer("a")], moment=MOMENT)


def test_a_damaged_bundle_is_not_signed(out: Path) -> None:
    (out / "files/model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError):
        sign_bundle(out / "bundle", [signer("a")], moment=MOMENT)


def test_signing_needs_a_key_and_a_bundle(out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no key"):
        sign_bundle(out / "bundle", [], moment=MOMENT)
    with pytest.raises(UsageError):
        sign_bundle(tmp_path / "nowhere/bundle", [signer("a")], moment=MOMENT)


def test_cosigns_form_holds_a_signature_a_key(out: Path) -> None:
    for names in (["ec1"], ["ec1", "ec2"], ["ec2"]):
        done = sign_bundle(
            out / "bundle",
            [signer(name) for name in names],
            moment=MOMENT,
            with_cosign=True,
            reference="registry/digits",
        )
    assert "cosign's form of 2 signatures" in verify(out / "bundle").checked
    manifest = Store(copied(out / "bundle", out / "copy")).find(str(done.cosign_tag))
    assert manifest is not None
    text = payload(done.digest.removeprefix("sha256:"), "registry/digits")
    assert json.loads(text)["critical"]["image"] == {"docker-manifest-digest": done.digest}
    for layer, name in zip(manifest["layers"], ("ec1", "ec2"), strict=True):
        assert layer["annotations"][KEY_ID] == signer(name).public.key_id
        assert signer(name).public.verifies(text, base64.b64decode(layer["annotations"][SIGNATURE]))


def test_a_full_disk_leaves_the_bundle_as_it_was(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(out)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sign_module, "_exchange", full)
    with pytest.raises(BuildError, match="No space"):
        sign_bundle(out / "bundle", [signer("a")], moment=MOMENT)
    assert tree(out) == before


def test_equal_moments_give_equal_signatures(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    for name in ("x", "y"):
        shutil.copytree(pristine, tmp_path / name)
        moment = moment_of_signing(30)
        sign_bundle(
            tmp_path / name / "bundle", [signer("ec"), signer("a")], moment=moment, with_cosign=True, reference="n"
        )
    assert tree(tmp_path / "x") == tree(tmp_path / "y")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UsageError):
        moment_of_signing(None)
    assert os.environ["SOURCE_DATE_EPOCH"] == "soon"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "253402300799")  # the last second that a date can say
    assert moment_of_signing(None).signed_on.year == 9999
    with pytest.raises(UsageError, match="no moment"):
        moment_of_signing(1)
