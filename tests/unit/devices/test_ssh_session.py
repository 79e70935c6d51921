"""A board that does not do what the guard does: the client is a stand-in that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.devices.board_lock import BusyError
from edgegen.devices.ssh import session as ssh_session
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import LinkLostError, SshAddress

# The real client makes the socket when it is connected; the stand-in finds its name among its arguments.
CLIENT = """#!/bin/sh
while [ "$1" != -S ]; do shift; done
: > "$2"
{said}
cat > /dev/null
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[BoardSession, Path]:
    client = tmp_path / "bin" / "ssh"
    client.parent.mkdir()
    monkeypatch.setenv("PATH", f"{client.parent}:/usr/bin:/bin")
    return BoardSession(SshAddress(host="board"), tmp_path / "cache", Silent(), wait_s=0), client


@pytest.mark.parametrize(
    ("said", "error", "expected"),
    [
        ("echo lacks sha256sum", ToolMissingError, "no 'sha256sum'"),
        ("echo refused no folder can be made at /home/pi", ToolMissingError, "no folder can be made"),
        ("echo welcome; echo busy process 7 of ann on lab", BusyError, "process 7 of ann on lab"),
        ("exit 0", LinkLostError, "connection was lost"),
        ("echo ready relative/path; exit 0", LinkLostError, "connection was lost"),
        ("while echo good morning; do :; done", ToolMissingError, "does not come to the point"),
        ("yes | tr -d '\\n'", LinkLostError, "connection was lost"),
    ],
)
def test_board_that_cannot_be_taken_says_why(
    said: str, error: type[Exception], expected: str, board: tuple[BoardSession, Path]
) -> None:
    session, client = board
    client.write_text(CLIENT.format(said=said))
    client.chmod(0o755)
    with pytest.raises(error, match=expected):
        session.open()
    session.close()


def test_board_that_says_nothing_is_given_up(board: tuple[BoardSession, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_session, "_TAKE_S", 0.3)
    session, client = board
    client.write_text(CLIENT.format(said=""))
    client.chmod(0o755)
    with pytest.raises(LinkLostError, match="said nothing"):
        session.open()
