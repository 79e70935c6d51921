"""How places and artifacts are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.artifacts.registry_reference import is_loopback, parse_reference, tag_of_version
from edgegen.core.errors import UsageError

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "place", "name", "tag", "digest"),
    [
        ("reg.example.com/fw/kws:1.0.0", "reg.example.com", "fw/kws", "1.0.0", None),
        ("localhost/kws", "localhost", "kws", None, None),
        ("127.0.0.1:5000/a/b_c/d--e:x", "127.0.0.1:5000", "a/b_c/d--e", "x", None),
        ("[::1]:5000/kws", "[::1]:5000", "kws", None, None),
        (f"reg.example.com/kws@sha256:{HEX}", "reg.example.com", "kws", None, f"sha256:{HEX}"),
        (f"reg.example.com/kws:1@sha256:{HEX}", "reg.example.com", "kws", "1", f"sha256:{HEX}"),
    ],
)
def test_reference_names_a_registry(text, place, name, tag, digest):
    found = parse_reference(text)
    assert (found.kind, found.place, found.name, found.tag, found.digest) == ("registry", place, name, tag, digest)
    assert found.wanted == (digest or tag or "latest")
    assert found.text() == text


@pytest.mark.parametrize(
    "text",
    [
        "", "kws", "kws:1.0", "fw/kws:1.0", "reg.example.com/", "reg.example.com/KWS", "reg.example.com/a//b",
        "reg.example.com/../etc", "reg.example.com/kws:", "reg.example.com/kws:a b", "reg.example.com/kws@sha256:ab",
        f"reg.example.com/kws@sha256:{HEX.upper()}", "reg.example.com/kws@md5:00", "reg.example.com:99999/kws",
        "user@reg.example.com/kws", "reg.example.com/kws\n", f"reg.example.com/{'a' * 256}", "https://",
        "oci:", "oci:a\tb", "https://a b/x", "https://user:pw@host/x", "https://host/x?y=1", "ftp://host/x",
    ],
)  # fmt: skip
def test_reference_that_names_nothing_is_refused(text):
    with pytest.raises(UsageError):
        parse_reference(text)


def test_reference_names_a_folder_or_the_bundle_inside_it(tmp_path: Path):
    (tmp_path / "build" / "bundle").mkdir(parents=True)
    assert parse_reference(str(tmp_path / "build")).place == str(tmp_path / "build" / "bundle")
    assert parse_reference(str(tmp_path / "build")).short_name == "build"
    assert parse_reference("oci:/").short_name == "pulled"
    assert parse_reference(f"oci:{tmp_path}/store:1.0").tag == "1.0"
    assert parse_reference(f"oci:{tmp_path}/store:1.0").place == f"{tmp_path}/store"
    assert parse_reference(f"{tmp_path}/nowhere@sha256:{HEX}").digest == f"sha256:{HEX}"


def test_reference_names_a_folder_with_a_space_in_its_name(tmp_path: Path):
    (tmp_path / "für uns").mkdir()
    for text in (f"{tmp_path}/für uns", f"oci:{tmp_path}/für uns:1.0", f"{tmp_path}/für uns:1.0"):
        assert parse_reference(text).place == f"{tmp_path}/für uns"
    assert parse_reference(f"oci:{tmp_path}/noch nicht:1.0").text() == f"oci:{tmp_path}/noch nicht:1.0"


def test_reference_names_a_web_server():
    found = parse_reference("https://models.example.com:8443/a/kws:1.0")
    assert (found.kind, found.place, found.tag) == ("web", "https://models.example.com:8443/a/kws", "1.0")
    assert parse_reference("https://models.example.com/").place == "https://models.example.com"
    assert parse_reference("https://models.example.com/a/").place == "https://models.example.com/a"
    assert found.short_name == "kws"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:5000", True), ("127.3.2.1", True), ("[::1]:80", True),
     ("127.0.0.1.example.com", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_loopback_is_told_by_its_name(host, expected):
    assert is_loopback(host) is expected


def test_version_becomes_a_tag():
    assert tag_of_version("1.2.0+build.7") == "1.2.0_build.7"
    with pytest.raises(UsageError):
        tag_of_version("x" * 200)
