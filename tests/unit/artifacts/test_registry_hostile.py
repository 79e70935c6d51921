"""Everything that a hostile registry may serve: refused, and nothing stands under a final name."""

from __future__ import annotations

import json
import time

import pytest
from pushed_bundle import bundle, pull_from, push_to
from served_bundle import LARGE, MANIFEST_TYPE, TITLE, address, assert_nothing_under_a_final_name, forge, layers

from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, ToolMissingError
from support.fake_registry import INDEX_TYPE, digest_of

pytestmark = pytest.mark.usefixtures("quick")


def test_swapped_tag_is_refused_where_a_digest_was_asked(server, pushed, tmp_path):
    other = bundle(tmp_path / "n", model=b"other")
    push_to(address(server, ":2"), tmp_path / "n")
    server.manifests[f"fw/kws@{pushed}"] = server.manifests[f"fw/kws@{other}"]
    with pytest.raises(IntegrityError, match="not what its digest says"):
        pull_from(address(server, f":2@{pushed}"), tmp_path / "out")


def test_a_web_page_in_the_place_of_a_registry_is_told_as_one(server, pushed, tmp_path):
    server.before = lambda handler: handler.answer(200, b"\n<!doctype html><title>Log in</title>") or True
    with pytest.raises(ToolMissingError, match="web page"):
        pull_from(address(server), tmp_path / "out")
    with pytest.raises(ToolMissingError, match="web page"):
        push_to(address(server, ":2"), tmp_path / "b")
    assert_nothing_under_a_final_name(tmp_path / "out")


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
