"""A PostgreSQL server of the test's own: a temporary folder, a free port of 127.0.0.1, a password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "edgegen", "s3cret-word"
_START_SECONDS = 60
_LOCALE = ("-E", "UTF8", "--locale=C", "--no-sync")


@dataclass(frozen=True)
class Server:
    """A server that runs; ``url`` has no password in it."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


def _owner() -> dict[str, object]:
    """How to start programs of PostgreSQL, which refuse to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("no user to run PostgreSQL as")


@contextmanager
def running_server() -> Iterator[Server]:
    """Starts a server and stops it; where PostgreSQL is missing the test is skipped, and fails under CI."""
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL is not installed (Debian: apt-get install --no-install-recommends postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="edgegen-postgres-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if owner:
            for path in (folder, secret):
                os.chown(path, owner["user"], owner["group"])
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", *_LOCALE],
            check=True,
            capture_output=True,
            cwd=folder,
            **owner,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **owner)
        try:
            _await(process, port, folder / "log")
            yield Server(port, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(_START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres", connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"PostgreSQL did not start: {log.read_text(errors='replace')[-500:]}")
