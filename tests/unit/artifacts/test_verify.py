# ruff: noqa: E501  (a table of hostile bundles reads best with one a line)
import json
import os
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from example_bundle import MODEL, arrays, evidence, golden_record, npz, write

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.verify import verify
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.errors import IntegrityError, UsageError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    write(root / "out", root / "work")
    return root / "out"


@pytest.fixture
def out(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "out"))


class Layout:
    """Changes a bundle the way a forger would: digests and sizes follow the change."""

    def __init__(self, out: Path) -> None:
        self.root = out / "bundle"
        shutil.rmtree(out / "files")
        self.index = json.loads((self.root / "index.json").read_bytes())

    def put(self, data: bytes) -> dict:
        digest = sha256_bytes(data)
        (self.root / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def get(self, digest: str) -> bytes:
        return (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def drop(self, digest: str) -> None:
        (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).unlink(missing_ok=True)

    def descriptor(self, suffix: str = "") -> dict:
        tags = {item["annotations"]["org.opencontainers.image.ref.name"]: item for item in self.index["manifests"]}
        return tags[f"0.1.0{suffix}"]

    def manifest(self, suffix: str = "") -> dict:
        return json.loads(self.get(self.descriptor(suffix)["digest"]))

    def layer(self, name: str, suffix: str = "") -> tuple[dict, dict]:
        manifest = self.manifest(suffix)
        found = (item for item in manifest["layers"] if item["annotations"]["org.opencontainers.image.title"] == name)
        return manifest, next(found)

    def save_manifest(self, manifest: dict, suffix: str = "") -> None:
        descriptor = self.descriptor(suffix)
        self.drop(descriptor["digest"])
        descriptor.update(self.put(canonical_json(manifest)))
        if not suffix:
            self._rebind()
        self.save_index()

    def _rebind(self) -> None:
        """Makes the evidence be about the changed core, so that nothing but the change can be found."""
        core, manifest = self.descriptor(), self.manifest("-evidence")
        manifest["subject"] = {key: core[key] for key in ("mediaType", "digest", "size")}
        for layer in manifest["layers"]:
            if layer["annotations"]["org.opencontainers.image.title"] == "result.json":
                self.drop(layer["digest"])
                layer.update(self.put(evidence(core["digest"])["result.json"]))
        self.save_manifest(manifest, "-evidence")

    def save_index(self) -> None:
        (self.root / "index.json").write_bytes(canonical_json(self.index))

    def replace(self, name: str, data: bytes, suffix: str = "", *, follow: bool = True) -> None:
        """Replaces a file; with ``follow`` manifest.json agrees with it."""
        manifest, layer = self.layer(name, suffix)
        self.drop(layer["digest"])
        layer.update(self.put(data))
        self.save_manifest(manifest, suffix)
        if follow and not suffix and name != "manifest.json":
            table = self.document("manifest.json")
            for entry in table["files"]:
                if entry["path"] == name:
                    entry.update({"sha256": sha256_bytes(data), "size_bytes": len(data)})
            self.replace("manifest.json", canonical_json(table))

    def document(self, name: str, suffix: str = "") -> dict:
        return json.loads(self.get(self.layer(name, suffix)[1]["digest"]))

    def edit(self, name: str, suffix: str = "", **changes: object) -> None:
        self.replace(name, canonical_json(self.document(name, suffix) | changes), suffix)

    def replace_golden(self, vectors: bytes) -> None:
        self.replace("golden.npz", vectors)
        self.replace("golden.json", golden_record(vectors))


def test_a_whole_bundle_holds_and_says_what_was_checked(out):
    verified = verify(out / "bundle")
    assert verified.digest.startswith("sha256:")
    assert verified.signature == "none"
    assert verified.manifest.candidate == "static-int8@onnx"
    said = "\n".join(verified.checked)
    for words in ("model.onnx: 10240 bytes", "golden vectors", "about this core", "result.json", "files/ beside it"):
        assert words in said


def test_verifying_changes_nothing(out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    verify(out / "bundle")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_bundle_may_come_without_files_beside_it_and_without_evidence(out):
    forged = Layout(out)
    assert "files/" not in "\n".join(verify(out / "bundle").checked)
    gone = forged.descriptor("-evidence")
    for layer in forged.manifest("-evidence")["layers"]:
        forged.drop(layer["digest"])
    forged.drop(gone["digest"])
    forged.index["manifests"].remove(gone)
    forged.save_index()
    assert "evidence" not in "\n".join(verify(out / "bundle").checked)


def test_a_rewritten_but_consistent_bundle_holds_with_another_digest(out, pristine):
    Layout(out).edit("preprocessing.json", scale="none")
    assert verify(out / "bundle").digest != verify(pristine / "bundle").digest


def test_there_is_no_bundle_where_there_is_no_folder(tmp_path):
    with pytest.raises(UsageError):
        verify(tmp_path / "nowhere")


def test_one_flipped_byte_in_any_file_is_found(out):
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(IntegrityError):
                verify(out / "bundle")
        path.write_bytes(whole)
    verify(out / "bundle")


@pytest.mark.parametrize("harm", ["shorter", "longer", "empty", "gone", "linked", "folder", "pipe"])
def test_harm_to_any_file_is_found(out, tmp_path, harm):
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.unlink()
        if harm == "linked":
            (tmp_path / "elsewhere").write_bytes(whole)
            path.symlink_to(tmp_path / "elsewhere")
        elif harm == "folder":
            path.mkdir()
        elif harm == "pipe":
            os.mkfifo(path)
        elif harm != "gone":
            path.write_bytes({"shorter": whole[:-1], "longer": whole + b"\n", "empty": b""}[harm])
        if harm == "longer" and path.name in ("index.json", "oci-layout"):
            verify(out / "bundle")  # blanks after JSON change nothing
        else:
            with pytest.raises(IntegrityError):
                verify(out / "bundle")
        if harm == "folder":
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(whole)


def _title(out, title):
    forged = Layout(out)
    manifest, layer = forged.layer("preprocessing.json")
    layer["annotations"]["org.opencontainers.image.title"] = title
    forged.save_manifest(manifest)


@pytest.mark.parametrize(
    "title",
    ["../model.onnx", "/etc/passwd", "a/b", "a\\b", "..", ".", "", ".hidden", "a\x00b", "a\nb", "x" * 300, "C:evil", None, 7, []],
)  # fmt: skip
def test_a_file_name_with_a_path_trick_is_refused(out, title):
    _title(out, title)
    with pytest.raises(IntegrityError, match="name is not usable"):
        verify(out / "bundle")


def _set_layer(out, **changes):
    forged = Layout(out)
    manifest, layer = forged.layer("model.onnx")
    layer.update(changes)
    forged.save_manifest(manifest)


def _set_manifest(out, suffix="", **changes):
    forged = Layout(out)
    forged.save_manifest(forged.manifest(suffix) | changes, suffix)


def _set_index(out, **changes):
    forged = Layout(out)
    forged.index.update(changes)
    forged.save_index()


def _set_descriptor(out, **changes):
    forged = Layout(out)
    forged.descriptor().update(changes)
    forged.save_index()


def _twice(out):
    forged = Layout(out)
    manifest, layer = forged.layer("model.onnx")
    manifest["layers"].append(layer)
    forged.save_manifest(manifest)


def _extra_layer(out, suffix=""):
    forged = Layout(out)
    manifest = forged.manifest(suffix)
    annotations = {"org.opencontainers.image.title": "install.sh"}
    manifest["layers"].append({**forged.put(b"rm"), "mediaType": "text/x-sh", "annotations": annotations})
    forged.save_manifest(manifest, suffix)


def _without(out, name, suffix=""):
    forged = Layout(out)
    manifest, layer = forged.layer(name, suffix)
    manifest["layers"].remove(layer)
    forged.drop(layer["digest"])
    forged.save_manifest(manifest, suffix)


def _extra_manifest(out, kind):
    forged = Layout(out)
    forged.index["manifests"].append({**forged.descriptor(), "artifactType": kind})
    forged.save_index()


def _extra_file(out, name):
    path = out / "bundle" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def _raw(out, name, data, suffix=""):
    Layout(out).replace(name, data, suffix)


def _linked_blobs(out):
    target = out / "bundle" / "blobs"
    os.rename(target, out.parent / "real-blobs")
    target.symlink_to(out.parent / "real-blobs")


def _linked_files(out):
    os.rename(out / "files", out.parent / "real-files")
    (out / "files").symlink_to(out.parent / "real-files")


def _golden(out, **changes):
    changed = {key: value for key, value in (arrays() | changes).items() if value is not None}
    Layout(out).replace_golden(npz(changed))


DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
HUGE = 2**62
NOWHERE = f"sha256:{'0' * 64}"
HOSTILE = {
    "a model was swapped and its descriptor follows": lambda out: Layout(out).replace("model.onnx", MODEL[::-1], follow=False),
    "a layer of another size": lambda out: _set_layer(out, size=len(MODEL) - 1),
    "a layer of a huge size": lambda out: _set_layer(out, size=HUGE),
    "a layer of a negative size": lambda out: _set_layer(out, size=-1),
    "a layer whose size is a text": lambda out: _set_layer(out, size="10240"),
    "a layer whose size is true": lambda out: _set_layer(out, size=True),
    "a layer without a blob": lambda out: _set_layer(out, digest=NOWHERE),
    "a digest with a path trick": lambda out: _set_layer(out, digest="sha256:../../../../etc/passwd"),
    "a digest of another kind": lambda out: _set_layer(out, digest="md5:" + "0" * 32),
    "a digest in capitals": lambda out: _set_layer(out, digest=f"sha256:{sha256_bytes(MODEL).upper()}"),
    "a digest that is a list": lambda out: _set_layer(out, digest=[]),
    "a layer of another media type": lambda out: _set_layer(out, mediaType="text/html"),
    "annotations that are a list": lambda out: _set_layer(out, annotations=[]),
    "a file twice": _twice,
    "a file too many": _extra_layer,
    "a file too many in the evidence": lambda out: _extra_layer(out, "-evidence"),
    "a core without golden vectors": lambda out: _without(out, "golden.npz"),
    "a core without a manifest": lambda out: _without(out, "manifest.json"),
    "evidence without a result": lambda out: _without(out, "result.json", "-evidence"),
    "layers that are no list": lambda out: _set_manifest(out, layers={}),
    "layers that are no tables": lambda out: _set_manifest(out, layers=["x"]),
    "far too many layers": lambda out: _set_manifest(out, layers=[{}] * 1000),
    "a config that is not empty": lambda out: _set_manifest(out, config={"mediaType": "x", "digest": NOWHERE, "size": 2}),
    "an artifact of another type": lambda out: _set_manifest(out, artifactType="application/x"),
    "a manifest of another schema": lambda out: _set_manifest(out, schemaVersion=1),
    "evidence about another core": lambda out: _set_manifest(
        out, "-evidence", subject={"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": NOWHERE, "size": 1}
    ),
    "evidence about nothing": lambda out: _set_manifest(out, "-evidence", subject=None),
    "a result about another bundle": lambda out: Layout(out).edit("result.json", "-evidence", chosen={"bundle_digest": NOWHERE}),
    "a result that chose nothing": lambda out: Layout(out).edit("result.json", "-evidence", chosen=None),
    "an index pointing to nowhere": lambda out: _set_descriptor(out, digest=NOWHERE),
    "an index with a huge manifest": lambda out: _set_descriptor(out, size=HUGE),
    "an index with another tag": lambda out: _set_descriptor(out, annotations={"org.opencontainers.image.ref.name": "9"}),
    "an index without tags": lambda out: _set_descriptor(out, annotations=None),
    "an index of no manifests": lambda out: _set_index(out, manifests=[]),
    "an index without manifests": lambda out: _set_index(out, manifests=None),
    "an index of texts": lambda out: _set_index(out, manifests=["x"]),
    "an index of another schema": lambda out: _set_index(out, schemaVersion=3),
    "two cores": lambda out: _extra_manifest(out, "application/vnd.edgegen.bundle.v1+json"),
    "an artifact of an unknown type": lambda out: _extra_manifest(out, "application/vnd.evil"),
    "a blob that nothing names": lambda out: _extra_file(out, f"blobs/sha256/{'1' * 64}"),
    "a file in the root": lambda out: _extra_file(out, "README"),
    "a folder in the root": lambda out: _extra_file(out, "tmp/x"),
    "blobs of another hash": lambda out: _extra_file(out, f"blobs/sha512/{'1' * 128}"),
    "blobs that are a link": _linked_blobs,
    "files that are a link": _linked_files,
    "a file too many beside": lambda out: (out / "files" / "extra").write_bytes(b""),
    "a layout of another version": lambda out: (out / "bundle/oci-layout").write_bytes(b'{"imageLayoutVersion":"2.0.0"}'),
    "an index that is no JSON": lambda out: (out / "bundle/index.json").write_bytes(b"{"),
    "an index that is a list": lambda out: (out / "bundle/index.json").write_bytes(b"[]"),
    "an index that is not UTF-8": lambda out: (out / "bundle/index.json").write_bytes(b'{"a":"\xff"}'),
    "an index of 5 MiB": lambda out: (out / "bundle/index.json").write_bytes(b" " * (5 << 20)),
    "a deep index": lambda out: (out / "bundle/index.json").write_bytes(DEEP),
    "a manifest of another version": lambda out: Layout(out).edit("manifest.json", schema_version=2),
    "a manifest with an unknown key": lambda out: Layout(out).edit("manifest.json", surprise=1),
    "a manifest without files": lambda out: Layout(out).edit("manifest.json", files=[]),
    "a manifest of another format": lambda out: Layout(out).edit("manifest.json", format="litert"),
    "a manifest of another candidate": lambda out: Layout(out).edit("manifest.json", candidate="float32@onnx"),
    "a manifest of other tensors": lambda out: Layout(out).edit("manifest.json", inputs=[]),
    "a manifest that is a list": lambda out: _raw(out, "manifest.json", b"[]"),
    "a manifest that is cut": lambda out: _raw(out, "manifest.json", b'{"schema_version":1'),
    "a verdict that is NaN": lambda out: _raw(out, "verdicts.json", b'{"schema_version":1,"verdicts":[NaN]}'),
    "a verdict that is infinite": lambda out: _raw(out, "verdicts.json", b'{"schema_version":1,"verdicts":[1e999]}'),
    "a key twice": lambda out: _raw(out, "verdicts.json", b'{"schema_version":2,"schema_version":1}'),
    "a deep contract": lambda out: _raw(out, "preprocessing.json", DEEP),
    "verdicts of another version": lambda out: Layout(out).edit("verdicts.json", schema_version=True),
    "a bill of another kind": lambda out: Layout(out).edit("sbom.cdx.json", bomFormat="SPDX"),
    "a golden record about other vectors": lambda out: Layout(out).edit("golden.json", sha256="0" * 64),
    "a golden record without tolerances": lambda out: Layout(out).edit("golden.json", tolerances={}),
    "a golden record of other samples": lambda out: Layout(out).edit("golden.json", samples=7),
    "golden vectors with NaN": lambda out: _golden(out, **{"output/image": np.full((8, 1, 3, 3), np.nan, np.float32)}),
    "golden vectors of another shape": lambda out: _golden(out, **{"output/image": np.zeros((8, 1, 3, 4), np.float32)}),
    "golden vectors of another type": lambda out: _golden(out, **{"input/z": np.zeros((8, 4), np.float64)}),
    "golden vectors without an input": lambda out: _golden(out, **{"input/z": None}),
    "golden vectors of too many tensors": lambda out: _golden(out, **{"output/more": np.zeros(8)}),
    "golden vectors of no samples": lambda out: _golden(
        out, **{"input/z": np.zeros((0, 4), np.float32), "output/image": np.zeros((0, 1, 3, 3), np.float32)}
    ),
    "golden vectors with a pickle": lambda out: _golden(out, **{"input/z": np.array([print], dtype=object)}),
    "golden vectors that are no zip": lambda out: Layout(out).replace_golden(b"not a zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_in_one_paragraph(out, name):
    HOSTILE[name](out)
    started = time.monotonic()
    with pytest.raises(IntegrityError) as caught:
        verify(out / "bundle")
    assert time.monotonic() - started < 5
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


@pytest.mark.parametrize(
    "text", [b"", b"null", b"1", b'{"a":1', b"{'a':1}", b"\xff", b'{"a":Infinity}', b'{"a":' + b"9" * 6000 + b"}", b"[" * 99]
)  # fmt: skip
def test_strict_json_refuses(text):
    with pytest.raises(IntegrityError):
        strict_json(text, "x")


@pytest.mark.parametrize("text", [b"a", b"\\n", b'\\"', b"\\\\"], ids=["letters", "lines", "quotes", "backslashes"])
def test_strict_json_takes_no_more_memory_than_some_copies(text):
    tracemalloc.start()
    try:
        strict_json(b'{"a":"' + text * (1 << 19) + b'"}', "x")
        assert tracemalloc.get_traced_memory()[1] < 8 * (len(text) << 19)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("before", [b'"\\\\"', b'"\\\\\\""', b'"\\n"', b'""'])
def test_strict_json_counts_brackets_behind_texts(before):
    assert strict_json(b'{"a":[' + before + b",[1]]}", "x")["a"][1] == [1]
    with pytest.raises(IntegrityError, match="nested too deeply"):
        strict_json(b'{"a":[' + before + b"," + b"[" * 64 + b"]" * 64 + b"]}", "x")


def test_strict_json_counts_no_brackets_in_texts():
    assert strict_json(b'{"a":"' + b"[" * 500 + b'\\""}', "x") == {"a": "[" * 500 + '"'}


def test_a_header_that_asks_for_more_than_there_is_takes_no_memory(tmp_path):
    whole = npz({"input/z": np.zeros((8, 4), np.float32)})
    assert whole.count(b"(8, 4)") == 1
    (tmp_path / "g.npz").write_bytes(whole.replace(b"(8, 4), }      ", b"(8, 99999999)}"[:14] + b" "))
    with pytest.raises(IntegrityError):
        read_golden(tmp_path / "g.npz")


def test_golden_vectors_are_bounded(tmp_path):
    (tmp_path / "g.npz").write_bytes(npz(arrays()))
    assert set(read_golden(tmp_path / "g.npz")) == set(arrays())
    with pytest.raises(IntegrityError, match="too large"):
        read_golden(tmp_path / "g.npz", limit_bytes=100)


@pytest.mark.parametrize("name", ["z", "../z", "input\\z", "/input/z"])
def test_golden_members_have_no_other_names(tmp_path, name):
    (tmp_path / "g.npz").write_bytes(npz({name: np.zeros(3)}))
    with pytest.raises(IntegrityError, match="other members"):
        read_golden(tmp_path / "g.npz")
