"""Names and versions as Debian, Python and devices have them: mapped in their order, or refused with the reason."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from edgegen.artifacts.wrap.naming import (
    dashed,
    debian_name,
    debian_version,
    device_folder,
    module_name,
    plain,
    python_version,
)
from edgegen.core.errors import UsageError
from edgegen_runtime.version_order import version_order
from support.apt_tools import apt_tool

HOSTILE = [
    *(
        "",
        " ",
        ".",
        "..",
        "../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "~root",
        "-rf",
        "%s",
        "{a}",
        "a:b",
        "a,b",
        "a=b",
    ),
    *("a\nb", "a\r\nPre-Depends: x", "a\0b", "a\x1b[2J", "größe", "модель", "a\u202eb", "a\u2028b", "x" * 65, "a#b"),
    *("$(reboot)", "`reboot`", "a;reboot", "a|b", "a&b", "a'b", 'a"b', "a<b", "a>b", "a*b", "a?b", "a=b"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused_by_every_form(text: str) -> None:
    for function in (lambda name: plain(name, "name", "--name"), lambda name: dashed(name, "name", "--name")):
        with pytest.raises(UsageError, match="--name"):
            function(text)
    for function in (debian_name, module_name):
        with pytest.raises(UsageError):
            function(text, "--name")
    if text != "a/b":  # two folders
        with pytest.raises(UsageError):
            device_folder(f"/srv/{text}", "--folder")


@pytest.mark.parametrize("text", [*HOSTILE, "1", "v1.0.0", "1..0", "1.0.0-", "1.0.0+", "1.0.0-a..b", "01.0.0", "one"])
def test_what_is_no_version_is_refused(text: str) -> None:
    for function in (debian_version, python_version):
        if text == "1":
            assert function(text, "--package-version") == "1.0.0"
            continue
        with pytest.raises(UsageError):
            function(text, "--package-version")


@pytest.mark.parametrize(
    ("version", "debian", "python"),
    [
        ("1.2.0", "1.2.0", "1.2.0"),
        ("1.2", "1.2.0", "1.2.0"),
        ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("1.2.0.0", "1.2.0", "1.2.0"),
        ("1.2.0-rc.1", "1.2.0~rc1", "1.2.0rc1"),
        ("1.2.0-alpha", "1.2.0~alpha", "1.2.0a0"),
        ("1.2.0-beta.12", "1.2.0~beta12", "1.2.0b12"),
        ("1.2.0+build.007", "1.2.0", "1.2.0+build.7"),
        ("1.2.0-rc.1+g-12ab", "1.2.0~rc1", "1.2.0rc1+g.12ab"),
        ("1.2.0-7", "1.2.0~7", None),
        ("1.2.0-nightly.3", "1.2.0~nightly3", None),
        ("1.2.0-dev.3", "1.2.0~dev3", None),
        ("1.2.0-rc1", None, None),
        ("1.2.0-rc.1.2", None, None),
        ("1.2.0-alpha-2", None, None),
    ],
)
def test_versions_are_mapped_or_refused(version: str, debian: str | None, python: str | None) -> None:
    for function, wanted in ((debian_version, debian), (python_version, python)):
        if wanted is None:
            with pytest.raises(UsageError, match="--package-version"):
                function(version, "--package-version")
        else:
            assert function(version, "--package-version") == wanted


def versions(words: list[str]) -> st.SearchStrategy[str]:
    number = st.integers(0, 30)
    base = st.lists(number, min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
    word = st.builds(lambda w, n: w if n is None else f"{w}.{n}", st.sampled_from(words), st.none() | number)
    early = st.just("") | word.map(lambda text: f"-{text}")
    return st.builds(lambda b, e: b + e, base, early)


def sign(a: object, b: object) -> int:
    return (a > b) - (a < b)  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(versions(["alpha", "beta", "rc", "alphabet", "RC", "x", "nightly"]), versions(["alpha", "beta", "rc", "r", "Z"]))
def test_dpkg_keeps_the_order(a: str, b: str) -> None:
    dpkg = apt_tool("dpkg", "dpkg")
    order = sign(version_order(a), version_order(b))
    relation = {1: "ge", 0: "eq", -1: "le"}[order]  # rc and rc.0 are one version to dpkg
    command = [dpkg, "--compare-versions", debian_version(a, ""), relation, debian_version(b, "")]
    assert subprocess.run(command, check=False).returncode == 0, command


@settings(max_examples=150, deadline=None)
@given(versions(["alpha", "beta", "rc"]), versions(["alpha", "beta", "rc"]))
def test_pip_keeps_the_order(a: str, b: str) -> None:
    order = sign(version_order(a), version_order(b))
    found = sign(Version(python_version(a, "")), Version(python_version(b, "")))
    assert found in (order, 0)  # rc and rc.0 are one version
    if found == 0:
        assert version_order(a)[0] == version_order(b)[0]


@pytest.mark.parametrize(
    ("text", "debian", "module"),
    [
        ("digits-vae", "digits-vae", "digits_vae"),
        ("Digits_VAE 2", "digits-vae-2", "digits_vae_2"),
        ("kws.v1", "kws.v1", "kws_v1"),
        ("c++", None, "c"),
        ("x", None, "x"),
        ("2fast", "2fast", None),
        ("class", "class", None),
        ("match", "match", None),
        ("json", "json", None),
        ("numpy", "numpy", None),
        ("print", "print", None),
    ],
)
def test_names_are_mapped_or_refused(text: str, debian: str | None, module: str | None) -> None:
    for function, wanted in ((debian_name, debian), (module_name, module)):
        if wanted is None:
            with pytest.raises(UsageError, match="--name"):
                function(text, "--name")
        else:
            assert function(text, "--name") == wanted


@pytest.mark.parametrize("text", ["var/lib", "/", "/a/../b", "/a//b", "/a/", "/a b", "/a\n", "/-a", "/$HOME"])
def test_folders_of_a_device_are_absolute_and_plain(text: str) -> None:
    with pytest.raises(UsageError):
        device_folder(text, "--folder")
    assert str(device_folder("/var/lib/edgegen_1/a.b", "--folder")) == "/var/lib/edgegen_1/a.b"
