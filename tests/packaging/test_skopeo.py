"""A bundle is an OCI layout for others too: skopeo reads it and copies it byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.projects import edgegen, write_project


@pytest.fixture(scope="module")
def skopeo() -> str:
    path = shutil.which("skopeo")
    if path is None:
        message = "skopeo is missing: apt-get install skopeo"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


def test_bundle_is_copied_by_skopeo_without_a_change(skopeo: str, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    built = edgegen("build", "--target", "null", "--json", cache=tmp_path / "cache", cwd=folder)
    assert built.code == 0, built.err
    layout = folder / "build" / "null" / "bundle"
    digest = built.document["chosen"]["bundle_digest"]
    command = [skopeo, "--insecure-policy", "copy", "-q", f"oci:{layout}:0.1.0", f"oci:{tmp_path / 'copy'}:0.1.0"]
    subprocess.run(command, check=True, timeout=60)
    index = json.loads((tmp_path / "copy" / "index.json").read_text())
    assert [item["digest"] for item in index["manifests"]] == [digest]
    for blob in (tmp_path / "copy" / "blobs" / "sha256").iterdir():
        assert blob.read_bytes() == (layout / "blobs" / "sha256" / blob.name).read_bytes()
