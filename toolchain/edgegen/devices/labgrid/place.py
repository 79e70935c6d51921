"""A place of a labgrid laboratory that this process holds: ``keeper.py`` runs beside it, and gives the place back
however this process ends.

A keeper that is killed itself can give nothing back, and labgrid keeps the place for its user. So what was taken is
noted in edgegen's cache: the next job finds the place as the note says, and gives it back at its own end.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgegen.core.digests import sha256_bytes
from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Progress
from edgegen.devices.board_lock import BusyError, take_board
from edgegen.devices.labgrid.installed import (
    CLIENT,
    COORDINATOR,
    ENVIRONMENT,
    check_coordinator,
    failure,
    labgrids_python,
)

ANSWER_S = 60.0
"""The longest wait for labgrid's side: to connect, to take a place that is free, to start what an exporter exports."""

_RELEASE_S = 50.0
_MAX_LINE_BYTES = 1 << 20
_KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What labgrid says of a thing at a place; none of it is checked."""

    kind: str  # labgrid's class
    name: str
    there: bool  # its exporter has it now
    params: Mapping[str, Any]
    extra: Mapping[str, Any]


class HeldPlace:
    """A place that is ours, until ``close``. ``hold`` makes one."""

    def __init__(self, asked: str, process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
        self.name = asked
        self.resources: tuple[Resource, ...] = ()
        self._asked, self._process, self._words = asked, process, words
        self._said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lost = self._gone = ""
        self._released: bool | None = None
        self._reader = threading.Thread(target=self._read, name=f"labgrid {asked}", daemon=True)
        self._reader.start()

    def wait(self, wait_s: float, progress: Progress) -> dict[str, Any]:
        """Until the place is ours, and what the keeper said then. Raises as ``hold`` does."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            told = self._next(deadline)
            kind = told.get("is")
            if kind == "here":
                self.name = _plain(told.get("place"))
                self.resources = tuple(map(_resource, told.get("resources", [])))
                return told
            if kind == "busy" and told.get("final"):
                raise BusyError(f"labgrid:{self._asked}", _plain(told.get("by")))
            if kind == "busy":
                progress.say(f"labgrid:{self._asked}: waiting for {_plain(told.get('by'))}")
                deadline = time.monotonic() + wait_s + ANSWER_S
            if kind == "failed":
                raise failure(self._asked, told)

    def check(self) -> None:
        """That the place was ours all the time.

        Raises:
            ToolMissingError: it was not; somebody else may have used the board.
        """
        self._news()
        if self._lost:
            raise ToolMissingError(
                "the labgrid place is no longer held for this job",
                where=f"labgrid:{self._asked}",
                got=self._lost,
                next_step="nothing that was measured since counts; repeat the command",
            )

    def gone(self) -> str:
        """What the exporter no longer has, in words; empty: nothing."""
        self._news()
        return self._gone

    def close(self) -> bool:
        """Gives the place back, if it was taken by us; whether the coordinator took it back."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()  # the same to it, but ends it where it still waits for the coordinator
        try:
            self._process.wait(_RELEASE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._words.close()
        self._news()
        return self._released is True

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(_MAX_LINE_BYTES):
                try:
                    told = json.loads(line)
                except (ValueError, RecursionError):
                    break  # of a keeper that was killed while it wrote
                if not isinstance(told, dict):
                    break
                self._said.put(told)
        self._said.put(None)

    def _next(self, deadline: float) -> dict[str, Any]:
        try:
            told = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise ToolMissingError(
                f"labgrid does not answer within {ANSWER_S:g} s",
                where=f"labgrid:{self._asked}",
                got=self._last_words() or None,
                next_step=check_coordinator(),
            ) from None
        if told is None:
            raise ToolMissingError(
                "labgrid's side failed",
                where=f"labgrid:{self._asked}",
                got=self._last_words() or None,
                next_step=f"{CLIENT} -p {self._asked} show",
            )
        return told

    def _last_words(self) -> str:
        self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, self._words.tell() - 600))
        return self._words.read().decode("utf-8", "replace").strip()

    def _news(self) -> None:
        """What has been said meanwhile."""
        while True:
            try:
                told = self._said.get_nowait()
            except queue.Empty:
                return
            if told is None:
                if self._released is None:
                    self._lost = self._lost or "the process that held it was killed"
            elif told.get("is") == "lost":
                self._lost = _plain(told.get("text"))
            elif told.get("is") == "gone":
                self._gone = _plain(told.get("text"))
            elif told.get("is") == "released":
                self._released = bool(told.get("ok"))


@dataclass(slots=True)
class _Shared:
    """What the devices of this process have of a place together."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    held: tuple[HeldPlace, Callable[[], None]] | None = None


_shared: dict[tuple[str, Path], _Shared] = {}
_shared_mutex = threading.Lock()


def hold(asked: str, cache: Path, progress: Progress, wait_s: float) -> tuple[HeldPlace, Callable[[], None]]:
    """The place, taken if nobody has it, and what gives it back; devices of one process hold it together.

    One that this user has already (``labgrid-client acquire``), or is allowed to use, is used and stays as it is.

    Args:
        asked: the name of the place, an alias, ``+TOKEN`` of a reservation; with ``LG_ENV`` a target of that file.
        wait_s: how long to wait for somebody else.

    Raises:
        BusyError: somebody else has it for longer; the message says who.
        TargetError: there is no such place, or the environment file is wrong.
        ToolMissingError: labgrid is not installed, its coordinator does not answer, or an exporter is not there.
    """
    with _shared_mutex:
        shared = _shared.setdefault((asked, cache), _Shared())
    with shared.mutex:
        if shared.held is None:
            shared.held = _taken(asked, cache, progress, wait_s)
        shared.users += 1
        place, give_back = shared.held
    given_back = False

    def release() -> None:
        nonlocal given_back
        with shared.mutex:
            if given_back:
                return
            given_back = True
            shared.users -= 1
            if shared.users == 0:
                shared.held = None
                give_back()

    return place, release


def _taken(asked: str, cache: Path, progress: Progress, wait_s: float) -> tuple[HeldPlace, Callable[[], None]]:
    lab = os.environ.get(ENVIRONMENT) or os.environ.get(COORDINATOR) or "localhost"
    unlock = take_board(cache, f"labgrid:{asked} of {lab}", progress, wait_s=wait_s)
    note = cache / "boards" / f"{sha256_bytes(f'{asked} of {lab}'.encode())[:16]}.labgrid"
    place: HeldPlace | None = None
    try:
        place = _start(asked, {"place": asked, "wait_s": wait_s, "changed": _noted(note), "parent": os.getpid()})
        told = place.wait(wait_s, progress)
        owned = bool(told.get("owned"))
        if owned:
            note.write_text(json.dumps(told.get("changed")), encoding="utf-8")
    except BaseException:
        if place is not None:
            place.close()
        unlock()
        raise
    held = place

    def give_back() -> None:
        try:
            if held.close():
                note.unlink(missing_ok=True)
            elif owned:
                progress.say(f"labgrid:{asked}: it could not be given back; the next job on it does that")
        finally:
            unlock()

    return place, give_back


def _noted(note: Path) -> float | None:
    """When a place was taken that may not have been given back."""
    try:
        found = json.loads(note.read_bytes()[:100])
    except (OSError, ValueError):
        return None
    return found if isinstance(found, float) else None


def _start(asked: str, what: Mapping[str, Any]) -> HeldPlace:
    python, environment = labgrids_python(), dict(os.environ)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # of another Python
    words = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        [python, str(_KEEPER), json.dumps(what)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        env=environment,
        start_new_session=True,  # Ctrl-C is for us, who then close its input
    )
    return HeldPlace(asked, process, words)


def _plain(told: object) -> str:
    """A laboratory's words, as one line that a terminal obeys nothing of."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(told))[:300]


def _resource(told: Mapping[str, Any]) -> Resource:
    return Resource(
        kind=str(told["cls"]),
        name=str(told["name"]),
        there=bool(told["avail"]),
        params=dict(told["params"]),
        extra=dict(told["extra"]),
    )
