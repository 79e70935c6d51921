"""Pulls: what is fetched, what survives a cut, and everything that a hostile place may serve."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pushed_bundle import ACCESS, QUICK, bundle, pull_from, push_to

from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.transfer_places import Access
from edgegen.artifacts.verify import verify
from edgegen.core.digests import canonical_json
from edgegen.core.errors import EdgegenError, IntegrityError, StorageError, ToolMissingError, UsageError
from edgegen.core.store import unwritable
from support.fake_registry import INDEX_TYPE, FakeRegistry, digest_of, fake_registry

LARGE = bytes(range(251)) * 20_000  # 5 MB
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"


@pytest.fixture
def server():
    with fake_registry() as found:
        yield found


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a busy disk makes hundreds of small bundles slow


@pytest.fixture
def pushed(server: FakeRegistry, tmp_path: Path) -> str:
    """The digest of a bundle that the server has under ``fw/kws:1``."""
    digest = bundle(tmp_path / "b", model=LARGE)
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    return digest


def address(server: FakeRegistry, rest: str = ":1") -> str:
    return f"{server.host}/fw/kws{rest}"


def forge(server: FakeRegistry, digest: str, **changes: Any) -> str:
    """Puts another core under the tag, every digest right; its evidence and training stay behind."""
    table = json.loads(server.manifests[f"fw/kws@{digest}"][1])
    data = canonical_json({**table, **changes})
    server.put("fw/kws", "1", MANIFEST_TYPE, data)
    return digest_of(data)


def layers(server: FakeRegistry, digest: str) -> list[dict[str, Any]]:
    return json.loads(server.manifests[f"fw/kws@{digest}"][1])["layers"]


def assert_nothing_under_a_final_name(out: Path) -> None:
    assert not (out / "bundle").exists()
    assert not (out / "files").exists()


@pytest.mark.parametrize("by", [":1", "@"])
def test_pull_brings_everything_and_leaves_nothing_aside(server, pushed, tmp_path, by):
    pulled = pull_from(address(server, by if by == ":1" else f"@{pushed}"), tmp_path / "out")
    assert pulled.digest == pushed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bundle", "files"}
    for path in (tmp_path / "b" / "bundle").rglob("*"):
        twin = tmp_path / "out" / "bundle" / path.relative_to(tmp_path / "b" / "bundle")
        assert path.is_dir() or twin.read_bytes() == path.read_bytes()
    assert verify(tmp_path / "out" / "bundle").digest == pushed
    assert (tmp_path / "out" / "files" / "model.onnx").read_bytes() == LARGE


def test_pull_again_fetches_nothing_and_a_new_version_what_changed(server, pushed, tmp_path):
    out = tmp_path / "out"
    pull_from(address(server), out)
    server.seen.clear()
    assert pull_from(address(server), out).fetched_bytes == 0
    assert server.calls("GET", "/blobs/") == []
    newer = bundle(tmp_path / "n", model=LARGE, preprocessing={"scale": "other"})
    push_to(address(server, ":2"), tmp_path / "n")
    pulled = pull_from(address(server, ":2"), out)
    assert pulled.digest == newer
    assert pulled.fetched_bytes < 10_000 < pulled.kept_bytes
    assert {path.name for path in out.iterdir()} == {"bundle", "files"}


def test_pull_refuses_a_bundle_for_another_device_before_it_fetches_the_model(server, pushed, tmp_path):
    assert pull_from(address(server), tmp_path / "out", target="raspberrypi4").digest == pushed
    server.seen.clear()
    with pytest.raises(IntegrityError, match="another device"):
        pull_from(address(server), tmp_path / "other", target="raspberrypi5")
    assert not server.calls("GET", digest_of(LARGE))
    assert_nothing_under_a_final_name(tmp_path / "other")


def test_pull_chooses_among_targets(server, tmp_path):
    bundle(tmp_path / "b4")
    five = bundle(tmp_path / "b5", target="raspberrypi5")
    push_to(address(server), tmp_path / "b4", tmp_path / "b5")
    assert pull_from(address(server), tmp_path / "out", target="raspberrypi5").digest == five
    with pytest.raises(UsageError, match="raspberrypi4, raspberrypi5"):
        pull_from(address(server), tmp_path / "none")
    with pytest.raises(ToolMissingError, match="no bundle for the target"):
        pull_from(address(server), tmp_path / "none", target="nrf52840")


def test_index_that_calls_another_device_ours_is_found_out(server, tmp_path):
    digest = bundle(tmp_path / "b4")
    push_to(address(server, ":0"), tmp_path / "b4")
    size = len(server.manifests[f"fw/kws@{digest}"][1])
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": size, "annotations": {"dev.edgegen.target": "m0"}}
    server.put(
        "fw/kws", "1", INDEX_TYPE, canonical_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]})
    )
    with pytest.raises(IntegrityError, match="another device"):
        pull_from(address(server), tmp_path / "out", target="m0")


# -- cuts --------------------------------------------------------------------------------------------------------------


def cut_blob(server: FakeRegistry, after: int, times: int) -> list[str]:
    """Answers for the model end after so many bytes, ``times`` times; returns the ranges that were asked for."""
    asked: list[str] = []

    def cutting(handler):
        if digest_of(LARGE)[7:] not in handler.path or handler.command != "GET":
            return False
        asked.append(handler.headers.get("Range", ""))
        if len(asked) > times:
            return False
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(LARGE) - 1}/{len(LARGE)}")
        handler.send_header("Content-Length", str(len(LARGE) - start))
        handler.end_headers()
        handler.wfile.write(LARGE[start : start + after])
        handler.cut()
        return True

    server.before = cutting
    return asked


def test_cut_download_goes_on_where_it_was_cut(server, pushed, tmp_path):
    asked = cut_blob(server, 1_500_000, 2)
    pulled = pull_from(address(server), tmp_path / "out")
    assert asked == ["", "bytes=1500000-", "bytes=3000000-"]
    assert pulled.digest == pushed
    assert pulled.fetched_bytes == sum(len(item) for item in server.blobs.values())


def test_another_run_goes_on_where_a_killed_one_was(server, pushed, tmp_path):
    impatient = Access(trust=Trust(plain_http=True), patience=replace(QUICK, attempts=1))
    cut_blob(server, 2_000_000, 1)
    with pytest.raises(ToolMissingError, match="repeat the command"):
        pull_from(address(server), tmp_path / "out", access=impatient)
    assert_nothing_under_a_final_name(tmp_path / "out")
    asked = cut_blob(server, 0, 0)
    assert pull_from(address(server), tmp_path / "out").digest == pushed
    assert asked == ["bytes=2000000-"]


@pytest.mark.parametrize(
    "left",
    [LARGE[:1000] + b"X" + LARGE[1001:9000], b"Y" * len(LARGE), LARGE + b"more", LARGE],
    ids=["damaged", "other", "longer", "whole"],
)
def test_what_an_earlier_run_left_is_not_trusted(server, pushed, tmp_path, left):
    aside = tmp_path / "out" / ".edgegen-pull" / "bundle" / "blobs" / "sha256"
    aside.mkdir(parents=True)
    (aside / f"{digest_of(LARGE)[7:]}.part").write_bytes(left)
    (aside / digest_of(b"{}")[7:]).write_bytes(b"[]")
    (aside / ("ab" * 32)).write_bytes(b"a stranger")
    assert pull_from(address(server), tmp_path / "out").digest == pushed


def test_place_that_cannot_begin_in_the_middle_sends_the_whole(server, pushed, tmp_path):
    aside = tmp_path / "out" / ".edgegen-pull" / "bundle" / "blobs" / "sha256"
    aside.mkdir(parents=True)
    (aside / f"{digest_of(LARGE)[7:]}.part").write_bytes(LARGE[:1000])
    server.ranges = False
    assert pull_from(address(server), tmp_path / "out").digest == pushed


def test_full_disk_keeps_what_arrived_and_puts_nothing_in_its_place(server, pushed, tmp_path, monkeypatch):
    from edgegen.artifacts import transfer_staging

    def full(self: Any, view: memoryview) -> None:
        raise unwritable(self.path, OSError(28, "No space left on device"))

    monkeypatch.setattr(transfer_staging.Part, "_write", full)
    with pytest.raises(StorageError, match="disk is full"):
        pull_from(address(server), tmp_path / "out")
    assert_nothing_under_a_final_name(tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    assert pull_from(address(server), tmp_path / "out").digest == pushed


def test_disk_without_room_is_told_before_anything_is_fetched(server, pushed, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 20 << 20))
    with pytest.raises(StorageError, match="not enough room"):
        pull_from(address(server), tmp_path / "out")
    assert server.calls("GET", "/blobs/") == []


# -- hostile places ----------------------------------------------------------------------------------------------------


def test_any_flipped_byte_is_refused_or_gives_the_same_digest(server, tmp_path):
    digest = bundle(tmp_path / "b")
    push_to(address(server), tmp_path / "b")
    for name, (media, whole) in list(server.manifests.items()):
        for place in (len(whole) // 3, len(whole) - 2):
            # As a damaged store serves it: the digest that the registry tells is the one that it has on record.
            server.before = _damaged(name, media, flipped(whole, place), digest_of(whole))
            assert outcome(address(server), tmp_path / "out") in (digest, 4, 5), (name, place)
    server.before = lambda handler: False
    for name, whole in list(server.blobs.items()):
        server.blobs[name] = flipped(whole, len(whole) // 2)
        assert outcome(address(server), tmp_path / "out") == 5
        server.blobs[name] = whole
    assert outcome(address(server), tmp_path / "out") == digest


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


def outcome(text: str, out: Path) -> str | int:
    """The digest of what was pulled, or the exit code; nothing stays behind."""
    try:
        return pull_from(text, out).digest
    except EdgegenError as error:
        assert_nothing_under_a_final_name(out)
        return int(error.exit_code)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _damaged(name: str, media: str, data: bytes, told: str):
    path = "/v2/fw/kws/manifests/" + name.removeprefix("fw/kws").lstrip(":@")

    def answer(handler):
        if handler.path != path:
            return False
        handler.answer(200, data, Content_Type=media, Docker_Content_Digest=told)
        return True

    return answer


def test_swapped_tag_is_refused_where_a_digest_was_asked(server, pushed, tmp_path):
    other = bundle(tmp_path / "n", model=b"other")
    push_to(address(server, ":2"), tmp_path / "n")
    server.manifests[f"fw/kws@{pushed}"] = server.manifests[f"fw/kws@{other}"]
    with pytest.raises(IntegrityError, match="not what its digest says"):
        pull_from(address(server, f":2@{pushed}"), tmp_path / "out")


def test_missing_layer_is_refused(server, pushed, tmp_path):
    for layer in layers(server, pushed):
        whole = server.blobs.pop(layer["digest"])
        with pytest.raises(IntegrityError, match="missing"):
            pull_from(address(server), tmp_path / layer["digest"][7:])
        server.blobs[layer["digest"]] = whole


def test_missing_manifest_of_evidence_is_refused(server, pushed, tmp_path):
    index = json.loads(server.manifests[f"fw/kws:{pushed.replace(':', '-')}"][1])
    del server.manifests[f"fw/kws@{index['manifests'][0]['digest']}"]
    with pytest.raises(IntegrityError, match="manifest is missing"):
        pull_from(address(server), tmp_path / "out")


@pytest.mark.parametrize("change", [-1, 1, 10**15])
def test_layer_of_another_size_than_declared_is_refused(server, pushed, tmp_path, change):
    wrong = layers(server, pushed)
    wrong[0]["size"] += change
    forge(server, pushed, layers=wrong)
    with pytest.raises(IntegrityError, match=r"another size|larger than it may"):
        pull_from(address(server), tmp_path / "out")


@pytest.mark.parametrize("size", [-1, True, 1.5, "1", None, 10**400])
def test_size_that_is_none_is_refused(server, pushed, tmp_path, size):
    wrong = layers(server, pushed)
    wrong[0]["size"] = size
    forge(server, pushed, layers=wrong)
    with pytest.raises(IntegrityError):
        pull_from(address(server), tmp_path / "out")


def test_bundle_larger_than_allowed_is_refused_before_it_is_fetched(server, pushed, tmp_path):
    server.seen.clear()
    with pytest.raises(IntegrityError, match="larger than it may be"):
        pull_from(address(server), tmp_path / "out", max_bytes=1 << 20)
    assert server.calls("GET", "/blobs/") == []


@pytest.mark.parametrize("count", [65, 5000, 100_000])
def test_manifest_of_many_tiny_layers_is_refused(server, pushed, tmp_path, count):
    layer = layers(server, pushed)[0]
    many = [{**layer, "annotations": {TITLE: f"f{number}"}} for number in range(count)]
    forge(server, pushed, layers=many)
    with pytest.raises(IntegrityError, match=r"too many layers|larger than it may|more than it may"):
        pull_from(address(server), tmp_path / "out")


def test_index_of_many_entries_is_refused(server, pushed, tmp_path):
    entry = {"mediaType": MANIFEST_TYPE, "digest": pushed, "size": 10}
    server.put("fw/kws", "1", INDEX_TYPE, canonical_json({"schemaVersion": 2, "manifests": [entry] * 1001}))
    with pytest.raises(IntegrityError, match="too many"):
        pull_from(address(server), tmp_path / "out")


@pytest.mark.parametrize("title", ["../evil", "/etc/evil", "a/b", "..", ".", "", ".hidden", "a\x00b", None, 7])
def test_title_that_leads_out_of_the_folder_is_refused(server, pushed, tmp_path, title):
    wrong = layers(server, pushed)
    wrong[0]["annotations"] = {TITLE: title}
    forge(server, pushed, layers=wrong)
    with pytest.raises(IntegrityError):
        pull_from(address(server), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../evil", "sha256:" + "AB" * 32, "md5:00", "", None, 5, "sha256:" + "ab" * 31, "sha512:" + "ab" * 64]
)  # fmt: skip
def test_digest_that_is_none_is_refused(server, pushed, tmp_path, digest):
    wrong = layers(server, pushed)
    wrong[0]["digest"] = digest
    forge(server, pushed, layers=wrong)
    with pytest.raises(IntegrityError, match="not usable"):
        pull_from(address(server), tmp_path / "out")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"{}", b'{"a":1,"a":2}', b"[" * 100_000, b'{"manifests":[1]}', b'{"schemaVersion":NaN}', b"\xff"]
)  # fmt: skip
def test_manifest_that_is_none_is_refused(server, pushed, tmp_path, data):
    server.put("fw/kws", "1", MANIFEST_TYPE, data)
    with pytest.raises(IntegrityError):
        pull_from(address(server), tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [{"artifactType": "application/vnd.other"}, {"artifactType": None}, {"mediaType": "x"}, {"layers": None},
     {"layers": [1]}, {"config": None}, {"subject": 5}, {"subject": {"digest": "x"}}, {"schemaVersion": 1}],
)  # fmt: skip
def test_manifest_that_is_no_bundle_is_refused(server, pushed, tmp_path, changes):
    forge(server, pushed, **changes)
    with pytest.raises(IntegrityError):
        pull_from(address(server), tmp_path / "out")


def test_consistent_artifact_that_is_no_bundle_leaves_nothing(server, pushed, tmp_path):
    forge(server, pushed, layers=layers(server, pushed)[:-1])
    for _ in range(2):
        with pytest.raises(IntegrityError, match="does not consist of its files"):
            pull_from(address(server), tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


def test_evidence_about_another_core_is_refused(server, pushed, tmp_path):
    tag = f"fw/kws:{pushed.replace(':', '-')}"
    other = bundle(tmp_path / "n", model=b"other")
    push_to(address(server, ":2"), tmp_path / "n")
    server.manifests[tag] = server.manifests[f"fw/kws:{other.replace(':', '-')}"]
    with pytest.raises(IntegrityError, match="not about the core"):
        pull_from(address(server), tmp_path / "out")


def test_artifacts_of_other_kinds_about_the_core_are_left_there(server, pushed, tmp_path):
    tag = pushed.replace(":", "-")
    index = json.loads(server.manifests[f"fw/kws:{tag}"][1])
    index["manifests"].append(
        {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{'11' * 32}", "size": 9, "artifactType": "a/b"}
    )
    server.put("fw/kws", tag, INDEX_TYPE, canonical_json(index))
    assert pull_from(address(server), tmp_path / "out").digest == pushed


def test_more_bytes_than_declared_are_refused(server, pushed, tmp_path):
    def endless(handler):
        if digest_of(LARGE) not in handler.path:
            return False
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                handler.wfile.write(LARGE)
        except OSError:
            return True

    server.before = endless
    with pytest.raises(IntegrityError, match=r"more than it may|without an end"):
        pull_from(address(server), tmp_path / "out")


def test_file_that_drips_ends_the_pull(server, pushed, tmp_path):
    def drip(handler):
        if digest_of(LARGE) not in handler.path:
            return False
        handler.close_connection = True
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(LARGE)}\r\n\r\n".encode())
        try:
            for place in range(200):
                handler.wfile.write(LARGE[place : place + 1])
                time.sleep(0.02)
        except OSError:
            pass
        return True

    server.before = drip
    started = time.monotonic()
    with pytest.raises(ToolMissingError, match="too slow"):
        pull_from(address(server), tmp_path / "out")
    assert time.monotonic() - started < 3
    assert_nothing_under_a_final_name(tmp_path / "out")


@pytest.mark.parametrize("what", ["bundle", "files", ".edgegen-pull"])
def test_link_in_a_folders_place_is_refused(server, pushed, tmp_path, what):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / what).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="no link"):
        pull_from(address(server), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
@pytest.mark.parametrize("suffix", ["", ".part"])
def test_link_in_a_files_place_is_refused(server, pushed, tmp_path, kind, suffix):
    aside = tmp_path / "out" / ".edgegen-pull" / "bundle" / "blobs" / "sha256"
    aside.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"precious")
    name = aside / (digest_of(LARGE)[7:] + suffix)
    {"link": lambda: name.symlink_to(tmp_path / "victim"), "folder": name.mkdir, "pipe": lambda: os.mkfifo(name)}[
        kind
    ]()
    with pytest.raises(IntegrityError, match="something else stands"):
        pull_from(address(server), tmp_path / "out")
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("what", ["files", "bundle"])
def test_folder_that_no_pull_wrote_is_not_replaced(server, pushed, tmp_path, what):
    (tmp_path / "out" / what).mkdir(parents=True)
    (tmp_path / "out" / what / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="no pull has written"):
        pull_from(address(server), tmp_path / "out")
    assert (tmp_path / "out" / what / "thesis.txt").read_text() == "mine"


def test_tag_that_is_not_there_is_told_with_those_that_are(server, pushed, tmp_path):
    with pytest.raises(ToolMissingError, match="one of 1"):
        pull_from(address(server, ":nope"), tmp_path / "out")


# -- folders and web servers -------------------------------------------------------------------------------------------


def serve(server: FakeRegistry, folder: Path) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            server.files[f"/m/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return f"http://{server.host}/m"


@pytest.mark.parametrize("ranges", [True, False])
def test_pull_from_a_web_server_is_a_pull(server, tmp_path, ranges):
    digest = bundle(tmp_path / "b", model=LARGE)
    place = serve(server, tmp_path / "b" / "bundle")
    impatient = Access(trust=Trust(plain_http=True), patience=replace(QUICK, attempts=1))
    asked = cut_blob(server, 2_000_000, 1)
    with pytest.raises(ToolMissingError):
        pull_from(place, tmp_path / "out", access=impatient)
    server.ranges = ranges
    assert pull_from(f"{place}:0.1.0", tmp_path / "out").digest == digest
    assert asked == ["", "bytes=2000000-"]
    assert pull_from(f"{place}@{digest}", tmp_path / "out").digest == digest
    with pytest.raises(ToolMissingError, match="no such artifact"):
        pull_from(f"{place}:9", tmp_path / "out")


def test_web_server_without_tls_is_not_asked(tmp_path):
    with pytest.raises(UsageError, match="without TLS"):
        pull_from("http://models.example.com/kws:1", tmp_path / "out", access=Access(patience=QUICK))


def test_any_flipped_byte_in_a_folder_or_on_a_web_server_is_refused_or_gives_the_same_digest(server, tmp_path):
    digest = bundle(tmp_path / "b")
    place = serve(server, tmp_path / "b" / "bundle")
    for name, whole in list(server.files.items()):
        for at in (len(whole) // 3, len(whole) - 1):
            server.files[name] = flipped(whole, at)
            path = tmp_path / "b" / "bundle" / name.removeprefix("/m/")
            path.write_bytes(server.files[name])
            for text in (f"{place}:0.1.0", f"oci:{tmp_path}/b/bundle:0.1.0"):
                assert outcome(text, tmp_path / "out") in (digest, 4, 5), (name, at)
            path.write_bytes(whole)
        server.files[name] = whole


@pytest.mark.parametrize("what", ["blobs", "index.json", "oci-layout"])
def test_link_inside_a_folder_is_not_followed(tmp_path, what):
    bundle(tmp_path / "b")
    inside = tmp_path / "b" / "bundle" / what
    inside.rename(tmp_path / "moved")
    inside.symlink_to(tmp_path / "moved")
    with pytest.raises(IntegrityError, match="link"):
        pull_from(f"oci:{tmp_path}/b/bundle:0.1.0", tmp_path / "out")


def test_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        pull_from(f"oci:{tmp_path}/nowhere:1", tmp_path / "out")
    with pytest.raises(UsageError, match="no OCI layout"):
        pull_from(str(tmp_path), tmp_path / "out", access=ACCESS)
