"""The store: atomic, content-addressed, shared between processes, an OCI image layout that others can read."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from edgegen.core import store as store_module
from edgegen.core.digests import sha256_bytes
from edgegen.core.errors import BuildError, IntegrityError
from edgegen.core.store import Store


def _manifest(store: Store, text: bytes, tag: str) -> dict:
    descriptor = store.add_manifest(
        artifact_type="application/vnd.edgegen.test", layers={"file": (store.add_bytes(text), "text/plain")}
    )
    store.tag(descriptor, tag)
    return descriptor


def test_store_is_an_oci_layout(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    descriptor = _manifest(store, b"hello", "one")
    assert json.loads((tmp_path / "s/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "s/index.json").read_text())
    assert index["schemaVersion"] == 2
    assert index["manifests"][0]["digest"] == descriptor["digest"]
    manifest = json.loads((tmp_path / "s/blobs/sha256" / descriptor["digest"][7:]).read_text())
    assert manifest["layers"][0]["digest"] == f"sha256:{sha256_bytes(b'hello')}"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"


def test_store_gives_equal_manifests_for_equal_content(tmp_path: Path) -> None:
    assert _manifest(Store(tmp_path / "a"), b"x", "t") == _manifest(Store(tmp_path / "b"), b"x", "t")


def test_store_add_file_equals_add_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    (tmp_path / "f").write_bytes(b"content" * 300_000)
    assert store.add_file(tmp_path / "f") == store.add_bytes(b"content" * 300_000)
    assert list(store.scratch.iterdir()) == []


def test_store_tag_replaces_the_earlier_meaning(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    _manifest(store, b"old", "name")
    new = _manifest(store, b"new", "name")
    assert len(store.manifests()) == 1
    assert store.find("name") == store.manifest(new["digest"])
    assert store.find("other") is None


def test_store_read_refuses_a_flipped_byte(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    blob = store.add_bytes(b"payload")
    blob.path.write_bytes(b"paYload")
    with pytest.raises(IntegrityError, match="not what its digest says"):
        store.read(blob)


def test_store_layers_are_none_when_a_blob_is_lost_short_or_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    _manifest(store, b"payload", "t")
    manifest = store.find("t")
    assert manifest is not None
    path = store.layers(manifest)["file"].path
    for damaged in (b"pay", b"pAyload"):
        path.write_bytes(damaged)
        assert store.layers(manifest) is None
    path.unlink()
    assert store.layers(manifest) is None


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "A" * 64, "../../etc/passwd", "a" * 63, "sha512:" + "a" * 64]
)
def test_store_refuses_what_is_not_a_digest(tmp_path: Path, digest: str) -> None:
    with pytest.raises(IntegrityError, match="not a sha256 digest"):
        Store(tmp_path / "s").blob(digest)


def test_store_refuses_an_index_that_is_not_json(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    (tmp_path / "s/index.json").write_text("{")
    with pytest.raises(IntegrityError, match="index"):
        store.manifests()


def test_store_says_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "s")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(BuildError, match="disk is full"):
        store.add_bytes(b"x")
    assert list(store.scratch.iterdir()) == []


def test_store_prune_forgets_the_least_recently_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    for index, tag in enumerate(("old", "middle", "new")):
        descriptor = _manifest(store, bytes([index]) * 10_000, tag)
        os.utime(tmp_path / "s/blobs/sha256" / descriptor["digest"][7:], (index, index))
    freed = store.prune(21_500)
    assert freed > 10_000
    names = {item["annotations"]["org.opencontainers.image.ref.name"] for item in store.manifests()}
    assert names == {"middle", "new"}
    assert store.usage().bytes <= 21_500
    assert store.prune(0) > 0
    assert store.usage().blobs == 0


def test_store_forgets_corrupt_blobs(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.add_bytes(b"good")
    store.add_bytes(b"bad").path.write_bytes(b"worse")
    assert store.forget_corrupt() == 1
    assert store.usage().blobs == 1


def _tag_many(root: str, prefix: str) -> None:
    store = Store(Path(root))
    for index in range(25):
        _manifest(store, f"{prefix}{index % 5}".encode(), f"{prefix}{index}")


def test_store_serves_several_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_tag_many, args=(str(tmp_path / "s"), prefix)) for prefix in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(Store(tmp_path / "s").manifests()) == 75
