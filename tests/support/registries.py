"""Debian's docker-registry on a free port of 127.0.0.1: plain, with TLS of an own authority, with a password."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "fw", "s3cret:word"
_START_SECONDS = 30


@dataclass
class Server:
    """A registry that can be killed and started again over the same storage."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "ca.crt"

    @property
    def blobs(self) -> Path:
        return self.folder / "storage" / "docker" / "registry" / "v2" / "blobs" / "sha256"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("docker-registry"), "serve", self.folder / "config.yml"], stdout=log, stderr=log
            )
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"docker-registry did not start: {(self.folder / 'log').read_text()[-500:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(_START_SECONDS)

    def login(self, home: Path) -> dict[str, str]:
        """The environment in which the password is known, as docker login leaves it."""
        home.mkdir(exist_ok=True)
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (home / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return {"DOCKER_CONFIG": str(home)}


def program(name: str) -> str:
    """The path of a program; where it is missing the test is skipped, and fails under CI."""
    path = shutil.which(name)
    if path is None:
        package = {"htpasswd": "apache2-utils"}.get(name, name)
        message = f"{name} is missing: apt-get install {package}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


@contextmanager
def running_registry(folder: Path, *, tls: bool = False, password: bool = False) -> Iterator[Server]:
    """A registry for the length of the block."""
    program("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(folder, free.getsockname()[1])
    config = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'storage'}}}, delete: {{enabled: true}}}}",
        f'http:\n  addr: "{server.host}"\n  secret: "of a test"',
    ]
    if tls:
        _certificate(folder / "tls")
        config.append(f"  tls: {{certificate: {folder}/tls/server.crt, key: {folder}/tls/server.key}}")
    if password:
        done = subprocess.run(
            [program("htpasswd"), "-Bbn", USER, PASSWORD], check=True, capture_output=True, timeout=30
        )
        (folder / "users").write_bytes(done.stdout)
        config.append(f"auth: {{htpasswd: {{realm: lab, path: {folder}/users}}}}")
    (folder / "config.yml").write_text("\n".join(config) + "\n")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _certificate(folder: Path) -> None:
    """An authority, and a certificate of its for 127.0.0.1 and a name that only a proxy knows."""
    folder.mkdir()
    openssl = program("openssl")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:registry.test\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    run("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
