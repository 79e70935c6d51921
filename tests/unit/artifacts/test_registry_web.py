"""Folders and static web servers as read-only registries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pushed_bundle import ACCESS, QUICK, bundle, pull_from
from served_bundle import LARGE, cut_blob, serve

from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.transfer_places import Access
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError

pytestmark = pytest.mark.usefixtures("quick")


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
