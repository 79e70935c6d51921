"""The folder of provisioned tools: each tool appears whole or not at all, once for all processes of the cache."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.locks import locked
from edgegen.core.ports import Progress
from edgegen.devices.run_folder import remove_if_abandoned

_RECORD = "tool.json"
_DOWNLOAD_TIMEOUT_S = 600.0

Make = Callable[[Path], Mapping[str, str]]
"""Fills the empty folder it is given and returns what is worth knowing about it (versions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A provisioned tool: its folder, and what was recorded when it was made."""

    folder: Path
    facts: Mapping[str, str]


class Toolbox:
    """Tools under ``<cache>/tools``, one folder a name and key."""

    def __init__(self, cache: Path, *, offline: bool, progress: Progress) -> None:
        self.root = cache / "tools"
        self.offline = offline
        self.progress = progress

    def find(self, name: str, key: str) -> Tool | None:
        """The tool if it is there whole; touches nothing."""
        folder = self.root / f"{name}-{key[:16]}"
        try:
            record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Tool(folder=folder, facts={str(k): str(v) for k, v in record.items()})

    def ensure(self, name: str, key: str, make: Make) -> Tool:
        """The tool, made now if it is absent.

        ``make`` works in a temporary folder that is renamed when it has returned, so whatever ends the process leaves
        no tool by halves. A second process that wants the same tool waits for the first.

        Raises:
            ToolMissingError: as ``make`` does.
            BuildError: the disk is full.
        """
        found = self.find(name, key)
        if found is not None:
            return found
        with locked(
            self.root / "locks" / name, on_wait=lambda: self.progress.say(f"{name}: another process sets it up")
        ):
            found = self.find(name, key)
            if found is not None:
                return found
            self._sweep(name)
            started = time.monotonic()
            self._make(name, key, make)
            found = self.find(name, key)
        if found is None:
            raise ToolMissingError("a tool vanished while it was set up", where=str(self.root / name))
        size = sum(path.stat().st_size for path in found.folder.rglob("*") if path.is_file() and not path.is_symlink())
        self.progress.say(f"set up {name}: {time.monotonic() - started:.1f} s, {size / 2**20:.1f} MiB")
        return found

    def _make(self, name: str, key: str, make: Make) -> None:
        partial = Path(tempfile.mkdtemp(dir=self.root, prefix=f".partial-{name}-"))
        try:
            facts = dict(make(partial))
            (partial / _RECORD).write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")
            partial.chmod(0o755)
            final = self.root / f"{name}-{key[:16]}"
            if final.exists():  # without a record it is no tool, whatever it is
                shutil.rmtree(final)
            partial.rename(final)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise BuildError("the disk is full", where=str(self.root), next_step="free space and repeat") from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _sweep(self, name: str) -> None:
        """Removes what killed set-ups of this tool left; the lock is held, so nobody is at work there."""
        for path in self.root.glob(f".partial-{name}-*"):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A folder for work that nothing is kept of. Those of processes that were killed are removed first."""
        for stale in self.root.glob(".scratch-*"):
            remove_if_abandoned(stale, stale.name.split("-")[1])
        with tempfile.TemporaryDirectory(dir=self.root, prefix=f".scratch-{os.getpid()}-{name}-") as folder:
            yield Path(folder)

    def need_network(self, what: str) -> None:
        """Raises ToolMissingError where downloading is not allowed."""
        if self.offline:
            raise ToolMissingError(
                f"{what} is not set up, and --offline forbids to download it",
                where=str(self.root),
                next_step="run `edgegen setup TARGET` once with a network, or drop --offline",
            )


def run_tool(
    command: Sequence[str],
    *,
    what: str,
    next_step: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = _DOWNLOAD_TIMEOUT_S,
    accepted: Sequence[int] = (0,),
) -> str:
    """Runs a helper program and returns its standard output; ``accepted`` are the exit statuses of success.

    Raises:
        ToolMissingError: it is absent, fails or takes longer than ``timeout_s``; the message ends with its last words.
    """
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolMissingError(f"{what}: {command[0]} is not installed", next_step=next_step) from error
    except subprocess.TimeoutExpired as error:
        raise ToolMissingError(
            f"{what}: no end after {timeout_s:.0f} s", where=command[0], next_step=next_step
        ) from error
    if done.returncode not in accepted:
        last_words = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise ToolMissingError(
            f"{what}: status {done.returncode}", where=command[0], got=last_words, next_step=next_step
        )
    return done.stdout
