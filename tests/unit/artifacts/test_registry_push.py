"""Pushes: what is sent, what is not sent again, what survives a cut, and the list of referrers."""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pushed_bundle import ACCESS, QUICK, bundle, pull_from, push_to

from edgegen.artifacts import registry_upload
from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.registry_reference import parse_reference
from edgegen.artifacts.transfer import Descriptor
from edgegen.artifacts.transfer_places import Access, destination_of, source_of
from edgegen.core.errors import EdgegenError, IntegrityError, StorageError, ToolMissingError, UsageError
from support.fake_registry import digest_of, fake_registry

PLAIN = Trust(plain_http=True)
LARGE = bytes(range(251)) * 50_000  # 12.5 MB: beyond what goes in one request


@pytest.fixture
def server():
    with fake_registry() as found:
        yield found


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a busy disk makes hundreds of small bundles slow
    monkeypatch.setattr(registry_upload, "PART_BYTES", 4 << 20)


def test_push_brings_everything_and_the_tag_last(server, tmp_path):
    digest = bundle(tmp_path / "b")
    pushed = push_to(f"{server.host}/fw/kws", tmp_path / "b")
    assert (pushed.digest, pushed.tag, pushed.cores) == (digest, "0.1.0", (("raspberrypi4", digest),))
    stored = {path.name for path in (tmp_path / "b/bundle/blobs/sha256").iterdir()}
    held = {item.removeprefix("sha256:") for item in server.blobs}
    held |= {key.partition("@sha256:")[2] for key in server.manifests if "@" in key}
    index = digest_of(server.manifests[f"fw/kws:{digest.replace(':', '-')}"][1]).removeprefix("sha256:")
    assert held == stored | {index}
    assert server.calls("PUT")[-1] == "/v2/fw/kws/manifests/0.1.0"


def test_push_again_sends_nothing(server, tmp_path):
    bundle(tmp_path / "b")
    first = push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    server.seen.clear()
    again = push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert (again.sent_bytes, again.present_bytes) == (0, first.sent_bytes)
    assert server.calls("POST") == []


def test_push_mounts_what_another_repository_has(server, tmp_path):
    bundle(tmp_path / "b")
    push_to(f"{server.host}/staging/kws:1", tmp_path / "b")
    server.seen.clear()
    server.before = lambda handler: (
        handler.command == "HEAD" and "/blobs/" in handler.path and (handler.answer(404) or True)
    )
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b", access=replace(ACCESS, mount_from="staging/kws"))
    assert all("mount=sha256" in path and "from=staging%2Fkws" in path for path in server.calls("POST"))
    assert not [path for path in server.calls("PUT") if "uploads" in path]


def test_cut_upload_goes_on_where_it_was_cut(server, tmp_path):
    digest = bundle(tmp_path / "b", model=LARGE)
    server.cut_upload_at = 6 << 20
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest
    (first, whole), (second, part), *_ = patched(server)
    assert (first, whole) == (0, len(LARGE))
    assert second >= 6 << 20  # not from the beginning
    assert part == 4 << 20  # another cut would cost no more
    assert server.blobs[digest_of(LARGE)] == LARGE


def patched(server) -> list[tuple[int, int]]:
    """Start and length of every part that was sent."""
    spans = [headers["content-range"].split("-") for method, _, headers in server.seen if method == "PATCH"]
    return [(int(start), int(last) + 1 - int(start)) for start, last in spans]


def test_large_file_goes_in_one_request_unless_that_is_refused_as_too_large(server, tmp_path):
    digest = bundle(tmp_path / "b", model=LARGE)
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert patched(server) == [(0, len(LARGE))]
    server.blobs.clear()
    server.seen.clear()

    def refuse(handler):
        if handler.command == "PATCH" and int(handler.headers["Content-Length"]) > 5 << 20:
            handler.body()
            handler.answer(413)
            return True
        return False

    server.before = refuse
    assert push_to(f"{server.host}/fw/kws:2", tmp_path / "b").digest == digest
    assert [start for start, _ in patched(server)] == [0, 0, 4 << 20, 8 << 20]
    assert server.blobs[digest_of(LARGE)] == LARGE


def test_another_run_goes_on_with_the_upload_of_a_killed_one(server, tmp_path):
    bundle(tmp_path / "b", model=LARGE)
    impatient = Access(trust=PLAIN, patience=replace(QUICK, attempts=1))
    server.cut_upload_at = 6 << 20
    with pytest.raises(ToolMissingError, match="repeat the command"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b", access=impatient)
    server.seen.clear()
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    starts = [headers["content-range"] for method, _, headers in server.seen if method == "PATCH"]
    assert int(starts[0].partition("-")[0]) >= 6 << 20
    assert not list((tmp_path / "cache" / "uploads").iterdir())


@pytest.mark.parametrize("status", [404, 416])
def test_upload_that_the_registry_lost_begins_anew(server, tmp_path, status):
    digest, lost = bundle(tmp_path / "b", model=LARGE), []

    def lose(handler):
        if handler.command == "PATCH" and not lost and not handler.headers["Content-Range"].startswith("0-"):
            lost.append(handler.path)
            handler.body()
            handler.answer(status)
            return True
        return False

    server.before = lose
    server.cut_upload_at = 2 << 20
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest
    assert lost
    assert server.blobs[digest_of(LARGE)] == LARGE


def test_note_of_an_upload_that_was_damaged_is_worth_nothing(server, tmp_path):
    bundle(tmp_path / "b", model=LARGE)
    folder = tmp_path / "cache" / "uploads"
    sessions = registry_upload.Sessions(folder)
    sessions.keep(f"{server.host}/fw/kws", digest_of(LARGE), "x")
    next(folder.iterdir()).write_bytes(b"{")
    assert sessions.find(f"{server.host}/fw/kws", digest_of(LARGE)) is None
    sessions.keep(f"{server.host}/fw/kws", digest_of(LARGE), f"http://{server.host}/v2/fw/kws/blobs/uploads/99")
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert server.blobs[digest_of(LARGE)] == LARGE


def test_busy_registry_is_asked_again(server, tmp_path):
    digest, busy = bundle(tmp_path / "b"), set()

    def first_time(handler):
        key = (handler.command, handler.path.partition("?")[0])
        if key in busy:
            return False
        busy.add(key)
        handler.body()
        handler.answer(503)
        return True

    server.before = first_time
    patient = Access(trust=PLAIN, patience=replace(QUICK, attempts=6))
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b", access=patient).digest == digest


def test_registry_of_this_machine_may_speak_without_tls(server, tmp_path):
    digest = bundle(tmp_path / "b")
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b", access=Access(patience=QUICK)).digest == digest


def test_registry_that_is_gone_is_told(tmp_path):
    bundle(tmp_path / "b")
    with pytest.raises(ToolMissingError, match="did not answer in 3 attempts"):
        push_to("127.0.0.1:1/fw/kws:1", tmp_path / "b")


@pytest.mark.parametrize("status", [400, 403, 405, 413])
def test_registry_that_refuses_is_told_and_not_asked_again(server, tmp_path, status):
    bundle(tmp_path / "b")
    server.before = lambda handler: handler.command == "POST" and (handler.answer(status, b"no") or True)
    with pytest.raises(ToolMissingError, match=str(status)):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert len(server.calls("POST")) <= 20


def test_folder_that_holds_no_bundle_is_not_pushed(server, tmp_path):
    bundle(tmp_path / "b")
    (tmp_path / "b/bundle/index.json").write_bytes(b'{"schemaVersion":2,"manifests":[]}')
    for out in (tmp_path / "b", tmp_path / "nowhere"):
        with pytest.raises(UsageError):
            push_to(f"{server.host}/fw/kws:1", out)


def test_broken_bundle_is_not_pushed(server, tmp_path):
    bundle(tmp_path / "b")
    blob = max((tmp_path / "b/bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    with pytest.raises(IntegrityError):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert server.calls("PUT") == []


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_large_file_that_is_damaged_is_found_by_the_place_that_takes_it(server, tmp_path, kind):
    bundle(tmp_path / "b", model=LARGE)
    blob = tmp_path / "b/bundle/blobs/sha256" / digest_of(LARGE)[7:]
    blob.write_bytes(b"x" + LARGE[1:])
    with pytest.raises(IntegrityError, match=r"another digest|changed"):
        push_to(f"{server.host}/fw/kws:1" if kind == "registry" else f"oci:{tmp_path}/store:1", tmp_path / "b")
    assert digest_of(LARGE) not in server.blobs
    assert "fw/kws:1" not in server.manifests
    if kind == "folder":
        with source_of(parse_reference(f"oci:{tmp_path}/store"), ACCESS) as source:
            assert source.find("1") is None


def test_file_beside_that_is_not_the_bundles_keeps_the_core_from_the_place(server, tmp_path):
    digest = bundle(tmp_path / "b", model=LARGE)
    (tmp_path / "b/files/model.onnx").write_bytes(b"x" + LARGE[1:])
    with pytest.raises(IntegrityError, match=r"beside the bundle is not the bundle's.*model\.onnx"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert not {"fw/kws:1", f"fw/kws@{digest}"} & set(server.manifests)


def test_file_that_changed_after_it_was_verified_is_found_by_the_registry(server, tmp_path):
    bundle(tmp_path / "b")
    blob = max((tmp_path / "b/bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)

    def change(handler):
        if handler.command == "POST" and not (tmp_path / "changed").exists() and not server.blobs:
            (tmp_path / "changed").write_bytes(b"x" + blob.read_bytes()[1:])
            (tmp_path / "changed").replace(blob)
        return False

    server.before = change
    with pytest.raises(IntegrityError, match="another digest"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert "fw/kws:1" not in server.manifests


def test_file_that_went_away_after_it_was_verified_is_told(server, tmp_path):
    bundle(tmp_path / "b")
    blob = max((tmp_path / "b/bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    server.before = lambda handler: handler.command == "POST" and blob.unlink(missing_ok=True)
    with pytest.raises(IntegrityError, match="went away"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_registry_that_fails_over_a_lost_session_gets_a_new_one(server, tmp_path):
    digest = bundle(tmp_path / "b", model=LARGE)
    address = f"http://{server.host}/v2/fw/kws/blobs/uploads/99"
    registry_upload.Sessions(tmp_path / "cache" / "uploads").keep(f"{server.host}/fw/kws", digest_of(LARGE), address)
    server.before = lambda handler: handler.path.endswith("/99") and (handler.answer(500) or True)
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest


def test_cache_that_cannot_be_written_is_told_as_such(server, tmp_path):
    bundle(tmp_path / "b", model=LARGE)
    (tmp_path / "cache").write_text("a file in the folder's place")
    with pytest.raises(StorageError):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_blob_of_another_size_in_the_registry_is_refused(server, tmp_path):
    bundle(tmp_path / "b")
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    name = max(server.blobs, key=lambda item: len(server.blobs[item]))
    server.blobs[name] += b"more"
    with pytest.raises(IntegrityError, match="other bytes"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


@pytest.mark.parametrize("times", [3, 99])
def test_registry_that_does_not_see_a_blob_for_a_moment_is_asked_again(server, tmp_path, times):
    digest, left = bundle(tmp_path / "b"), [times]

    def blind(handler):
        if handler.command != "PUT" or "/manifests/" not in handler.path or not left[0]:
            return False
        left[0] -= 1
        handler.body()
        handler.answer(400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}')
        return True

    server.before = blind
    if times < 8:
        assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest
    else:
        with pytest.raises(ToolMissingError, match="refuses a manifest"):
            push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_registry_that_stores_another_manifest_is_refused(server, tmp_path):
    bundle(tmp_path / "b")

    def lie(handler):
        if handler.command == "PUT" and "/manifests/" in handler.path:
            handler.body()
            handler.answer(201, Docker_Content_Digest=f"sha256:{'00' * 32}")
            return True
        return False

    server.before = lie
    with pytest.raises(IntegrityError, match="another manifest"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_registry_that_took_a_manifest_and_cannot_give_it_is_told(server, tmp_path):
    bundle(tmp_path / "b")
    server.before = lambda handler: (
        handler.command == "GET" and "/manifests/sha256:" in handler.path and (handler.answer(500) or True)
    )
    with pytest.raises(ToolMissingError, match="failed in 3 attempts") as caught:
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert "storage is damaged" in caught.value.paragraph()
    assert "fw/kws:1" not in server.manifests


def test_tag_that_somebody_else_moved_is_told(server, tmp_path):
    bundle(tmp_path / "b")
    server.before = lambda handler: (
        handler.command == "HEAD"
        and "/manifests/" in handler.path
        and (handler.answer(200, Docker_Content_Digest=f"sha256:{'00' * 32}") or True)
    )
    with pytest.raises(ToolMissingError, match="something else now"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_bundles_of_several_targets_share_a_tag(server, tmp_path):
    four, five = bundle(tmp_path / "b4"), bundle(tmp_path / "b5", target="raspberrypi5")
    pushed = push_to(f"{server.host}/fw/kws:1", tmp_path / "b5", tmp_path / "b4")
    assert pushed.cores == (("raspberrypi5", five), ("raspberrypi4", four))
    listed = json.loads(server.manifests["fw/kws:1"][1])["manifests"]
    assert [(item["annotations"]["dev.edgegen.target"], item["digest"]) for item in listed] == [
        ("raspberrypi4", four),
        ("raspberrypi5", five),
    ]
    with pytest.raises(UsageError, match="two bundles"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b4", tmp_path / "b4")


def test_bundle_joins_those_of_other_targets(server, tmp_path):
    text = f"{server.host}/fw/kws:1"
    bundle(tmp_path / "b4")
    five, newer = bundle(tmp_path / "b5", target="raspberrypi5"), bundle(tmp_path / "n4", model=b"newer")
    push_to(text, tmp_path / "b4", add=True)
    push_to(text, tmp_path / "b5", add=True)
    push_to(text, tmp_path / "n4", add=True)
    for target, digest in (("raspberrypi4", newer), ("raspberrypi5", five)):
        assert pull_from(text, tmp_path / target, target=target).digest == digest
    push_to(text, tmp_path / "b4")
    with pytest.raises(UsageError, match="one bundle"):
        push_to(text, tmp_path / "b5", add=True)


def _entries(place: str, count: int) -> tuple[Descriptor, list[tuple[Descriptor, bytes]]]:
    subject = Descriptor(digest=f"sha256:{'11' * 32}", size_bytes=2, media_type="m")
    made = []
    for number in range(count):
        data = json.dumps({"artifactType": "a", "number": number}).encode()
        made.append((Descriptor(digest=digest_of(data), size_bytes=len(data), media_type="m", artifact_type="a"), data))
    return subject, made


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_list_of_referrers_keeps_what_eight_writers_add_at_once(server, tmp_path, kind):
    place = f"{server.host}/fw/kws" if kind == "registry" else f"oci:{tmp_path}/store"
    reference = parse_reference(place)
    subject, made = _entries(place, 8)
    start, failures = threading.Barrier(8), []

    def write(entry: Descriptor, data: bytes) -> None:
        try:
            with destination_of(
                reference, Access(trust=PLAIN, patience=replace(QUICK, settle_s=(0.02, 0.2)))
            ) as destination:
                start.wait(5)
                destination.put_manifest(entry, data)
                destination.add_referrers(subject, [entry])
        except EdgegenError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=item) for item in made]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert not failures
    if kind == "folder":
        index = json.loads((tmp_path / "store" / "index.json").read_text())
        assert len(index["manifests"]) == 1
        table = json.loads((tmp_path / "store/blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    else:
        table = json.loads(server.manifests[f"fw/kws:{subject.digest.replace(':', '-')}"][1])
    assert {item["digest"] for item in table["manifests"]} == {entry.digest for entry, _ in made}


def test_entry_that_never_stays_ends_in_an_error(server):
    subject, made = _entries("x", 1)
    server.before = lambda handler: handler.command == "PUT" and (handler.body(), handler.answer(201), True)[-1]
    with (
        destination_of(parse_reference(f"{server.host}/fw/kws"), ACCESS) as destination,
        pytest.raises(ToolMissingError, match="does not stay"),
    ):
        destination.add_referrers(subject, [made[0][0]])


def test_registry_that_lists_referrers_gets_no_fallback_tag(server, tmp_path):
    server.lists_referrers = True
    digest = bundle(tmp_path / "b")
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    assert not [key for key in server.manifests if ":sha256-" in key]
    pulled = pull_from(f"{server.host}/fw/kws:1", tmp_path / "out")
    assert pulled.digest == digest
    assert len(json.loads((tmp_path / "out/bundle/index.json").read_text())["manifests"]) == 3


def test_folder_that_holds_something_else_gets_nothing(tmp_path):
    bundle(tmp_path / "b")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        push_to(f"oci:{tmp_path}/home:1", tmp_path / "b")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["https://example.com/models:1", f"reg.example.com/kws@sha256:{'00' * 32}"])
def test_places_that_cannot_be_pushed_to_are_refused(tmp_path, text):
    bundle(tmp_path / "b")
    with pytest.raises(UsageError):
        push_to(text, tmp_path / "b")


def test_pushed_folder_is_pulled_from_like_a_registry(tmp_path):
    four, five = bundle(tmp_path / "b4"), bundle(tmp_path / "b5", target="raspberrypi5")
    push_to(f"oci:{tmp_path}/store:1", tmp_path / "b4", tmp_path / "b5")
    push_to(f"oci:{tmp_path}/store:1", tmp_path / "b4", tmp_path / "b5")
    for target, digest in (("raspberrypi4", four), ("raspberrypi5", five)):
        pulled = pull_from(f"oci:{tmp_path}/store:1", tmp_path / target, target=target)
        assert pulled.digest == digest
        names = {path.name for path in (tmp_path / target / "files").iterdir()}
        assert "model.onnx" in names
    shutil.rmtree(tmp_path / "store" / "tmp")
    with source_of(parse_reference(f"oci:{tmp_path}/store"), ACCESS) as source:
        assert source.find("1") is not None
