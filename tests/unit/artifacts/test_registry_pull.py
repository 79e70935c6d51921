"""Pulls: what is fetched, what survives a cut, and what lies where a pull would put something."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

import pytest
from pushed_bundle import QUICK, bundle, pull_from, push_to
from served_bundle import LARGE, MANIFEST_TYPE, address, assert_nothing_under_a_final_name, cut_blob

from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.transfer_places import Access
from edgegen.artifacts.verify import verify
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, StorageError, ToolMissingError, UsageError
from edgegen.core.store import unwritable
from support.fake_registry import INDEX_TYPE, digest_of

pytestmark = pytest.mark.usefixtures("quick")


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


def test_tag_that_is_not_there_is_told_with_those_that_are(server, pushed, tmp_path):
    with pytest.raises(ToolMissingError, match="one of 1"):
        pull_from(address(server, ":nope"), tmp_path / "out")


# -- cuts --------------------------------------------------------------------------------------------------------------


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


# -- what lies in the way ----------------------------------------------------------------------------------------------


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
