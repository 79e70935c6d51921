"""Holds a place of a labgrid laboratory for as long as the process that started it lives.

A program of its own, run by whichever Python has labgrid: that need not be edgegen's, whose pyserial labgrid's own
overwrites. It knows nothing of edgegen. Its one argument is a JSON object (``place``, ``wait_s``, ``changed``,
``parent``); it writes one JSON object a line, each with ``is``:

``here`` (place, owned, changed, resources), ``busy`` (by, final), ``failed`` (why, text), ``lost`` (text),
``gone`` (text) and, as the last word after ``here``, ``released`` (ok).

labgrid keeps a place for a client that is gone, however it went. So the place is given back when standard input ends,
when the parent is another one, and at SIGTERM, SIGINT and SIGHUP.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

_POLL_S = 0.25
_CALL_S = 20.0  # the coordinator itself waits 10 s for an exporter
_RESOURCES_S = 15.0  # until an exporter has started what it exports
_LINGER_S = 60.0
_NAMES = 50
_DEFAULT = "127.0.0.1:20408"


class _FailedError(Exception):
    """Why there is no place, and in words."""

    def __init__(self, why: str, text: str, **more: Any) -> None:
        super().__init__(text)
        self.told = {"is": "failed", "why": why, "text": text, **more}


class _Voice:
    """Standard output, for our lines alone."""

    def __init__(self, ended: threading.Event) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # whatever labgrid prints
        self._ended = ended

    def say(self, **told: Any) -> None:
        try:
            self._stream.write(json.dumps(told) + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._ended.set()


def main() -> None:
    """See the module."""
    asked = json.loads(sys.argv[1])
    ended = threading.Event()
    voice = _Voice(ended)
    threading.Thread(target=_listen, args=(ended, asked["parent"]), daemon=True).start()
    try:
        coordinator, place, resources = _whereabouts(asked["place"])
        if resources is not None:
            voice.say(**{"is": "here"}, place=place, owned=False, changed=0.0, resources=resources)
            ended.wait()
            voice.say(**{"is": "released"}, ok=True)
            return
        _visit(coordinator, place, asked, ended, voice)
    except _FailedError as error:
        voice.say(**error.told)


def _listen(ended: threading.Event, parent: int) -> None:
    while not ended.is_set():
        if select.select([0], [], [], 1.0)[0] or os.getppid() != parent:
            ended.set()  # a word of the parent's, or the end of its life
    time.sleep(_LINGER_S)
    os._exit(1)  # labgrid's side hangs, and nobody waits for it any more


def _whereabouts(asked: str) -> tuple[str, str, list[dict[str, Any]] | None]:
    """The coordinator and the place there; or what an environment file says of a board that no coordinator knows."""
    from labgrid.config import Config
    from labgrid.exceptions import InvalidConfigError
    from labgrid.factory import target_factory

    coordinator, file = os.environ.get("LG_COORDINATOR") or _DEFAULT, os.environ.get("LG_ENV")
    if not file:
        return coordinator, asked, None
    try:
        config = Config(file)
        targets = {role: target_factory.normalize_config(target)[0] for role, target in config.get_targets().items()}
    except (InvalidConfigError, OSError) as error:
        raise _FailedError("environment", str(error)) from error
    coordinator = config.get_option("coordinator_address", coordinator)
    places = {place for resources in targets.values() for place in resources.get("RemotePlace", {})}
    if asked not in targets:
        if asked in places or asked.startswith("+"):
            return coordinator, asked, None
        raise _FailedError("target", file, names=sorted({*targets, *places})[:_NAMES])
    remote = list(targets[asked].get("RemotePlace", {}))
    if len(remote) > 1:
        raise _FailedError("environment", f"{asked} has several places: {', '.join(remote)}")
    if remote:
        return coordinator, remote[0], None
    return (
        coordinator,
        asked,
        [
            {"cls": kind, "name": name or kind, "avail": True, "params": dict(params), "extra": {}}
            for kind, named in targets[asked].items()
            for name, (params, *_) in named.items()
        ],
    )


def _visit(coordinator: str, place: str, asked: Mapping[str, Any], ended: threading.Event, voice: _Voice) -> None:
    """Connects, and keeps the place until the end."""
    from labgrid.remote.client import Error, start_session

    try:
        session = start_session(coordinator)
    except (Error, OSError) as error:
        raise _FailedError("coordinator", f"{coordinator}: {' '.join(map(str, error.args))}") from error
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    try:
        session.loop.run_until_complete(_keep(session, place, asked, ended, voice))
    finally:
        if not session.stopping.is_set():
            session.loop.run_until_complete(session.stop())
        session.loop.run_until_complete(session.close())


async def _keep(session: Any, pattern: str, asked: Mapping[str, Any], ended: threading.Event, voice: _Voice) -> None:
    name = _resolve(session, pattern)
    owned = await _take(session, name, asked, ended, voice)
    if owned is None:
        return
    try:
        await _ready(session, name, ended)
        resources, changed = list(_resources(session, name)), session.places[name].changed
        voice.say(**{"is": "here"}, place=name, owned=owned, changed=changed, resources=resources)
        owned &= await _watch(session, name, ended, voice)
    finally:
        ok = not owned or await _release(session, name)
    voice.say(**{"is": "released"}, ok=ok)


def _resolve(session: Any, pattern: str) -> str:
    """A place by its name, by an alias, or by the token of its reservation; never by a part of its name, as figures
    are of one board."""
    if pattern.startswith("+"):
        token = pattern[1:] or os.environ.get("LG_TOKEN", "")
        for name, place in session.places.items():
            if token and place.reservation == token:
                return str(name)
        raise _FailedError("token", token)
    if pattern in session.places:
        return pattern
    for name, place in session.places.items():
        if {pattern, f"{session.getuser()}:{pattern}"} & set(place.aliases):
            return str(name)
    raise _FailedError("unknown", session.address, names=sorted(session.places)[:_NAMES])


def _me(session: Any) -> str:
    return f"{session.gethostname()}/{session.getuser()}"


async def _take(
    session: Any, name: str, asked: Mapping[str, Any], ended: threading.Event, voice: _Voice
) -> bool | None:
    """Whether the place is to be given back by us; None: it was not to be had in time."""
    deadline, told = time.monotonic() + asked["wait_s"], ""
    while not ended.is_set():
        if session.stopping.is_set():
            raise _FailedError("coordinator", f"{session.address}: the connection is lost")
        place = session.places.get(name)
        if place is None:
            raise _FailedError("unknown", session.address, names=sorted(session.places)[:_NAMES])
        by = place.acquired
        if by == _me(session) or (by and _me(session) in place.allowed):
            # A keeper of this very board that was killed has left it so.
            return bool(by == _me(session) and place.changed == asked["changed"])
        if not by:
            by = await _acquire(session, name)
            if not by:
                return True
        final = time.monotonic() >= deadline
        if final or by != told:
            voice.say(**{"is": "busy"}, by=by, final=final)
            told = by
        if final:
            return None
        await asyncio.sleep(_POLL_S)
    return None


async def _acquire(session: Any, name: str) -> str:
    """Takes a place that is free. Who else has it or a part of it; empty: it is ours."""
    import grpc
    from labgrid.remote.generated import labgrid_coordinator_pb2

    place = session.places[name]
    missing = place.unmatched([path for path, _ in _entries(session)])
    if missing:
        raise _FailedError("resource", f"no exporter has {missing}")
    try:
        await session.stub.AcquirePlace(labgrid_coordinator_pb2.AcquirePlaceRequest(placename=name), timeout=_CALL_S)
    except grpc.aio.AioRpcError as error:
        if error.code() == grpc.StatusCode.PERMISSION_DENIED:
            return f"a reservation ({error.details()})"
        if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
            await _release(session, name)  # it may have come so far
            raise _FailedError("coordinator", f"{session.address}: {error.details()}") from error
        await session.sync_with_coordinator()
        if place.acquired:
            return str(place.acquired)
        taken = {entry.acquired for path, entry in _entries(session) if place.hasmatch(path) and entry.acquired}
        if not taken or "<broken>" in taken:
            raise _FailedError("resource", f"{error.details()}{'; it is broken' if taken else ''}") from error
        return f"place {', '.join(sorted(taken))}, which shares its hardware"
    await session.sync_with_coordinator()
    return ""


def _entries(session: Any) -> Iterator[tuple[tuple[str, str, str, str], Any]]:
    """All resources that exporters have, with their paths."""
    for exporter, groups in session.resources.items():
        for group, named in groups.items():
            for name, entry in named.items():
                if entry.data.get("cls"):  # one that was withdrawn has nothing
                    yield (exporter, group, entry.cls, name), entry


def _resources(session: Any, name: str) -> Iterator[dict[str, Any]]:
    """Those of the place that we hold."""
    place, known = session.places[name], dict(_entries(session))
    for path in place.acquired_resources:
        entry, match = known.get(tuple(path)), place.getmatch(path)
        yield {
            "cls": path[2],
            "name": (match.rename if match else None) or path[3],
            "avail": bool(entry and entry.avail),
            "params": entry.args if entry else {},
            "extra": entry.extra if entry else {},
        }


async def _ready(session: Any, name: str, ended: threading.Event) -> None:
    """Waits until the exporters have started all that they export for the place; a port's number is known then."""
    deadline = time.monotonic() + _RESOURCES_S
    while time.monotonic() < deadline and not ended.is_set() and not session.stopping.is_set():
        if all(item["avail"] and item["params"].get("port", 0) is not None for item in _resources(session, name)):
            return
        await asyncio.sleep(_POLL_S)


async def _watch(session: Any, name: str, ended: threading.Event, voice: _Voice) -> bool:
    """Until the end; whether the place is still ours then."""
    gone = {item["name"] for item in _resources(session, name) if not item["avail"]}
    told = False  # that the coordinator is gone: what it does meanwhile nobody knows
    while not ended.is_set():
        await asyncio.sleep(_POLL_S)
        if session.stopping.is_set():
            if not told:
                voice.say(**{"is": "lost"}, text=f"the connection to the coordinator {session.address} is lost")
            told = True
            continue
        place = session.places.get(name)
        if place is None or (place.acquired != _me(session) and _me(session) not in place.allowed):
            by = place.acquired if place else None
            voice.say(**{"is": "lost"}, text=f"{by} has it now" if by else "it was released")
            while not ended.is_set():
                await asyncio.sleep(_POLL_S)
            return False
        absent = {item["name"] for item in _resources(session, name) if not item["avail"]}
        if absent - gone:
            voice.say(**{"is": "gone"}, text=f"its exporter no longer has {', '.join(sorted(absent - gone))}")
        gone = absent
    return True


async def _release(session: Any, name: str) -> bool:
    """Gives it back if it is ours; on a new connection where the old one is lost."""
    import grpc
    from labgrid.remote.generated import labgrid_coordinator_pb2

    request = labgrid_coordinator_pb2.ReleasePlaceRequest(placename=name, fromuser=_me(session))
    try:
        await session.stub.ReleasePlace(request, timeout=_CALL_S)
    except grpc.aio.AioRpcError as error:
        print(f"release: {error.details()}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main()
