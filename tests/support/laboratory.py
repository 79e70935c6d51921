"""A labgrid laboratory on this machine: its real coordinator, exporters and client, in an environment of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.core.digests import sha256_bytes
from edgegen.core.locks import locked
from support.projects import ROOT

_START_S = 60.0
_END_S = 20.0


def programs(cache: Path) -> Path:
    """The folder of labgrid's programs, as the extra ``labgrid`` names it; installed once, where it is kept.

    Raises:
        OSError: it cannot be installed; the message says why.
    """
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = extras["labgrid"]
    folder = cache / f"labgrid-{sha256_bytes(json.dumps([wanted, sys.version]).encode())[:16]}"
    with locked(folder.with_suffix(".lock")):
        if not (folder / "whole").exists():
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [str(folder / "bin" / "pip"), "install", "-q", *wanted],
            ):
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
                if done.returncode != 0:
                    raise OSError(f"labgrid cannot be installed: {done.stderr.strip()[-300:]}")
            (folder / "whole").touch()
    return folder / "bin"


@dataclass
class Laboratory:
    """What runs; ``folder`` holds its files."""

    programs: Path
    folder: Path
    port: int
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _begin: int = 0  # of what the running coordinator says, in its log

    @property
    def coordinator(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """The coordinator; it finds the places again that it had, all of them free."""
        self._begin = len(self._said("coordinator"))
        self._start("coordinator", "labgrid-coordinator", "-l", self.coordinator)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the coordinator does not start: {self._said('coordinator')[-500:]}")

    def export(self, name: str, resources: Mapping[str, Mapping[str, Any]]) -> None:
        """An exporter with ``{group: {class: parameters}}``, once the coordinator knows what it has."""
        file = self.folder / f"{name}.yaml"
        file.write_text(json.dumps(resources), encoding="utf-8")
        before = self._said("coordinator")
        self._start(name, "labgrid-exporter", "-c", self.coordinator, "-n", name, "--hostname", "127.0.0.1", str(file))
        wanted = {f"set_resource {group} {kind}" for group, kinds in resources.items() for kind in kinds}
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if all(self._said("coordinator").count(part) > before.count(part) for part in wanted):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the exporter does not start: {self._said(name)[-500:]}")

    def client(self, *arguments: str, user: str = "", check: bool = False) -> subprocess.CompletedProcess[str]:
        """labgrid's own client; ``user`` is somebody else, on another machine."""
        return subprocess.run(
            [str(self.programs / "labgrid-client"), *arguments],
            env={**self.environment(), **({"LG_USERNAME": user, "LG_HOSTNAME": f"{user}s-machine"} if user else {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=check,
        )

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LG_", "PYTHON"))}
        return {**kept, "LG_COORDINATOR": self.coordinator, "PYTHONUNBUFFERED": "1"}

    def holder(self, place: str) -> str:
        """Who has the place, ``host/user``, as the coordinator says in its log; empty: nobody."""
        by = ""
        for line in self._said("coordinator")[self._begin :].splitlines():
            if line == f"{place}: place released":
                by = ""
            by = line.partition(f"{place}: place acquired by ")[2] or by
        return by

    def becomes_free(self, place: str, within_s: float = 20.0) -> bool:
        deadline = time.monotonic() + within_s
        while self.holder(place) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.holder(place)

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends the coordinator or an exporter."""
        process = self._running.pop(name)
        process.send_signal(how)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what an exporter has started

    def send(self, name: str, what: signal.Signals) -> None:
        self._running[name].send_signal(what)

    def close(self) -> None:
        for name in reversed([*self._running]):
            self._running[name].send_signal(signal.SIGCONT)
            self.end(name)

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(self.programs / program), *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _said(self, name: str) -> str:
        log = self.folder / f"{name}.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


@contextlib.contextmanager
def laboratory(
    installed: Path, folder: Path, places: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Laboratory]:
    """A coordinator that runs, without exporters. ``places``: by name what matches, as if they had been made before."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: _kept(matches) for name, matches in (places or {}).items()}
    (folder / "places.yaml").write_text(json.dumps(kept), encoding="utf-8")  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = int(one.getsockname()[1])
    made = Laboratory(programs=installed, folder=folder, port=port)
    try:
        made.start()
        yield made
    finally:
        made.close()


def _kept(matches: Sequence[str]) -> dict[str, Any]:
    """A place in the coordinator's own file."""
    parts = [dict(zip(("exporter", "group", "cls"), match.split("/"), strict=True)) for match in matches]
    return {
        "aliases": [],
        "comment": "",
        "tags": {},
        "matches": [{**part, "name": None, "rename": None} for part in parts],
        "created": 0.0,
        "changed": 0.0,
    }
