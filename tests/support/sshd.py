"""A real OpenSSH server on this machine for tests: its own keys, port and account, and a plug that can be pulled."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_START_S = 10.0


def missing() -> str:
    """What this machine lacks for it; empty: nothing."""
    absent = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if not Path(SSHD).exists():
        absent.append("sshd (apt install openssh-server)")
    return ", ".join(absent)


@dataclass
class Server:
    """The server: ``board`` stands for the user's home there."""

    folder: Path
    user: str
    board: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def kept(self) -> Path:
        """Where edgegen keeps its files on the board."""
        return self.board / "cache" / "edgegen-board"

    def left(self) -> list[str]:
        """What lies in the folders of jobs."""
        # Not Path.glob: it fails where a folder goes away meanwhile.
        walked = os.walk(self.kept / "runs")
        found = (Path(folder, name) for folder, folders, files in walked for name in (*folders, *files))
        return sorted(path.relative_to(self.kept).as_posix() for path in found)

    def start(self) -> None:
        self.port = self.port or _free_port()
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host'}",
            f"AuthorizedKeysFile {self.folder / 'client.pub'}",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            f"PidFile {self.folder / 'pid'}",
            f"SetEnv XDG_CACHE_HOME={self.board}/cache TMPDIR={self.board}/tmp PATH={self.board}/bin:/usr/bin:/bin",
            "Subsystem sftp internal-sftp",
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        known = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {' '.join(known)}\n")
        self.config.write_text(
            f"Host *\n  IdentityFile {self.folder / 'client'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known'}\n  GlobalKnownHostsFile /dev/null\n"
        )
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"sshd does not start: {(self.folder / 'log').read_text()[-500:]}")

    def program(self, name: str, script: str) -> None:
        """Puts a program of the shell on the board's path."""
        (self.board / "bin").mkdir(exist_ok=True)
        (self.board / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.board / "bin" / name).chmod(0o755)

    def pull_plug(self) -> None:
        """Ends the server and everything of it that serves a connection, without a word to anybody."""
        if self.process is None:
            return
        for pid in (*_serving(self.process.pid), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def _serving(pid: int) -> list[int]:
    """The server's children that are the server itself: what they started there is the board's own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == pid and "sshd" in (folder / "comm").read_text():
                found += [int(folder.name), *_serving(int(folder.name))]
    return found


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A running server; its account is a normal user's where this process may make one, else this process's own."""
    # Not pytest's own folder, which is closed to other users, again and again.
    with tempfile.TemporaryDirectory(prefix="edgegen-sshd-") as name:
        folder, board = Path(name), Path(name) / "board"
        folder.chmod(0o755)
        for part in (board, board / "tmp", board / "cache"):
            part.mkdir()
        for key in ("host", "client"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        with _account(board) as user:
            made = Server(folder=folder, user=user, board=board)
            made.start()
            try:
                yield made
            finally:
                made.pull_plug()


@contextlib.contextmanager
def _account(home: Path) -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    Path("/run/sshd").mkdir(exist_ok=True)  # root's server wants it
    name = f"egtest{secrets.token_hex(4)}"
    # "*" is no password that anybody has; "!" would lock the account for keys too.
    _accounts("useradd", "-M", "-d", str(home), "-s", "/bin/sh", "-p", "*", name)
    account = pwd.getpwnam(name)
    try:
        for path in (home, *home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
        yield name
    finally:
        _end_all(account.pw_uid)
        _accounts("userdel", name)


def _accounts(*command: str) -> None:
    """Changes the accounts, as soon as no other test does."""
    for _ in range(100):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def _end_all(uid: int) -> None:
    """Ends what the account has left running: nothing else is its."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == uid:
                os.kill(int(folder.name), signal.SIGKILL)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
