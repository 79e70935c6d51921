"""Wrapping, whatever the form: checked first, whole or not at all, the same bytes again, and the proof goes along."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from edgegen.artifacts.verify import verify
from edgegen.artifacts.wrap.forms import FORMS, form_named
from edgegen.artifacts.wrap.held import Held, Signature, hold
from edgegen.artifacts.wrap.origin import layout_files, origin_files
from edgegen.artifacts.wrap.packing import payload, write_tar
from edgegen.core.errors import BuildError, IntegrityError, UsageError
from edgegen.core.lazy import load
from edgegen_runtime.sealed_bundle import read_bundle
from support.projects import ROOT, edgegen
from unit.artifacts.signed_bundle import signed, signer, trusting
from unit.artifacts.wrapped_bundle import certified, wrapped
from unit.runtime.runnable_bundle import write_public

RECEIVING = ROOT / "toolchain/edgegen/docs/receiving.md"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wrap")
    return signed(root / "build", root / "work", "a", "ec-b").parent


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_form_of_the_table_can_be_asked_for() -> None:
    for name, form in FORMS.items():
        assert callable(load(form.function)), name
        assert all(item.metadata["doc"] for item in fields(form.settings_record())), name
        assert form.formats, name
        assert form.help, name
        assert form.suffix == "" or form.suffix.startswith("."), name
        assert len(form.tool.split()) in (0, 2), name
    with pytest.raises(UsageError, match="did you mean 'wheel'"):
        form_named("whele")


@pytest.mark.parametrize("name", ["bundle", "build"])
def test_the_bundle_may_be_named_by_either_folder(pristine: Path, tmp_path: Path, name: str) -> None:
    made = wrapped("deb", pristine / "bundle" if name == "bundle" else pristine, tmp_path / "x.deb")
    assert made.path == tmp_path / "x.deb"
    assert made.document()["sha256"] == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.document()["size_bytes"] == made.path.stat().st_size
    assert made.document()["digest"] == verify(pristine / "bundle").digest
    assert made.path.stat().st_mode & 0o777 == 0o644
    assert listing(tmp_path) == ["x.deb"]


def test_a_damaged_bundle_is_never_wrapped(pristine: Path, tmp_path: Path) -> None:
    bundle = signed(tmp_path / "build", tmp_path / "work", "a")
    model = max((bundle / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(model.read_bytes())
    data[99] ^= 1
    model.write_bytes(data)
    for form in ("deb", "wheel", "mender"):
        with pytest.raises(IntegrityError):
            wrapped(form, bundle, tmp_path / "out" / "x")
    assert not (tmp_path / "out").exists()


def test_a_policy_says_who_must_have_signed(pristine: Path, tmp_path: Path) -> None:
    made = wrapped("deb", pristine, tmp_path / "x.deb", policy=trusting("a", "ec-b", threshold=2))
    ids = {name: signer(name).public.key_id for name in ("a", "ec-b")}
    assert made.document()["signature"] == {"status": "trusted", "trusted": ids, "others": []}
    one = wrapped("deb", pristine, tmp_path / "x.deb", policy=trusting("a")).document()["signature"]
    assert (one["trusted"], one["others"]) == ({"a": ids["a"]}, [ids["ec-b"]])
    unasked = wrapped("deb", pristine, tmp_path / "x.deb").document()["signature"]
    assert unasked == {"status": "unknown", "trusted": {}, "others": sorted(ids.values())}
    with pytest.raises(IntegrityError, match="unknown key"):
        wrapped("deb", pristine, tmp_path / "y.deb", policy=trusting("other"))
    assert listing(tmp_path) == ["x.deb"]


def test_a_form_that_does_not_fit_is_refused(pristine: Path, tmp_path: Path) -> None:
    others = [name for name, form in FORMS.items() if "onnx" not in form.formats]
    for name in others:
        record = FORMS[name].settings_record()
        hints = get_type_hints(record)
        required = [item.name for item in fields(record) if item.default is item.default_factory]
        options = {item: 1 << 20 if hints[item] is int else "1" for item in required}
        with pytest.raises(BuildError, match="cannot be wrapped as"):
            wrapped(name, pristine, tmp_path / "x", **options)
    assert others
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("form", "options", "reason"),
    [
        ("rpm", {}, "one of"),
        ("deb", {"pakage": "x"}, "did you mean 'package'"),
        ("deb", {"package": 7}, "a string"),
        ("rauc", {}, "'signing_key' is missing"),
    ],
)
def test_options_are_read_strictly(
    pristine: Path, tmp_path: Path, form: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        wrapped(form, pristine, tmp_path / "x", **options)


def test_what_is_there_is_replaced_whole_or_kept(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x.deb"
    place.write_bytes(b"old")
    with pytest.raises(UsageError):
        wrapped("deb", pristine, place, package="../x")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edgegen.artifacts.wrap.debian.write_ar", full)
        with pytest.raises(BuildError, match="No space left"):
            wrapped("deb", pristine, place)
    assert (place.read_bytes(), listing(tmp_path)) == (b"old", ["x.deb"])
    wrapped("deb", pristine, place)
    assert place.read_bytes()[:7] == b"!<arch>"
    folder = tmp_path / "folder"
    folder.mkdir()
    into = wrapped("deb", pristine, folder)
    assert into.path == folder / "edgegen-model-digits-vae_0.1.0_arm64.deb"
    assert listing(folder) == [into.path.name]
    into.path.unlink()
    into.path.mkdir()
    with pytest.raises(UsageError, match="something is there already"):
        wrapped("deb", pristine, folder)
    with pytest.raises(BuildError, match="cannot be written"):
        wrapped("deb", pristine, place / "below")


def test_what_killed_wraps_left_is_removed_and_what_others_work_on_is_not(pristine: Path, tmp_path: Path) -> None:
    for name in ("old", "held", "new"):
        (tmp_path / f".wrap-{name}").mkdir()
        (tmp_path / f".wrap-{name}" / "half").write_bytes(b"half")
    for name in ("old", "held"):
        os.utime(tmp_path / f".wrap-{name}", (1_700_000_000, 1_700_000_000))
    handle = os.open(tmp_path / ".wrap-held", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        wrapped("deb", pristine, tmp_path / "x.deb")
    finally:
        os.close(handle)
    assert listing(tmp_path) == [".wrap-held", ".wrap-new", "x.deb"]


REPEATED = ["deb", "wheel", "mender", "swupdate"]


@pytest.mark.parametrize("form", REPEATED)
def test_the_same_bundle_gives_the_same_bytes(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    keys = certified(tmp_path / "keys", "rsa")
    options = {"swupdate": keys, "mender": {"signing_key": keys["signing_key"]}}.get(form, {})

    def once(at: str) -> bytes:
        (tmp_path / at).mkdir()
        made = wrapped(form, pristine, tmp_path / at, **options)
        assert made.document()["reproducible"]
        return made.path.read_bytes()

    first = once("1")
    assert once("2") == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    dated = once("3")
    assert (once("4"), dated != first) == (dated, True)


@pytest.mark.parametrize("text", ["yesterday", "-1", "99999999999", "1e9"])
def test_a_moment_that_is_none_is_refused(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        wrapped("deb", pristine, tmp_path / "x.deb")


def test_the_proof_names_every_file(pristine: Path) -> None:
    bundle = hold(pristine, None)
    proof = origin_files(bundle)
    origin = json.loads(proof["origin.json"])
    assert (origin["digest"], origin["version"], origin["target"]) == (bundle.digest, "0.1.0", "raspberrypi4")
    assert f"sha256:{hashlib.sha256(proof['core-manifest.json']).hexdigest()}" == bundle.digest
    named = {item["annotations"]["org.opencontainers.image.title"]: item["digest"]
             for item in json.loads(proof["core-manifest.json"])["layers"]}  # fmt: skip
    assert named == origin["files"]
    for name in ("a", "ec-b"):
        key_id = signer(name).public.key_id
        assert key_id in origin["key_ids"]
        assert json.loads(proof[f"signature-{key_id[:16]}.core.dsse.json"])["signatures"][0]["keyid"] == key_id


def test_two_signatures_under_one_id_both_go_along(pristine: Path) -> None:
    bundle = hold(pristine, None)
    twice = origin_files(replace(bundle, signatures=(*bundle.signatures, bundle.signatures[0])))
    assert sorted(set(twice) - set(origin_files(bundle))) == [
        f"signature-{bundle.signatures[0].key_ids[0][:16]}-2.{name}"
        for name in ("core.dsse.json", "evidence.dsse.json")
    ]


def unpacked(bundle: Path, to: Path) -> Path:
    sink = io.BytesIO()
    write_tar(sink, payload(hold(bundle, None)), 315532800)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        archive.extractall(to)
    return to


def test_what_a_device_is_given_verifies_there_and_here(pristine: Path, tmp_path: Path) -> None:
    place = unpacked(pristine, tmp_path / "device")
    here = verify(place / "bundle")
    there = read_bundle(place / "bundle")
    assert here.digest == there.digest == verify(pristine / "bundle").digest
    assert (len(here.claims), len(there.claims)) == (2, 2)
    assert "files/ beside it: equal byte for byte" in here.checked
    names = {path.name for path in (place / "files").iterdir()}
    assert names == set(hold(pristine, None).files)
    evidence = set(layout_files(hold(pristine, None))) ^ {
        path.relative_to(pristine / "bundle").as_posix() for path in (pristine / "bundle").rglob("*") if path.is_file()
    }
    assert evidence, "evidence and training stay at home"
    (place / "files" / "model.onnx").unlink()
    with pytest.raises(IntegrityError):
        verify(place / "bundle")


def test_openssl_alone_proves_what_a_device_was_given(pristine: Path, tmp_path: Path) -> None:
    """By the commands of the page for receivers, which take the first signature in the index."""
    place = unpacked(pristine, tmp_path / "device") / "bundle"
    script = "set -eu\n" + "\n".join(re.findall(r"```sh\n(.*?)```", RECEIVING.read_text(), re.DOTALL)[:2])
    write_public(place, "a")
    (place / "a.pub").rename(place / "release.pub")
    done = subprocess.run(["sh", "-c", script], cwd=place, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Verified Successfully" in done.stdout
    assert f"the statement is about {verify(pristine / 'bundle').digest.removeprefix('sha256:')}" in done.stdout


def test_a_file_that_changes_while_it_is_packed_is_noticed(tmp_path: Path) -> None:
    bundle = hold(signed(tmp_path / "build", tmp_path / "work", "a"), None)
    model = bundle.files["model.onnx"].path
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    for attempt in (
        lambda: bundle.read("model.onnx"),
        lambda: write_tar(io.BytesIO(), payload(bundle), 315532800),
        lambda: origin_files(replace(bundle, signatures=(_claiming(bundle),))),
    ):
        with pytest.raises(IntegrityError, match="changed while it was packed"):
            attempt()


def _claiming(bundle: Held) -> Signature:
    """A signature whose file is the changed one."""
    return Signature(key_ids=("0" * 64,), files={"core.dsse.json": bundle.files["model.onnx"]})


def test_the_command_tells_what_it_did(pristine: Path, tmp_path: Path) -> None:
    key = write_public(tmp_path, "a")
    done = edgegen("wrap", str(pristine), "--as", "deb", "--out", "x.deb", *key, "--json", cache=tmp_path, cwd=tmp_path)
    assert done.code == 0, done.err
    document = done.document
    assert (document["form"], document["path"], document["exit_code"]) == ("deb", "x.deb", 0)
    assert document["digest"] in document["bundle_checked"][1]
    assert document["details"]["architecture"] == "arm64"
    into = edgegen("wrap", str(pristine), "--as", "wheel", "--out", "new/dist/", "-q", cache=tmp_path, cwd=tmp_path)
    assert "signed by unknown" in into.out
    assert (into.code, listing(tmp_path / "new/dist")) == (0, ["digits_vae-0.1.0-py3-none-any.whl"])
    told = edgegen("wrap", "--as=deb", "--help", cache=tmp_path)
    assert "--package-version" in told.out
    assert "--signing-key" not in told.out
    forms = edgegen("wrap", "--help", cache=tmp_path).out
    assert all(name in forms for name in FORMS)
    assert edgegen("wrap", str(pristine), "--as", "rpm", "--out", "x", cache=tmp_path, cwd=tmp_path).code == 2
    wrong = edgegen("wrap", str(pristine), "--as", "deb", "--out", "x", "--key", "x.deb", cache=tmp_path, cwd=tmp_path)
    assert wrong.code == 2
    other = write_public(tmp_path, "other")
    bad = edgegen("wrap", str(pristine), "--as", "deb", "--out", "y", *other, "--json", cache=tmp_path, cwd=tmp_path)
    assert (bad.code, bad.document["exit_code"]) == (5, 5)
    assert not (tmp_path / "y").exists()
