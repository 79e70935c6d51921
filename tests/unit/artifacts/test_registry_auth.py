"""Who we are: credentials from docker's files and helpers, Basic, and tokens."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from pushed_bundle import ACCESS, bundle, pull_from, push_to

from edgegen.artifacts.registry_credentials import Credentials, find_credentials
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from support.fake_registry import PASSWORD, USER, fake_registry

AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def server():
    with fake_registry() as found:
        yield found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a busy disk makes hundreds of small bundles slow
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


def configure(home: Path, **config: object) -> None:
    (home / "config.json").write_text(json.dumps(config))


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_credentials_are_found_where_docker_keeps_them(home):
    assert find_credentials("reg:1") is None
    configure(home, auths={"reg:1": {"auth": AUTH}, "https://other": {"identitytoken": "t"}})
    found = find_credentials("reg:1")
    assert (found.user, found.secret) == (USER, PASSWORD)
    assert PASSWORD not in repr(found)
    assert find_credentials("other") == Credentials(user="<token>", secret="t", is_token=True)
    assert find_credentials("reg") is None


def test_credentials_are_found_where_podman_keeps_them(home, tmp_path, monkeypatch):
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "auth.json").write_text(json.dumps({"auths": {"reg:1": {"auth": AUTH}}}))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert find_credentials("reg:1").user == USER
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    (tmp_path / "named.json").write_text(json.dumps({"auths": {"reg:1": {"auth": base64.b64encode(b"a:b").decode()}}}))
    assert find_credentials("reg:1").user == "a"


def test_helper_is_asked_for_the_host(home, tmp_path, monkeypatch):
    script = (
        """read host; echo "{\\"ServerURL\\": \\"$host\\", \\"Username\\": \\"$1-$host\\", \\"Secret\\": \\"s\\"}" """
    )
    helper(tmp_path, "own", script, monkeypatch)
    configure(home, credHelpers={"reg:1": "own"}, auths={"reg:1": {"auth": AUTH}})
    assert find_credentials("reg:1").user == "get-reg:1"
    configure(home, credsStore="own", auths={"reg:1": {}})
    assert find_credentials("reg:1").user == "get-reg:1"


def test_helper_that_knows_nothing_is_no_error(home, tmp_path, monkeypatch):
    helper(tmp_path, "own", "echo credentials not found in native keychain; exit 1", monkeypatch)
    configure(home, credsStore="own")
    assert find_credentials("reg:1") is None


@pytest.mark.parametrize(
    "script", ["exit 3", "echo '{'", "echo '{}'", "echo '[]'", 'echo \'{"Username":1,"Secret":"s3"}\'']
)
def test_helper_that_fails_is_named_and_its_secret_is_not(home, tmp_path, monkeypatch, script):
    helper(tmp_path, "own", script, monkeypatch)
    configure(home, credsStore="own")
    with pytest.raises(ToolMissingError, match="docker-credential-own") as caught:
        find_credentials("reg:1")
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", 7, "-x"])
def test_helper_with_a_path_in_its_name_is_refused(home, name):
    configure(home, credsStore=name)
    with pytest.raises((UsageError, ToolMissingError)):
        find_credentials("reg:1")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": 1}',
        '{"auths": {"reg:1": {"auth": "%%"}}}',
        '{"auths": {"reg:1": {"auth": "YQ=="}}}',
        "[" * 100_000,
    ],
)
def test_unusable_file_of_credentials_is_refused(home, text):
    (home / "config.json").write_text(text)
    with pytest.raises(UsageError, match="credentials"):
        find_credentials("reg:1")


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_password_opens_the_registry(home, server, tmp_path, scheme):
    server.auth = scheme
    digest = bundle(tmp_path / "b")
    with pytest.raises(ToolMissingError, match="does not let us in"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    configure(home, auths={server.host: {"auth": AUTH}})
    server.seen.clear()
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest
    assert pull_from(f"{server.host}/fw/kws:1", tmp_path / "out").digest == digest
    if scheme == "bearer":
        assert len(server.calls("GET", "/token")) <= 4  # one for reading, one for writing, each run
        assert any("pull%2Cpush" in path for path in server.calls("GET", "/token"))


def test_token_that_ran_out_is_asked_for_again(home, server, tmp_path):
    server.auth = "bearer"
    configure(home, auths={server.host: {"auth": AUTH}})
    digest, refused = bundle(tmp_path / "b"), []

    def once(handler):
        if "/blobs/" in handler.path and not refused and handler.headers.get("Authorization"):
            refused.append(handler.path)
            handler.body()
            handler.answer(401, WWW_Authenticate=f'Bearer realm="{server.realm}",service="fake"')
            return True
        return False

    server.before = once
    assert push_to(f"{server.host}/fw/kws:1", tmp_path / "b").digest == digest
    assert refused


@pytest.mark.parametrize(
    "realm", ["http://example.com/token", "ftp://x/", "", "https://a@example.com/t", "http://127.0.0.2:1/t", "https:///t"]
)  # fmt: skip
def test_token_server_that_must_not_have_the_password_is_refused(home, server, tmp_path, realm):
    server.auth, server.realm = "bearer", realm
    configure(home, auths={server.host: {"auth": AUTH}})
    bundle(tmp_path / "b")
    with pytest.raises(IntegrityError, match="token server"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


@pytest.mark.parametrize("answer", [b"{}", b'{"token": "a\\r\\nb"}', b'{"token": 1}', b'{"token": "a b"}'])
def test_token_that_is_none_is_refused(home, server, tmp_path, answer):
    server.auth = "bearer"
    server.before = lambda handler: handler.path.startswith("/token") and (handler.answer(200, answer) or True)
    bundle(tmp_path / "b")
    with pytest.raises(ToolMissingError, match="no token"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_other_ways_to_prove_oneself_are_not_known(server, tmp_path):
    bundle(tmp_path / "b")
    server.before = lambda handler: handler.answer(401, WWW_Authenticate="Negotiate") or True
    with pytest.raises(ToolMissingError, match="Basic or Bearer"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")


def test_password_goes_to_no_other_host(home, server, tmp_path):
    """A blob that the registry keeps elsewhere is fetched without our authorization; http elsewhere not at all."""
    configure(home, auths={server.host: {"auth": AUTH}})
    server.auth = "basic"
    bundle(tmp_path / "b")
    push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
    with fake_registry() as other:
        server.before = lambda handler: (
            "/blobs/" in handler.path and (handler.answer(307, Location=f"http://{other.host}{handler.path}") or True)
        )
        with pytest.raises(IntegrityError, match="redirect"):
            pull_from(f"{server.host}/fw/kws:1", tmp_path / "out", access=ACCESS)
        assert other.seen == []


def test_upload_that_leads_to_another_host_is_refused(home, server, tmp_path):
    configure(home, auths={server.host: {"auth": AUTH}})
    server.auth = "basic"
    bundle(tmp_path / "b")
    server.before = lambda handler: (
        handler.command == "POST" and (handler.answer(202, Location="https://example.com/v2/x") or True)
    )
    with pytest.raises(IntegrityError, match="none of its own"):
        push_to(f"{server.host}/fw/kws:1", tmp_path / "b")
