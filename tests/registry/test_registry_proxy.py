"""Registries behind a proxy: its password is sent to it and shown nowhere, and TLS goes through it unread."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pushed_bundle import ACCESS, bundle, pull_from, push_to

from edgegen.artifacts.registry_http import Trust
from edgegen.artifacts.registry_proxy import proxy_for
from edgegen.core.errors import ToolMissingError, UsageError
from support.fake_registry import fake_registry
from support.projects import edgegen
from support.proxies import NAME, PASSWORD, Proxy, running_proxy
from support.registries import PASSWORD as REGISTRY_PASSWORD
from support.registries import USER, Server

_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _no_other_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with running_proxy() as found:
        yield found


def test_push_and_pull_go_through_a_proxy_that_only_passes_tls_on(
    locked_up: Server, proxy: Proxy, tmp_path: Path
) -> None:
    digest = bundle(tmp_path / "b", model=bytes(5 << 20))
    host = f"{NAME}:{locked_up.port}"  # a name that this machine cannot resolve
    home = tmp_path / "docker"
    home.mkdir()
    auth = base64.b64encode(f"{USER}:{REGISTRY_PASSWORD}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    more = {"DOCKER_CONFIG": str(home), "HTTPS_PROXY": proxy.address}

    def run(*arguments: str, **other: str) -> tuple[int, str]:
        ca = ("--ca", str(locked_up.ca))
        done = edgegen(*arguments, *ca, "--json", cache=tmp_path / "cache", cwd=tmp_path, **{**more, **other})
        assert PASSWORD not in done.out + done.err
        assert "p%40ss" not in done.out + done.err
        return done.code, done.err + done.out

    code, said = run("push", "b", f"{host}/fw/kws:1")
    assert code == 0, said
    code, said = run("pull", f"{host}/fw/kws:1", "--out", "got")
    assert (code, digest in said) == (0, True), said
    assert proxy.seen
    assert all(line == f"CONNECT {host} HTTP/1.1" for line in proxy.seen)
    # A wrong password, and none at all: told as the proxy's doing.
    for address in (proxy.address.replace("corner", "other"), proxy.bare):
        code, said = run("pull", f"{host}/fw/kws:1", "--out", "no", HTTPS_PROXY=address)
        assert (code, "the proxy does not let us in" in said) == (4, True), said


def test_plain_requests_name_the_whole_address(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.address)
    with fake_registry() as server:
        port = server.server_address[1]
        place = f"{NAME}:{port}/fw/kws:1"
        digest = bundle(tmp_path / "b")
        push_to(place, tmp_path / "b")
        assert pull_from(place, tmp_path / "out").digest == digest
        assert f"GET http://{NAME}:{port}/v2/ HTTP/1.1" in proxy.seen
        monkeypatch.setenv("http_proxy", proxy.bare)
        with pytest.raises(ToolMissingError, match="proxy does not let us in"):
            pull_from(place, tmp_path / "no")


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        (b"HTTP/1.1 403 Never\r\nContent-Length: 0\r\n\r\n", "does not lead there"),
        (b"HTTP/1.1 502 Later\r\nContent-Length: 0\r\n\r\n", "did not answer in 3 attempts"),
        (b"nonsense\r\n\r\n", "did not answer in 3 attempts"),
        (b"HTTP/1.1 200 Yes\r\n" + b"X: y\r\n" * 200, "is not HTTP"),
    ],
    ids=["refuses", "busy", "no HTTP", "headers without an end"],
)
def test_proxy_that_does_not_lead_to_the_registry_is_told(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bytes, match: str
) -> None:
    proxy.answers = answers
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)
    with pytest.raises(ToolMissingError, match=match) as caught:
        pull_from(f"{NAME}/fw/kws:1", tmp_path / "out", access=replace(ACCESS, trust=Trust()))
    assert PASSWORD not in caught.value.paragraph()
    assert proxy.seen[0] == f"CONNECT {NAME}:443 HTTP/1.1"


def test_proxy_is_left_out_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inner.example,.lan")
    found = proxy_for("https", "registry.example.com")
    assert (found and found.host, found and found.port) == ("proxy.example", 3128)
    assert proxy_for("http", "registry.example.com") is None
    for direct in ("inner.example:5000", "registry.lan", "127.0.0.1:5000", "localhost:5000", "[::1]:5000"):
        assert proxy_for("https", direct) is None, direct
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("https", "registry.example.com") is None


@pytest.mark.parametrize("address", ["socks5://u:secret@h:1", "https://u:secret@h", "http://u:secret@h:x", "http://"])
def test_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        proxy_for("https", "registry.example.com")
    assert "secret" not in caught.value.paragraph()
