"""Addresses of ssh: what is one, and what the client could take for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.links.ssh import LinkLostError, SshAddress, SshLink, parse_address


@pytest.mark.parametrize(
    ("url", "user", "host", "port"),
    [
        ("ssh://pi@board", "pi", "board", None),
        ("ssh://board", None, "board", None),
        ("ssh://pi@10.0.0.7:2222", "pi", "10.0.0.7", 2222),
        ("ssh://pi@Board.Local/", "pi", "Board.Local", None),
        ("ssh://pi@[fe80::1]:22", "pi", "fe80::1", 22),
    ],
)
def test_address_is_read_and_written(url: str, user: str | None, host: str, port: int | None) -> None:
    address = parse_address(url)
    assert address == SshAddress(user=user, host=host, port=port)
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        "ssh:",
        "ssh://",
        "ssh:board",
        "http://board",
        "ssh://pi@",
        "ssh://pi:secret@board",
        "ssh://pi@board/folder",
        "ssh://pi@board?x=1",
        "ssh://pi@board#x",
        "ssh://pi@board:0",
        "ssh://pi@board:70000",
        "ssh://pi@board:x",
        "ssh://-oProxyCommand=id@board",
        "ssh://pi@-oProxyCommand=id",
        "ssh://pi@bo ard",
        "ssh://pi@board\n",
        "ssh://pi@$(id)",
        "ssh://p;i@board",
        "ssh://pi@[::1",
    ],
)
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(TargetError):
        parse_address(url)


def _client(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> SshLink:
    """A link whose client is a script."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return SshLink(SshAddress(host="board"), folder, connect_s=1)


_MASTER = 'case "$*" in *" -M "*) : > {socket}; cat > /dev/null; exit 0;; esac'


@pytest.mark.parametrize(
    ("said", "hopeless"),
    [
        ("pi@board: Permission denied (publickey).", True),
        ("Host key verification failed.", True),
        ("ssh: Could not resolve hostname board: Name or service not known", True),
        ("ssh: connect to host board port 22: Connection refused", False),
        ("kex_exchange_identification: read: Connection reset by peer", False),
    ],
)
def test_link_tells_what_helps_from_what_does_not(
    said: str, hopeless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = _client(tmp_path, f"echo '{said}' >&2; exit 255", monkeypatch)
    with pytest.raises(ToolMissingError, match="board") as caught:
        link.open("true")
    assert isinstance(caught.value, LinkLostError) is not hopeless
    assert said.rsplit(":", maxsplit=1)[-1].strip() in str(caught.value.got)


def test_link_does_not_wait_for_ever_for_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = _client(tmp_path, "exec sleep 60", monkeypatch)
    with pytest.raises(LinkLostError):
        link.open("true")


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("exec sleep 60", "did not end within"),
        ("echo half of it", "lost during a command"),  # the status never came
        ("exit 255", "lost during a command"),
        ("yes", "more than was asked for"),
    ],
)
def test_command_ends_whatever_the_other_side_does(
    client: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = _client(tmp_path, f"{_MASTER.format(socket=tmp_path / 'c')}\n{client}", monkeypatch)
    link.open("true")
    with pytest.raises(ToolMissingError, match=expected):
        link.run("true", timeout_s=1)
    link.close()


def test_file_that_arrives_damaged_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = _client(tmp_path, f"{_MASTER.format(socket=tmp_path / 'c')}\nprintf damaged", monkeypatch)
    link.open("true")
    with pytest.raises(LinkLostError, match="did not arrive as it was sent"):
        link.get("/there", tmp_path / "here", digest="0" * 64, most_bytes=100, timeout_s=5)
    assert not (tmp_path / "here").exists()
    link.close()
