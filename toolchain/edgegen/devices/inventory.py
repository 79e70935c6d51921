"""``board:`` a board of the inventory (``core.boards``): the one that is named, or whichever of the target is free."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from edgegen.core.boards import BoardEntry, boards_of, inventory_file, read_inventory
from edgegen.core.errors import TargetError, ToolMissingError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.ports import Silent, Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_lock import WAIT_S, BusyError
from edgegen.devices.device import Device, DeviceSettings, Identity, Reading
from edgegen.devices.labgrid import PlaceDevice
from edgegen.devices.listed import Board, open_listed, session_of
from edgegen.devices.ssh.look import check_look, name_of

_TAG = "tag="
_POLL_S = 2.0


def board_status(name: str, entry: BoardEntry, profile: TargetProfile, cache: Path) -> tuple[str, str, str]:
    """State (ready, busy or missing), what it says of itself or why it does not, and the fix."""
    try:
        told = _look(entry, profile, cache) if entry.url.startswith("ssh:") else _ask(name, entry, profile, cache)
    except BusyError as error:
        return "busy", f"{entry.url}: {error.got}", ""
    except (ToolMissingError, TargetError, UsageError) as error:
        return "missing", f"{entry.url}: {error.what}{f' ({error.got})' if error.got else ''}", error.next_step or ""
    return "ready", f"{entry.url}: {told}", ""


def _look(entry: BoardEntry, profile: TargetProfile, cache: Path) -> str:
    """What a board that is reached by ssh looks like; sends nothing."""
    session = session_of(entry, cache, Silent())
    try:
        session.open(0)
        look = session.look()
        check_look(look, profile, entry.url)
    finally:
        session.close()
    return name_of(look, profile) + (", not a real machine" if entry.emulated or look.emulated else "")


def _ask(name: str, entry: BoardEntry, profile: TargetProfile, cache: Path) -> str:
    """What another board answers when it is asked who it is."""
    board = open_listed(name, entry, profile, DeviceSettings(cache=cache, offline=True, progress=Silent()))
    try:
        if isinstance(board, PlaceDevice):
            return board.look()
        board.take(0)
        identity = board.identity()
    finally:
        board.close()
    return identity.core + (", not a real machine" if identity.emulated else "")


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``board:NAME``, ``board:tag=WORD`` (one that has the tag) or ``board:`` (any of the target).

    Raises:
        TargetError: no such board, or it is one of another target.
        UsageError: the inventory cannot be read.
    """
    wanted = _wanted(address, profile, read_inventory())
    return _AnyBoard(wanted, profile, settings, f"board:{address}")


class _AnyBoard:
    """The first board that is free and answers, from the first call until the device is closed."""

    def __init__(
        self, wanted: Mapping[str, BoardEntry], profile: TargetProfile, settings: DeviceSettings, asked: str
    ) -> None:
        self._wanted = wanted
        self._profile = profile
        self._settings = settings
        self._asked = asked
        self._mutex = threading.Lock()
        self._device: Board | None = None

    def identity(self) -> Identity:
        """See Device."""
        return self._taken().identity()

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        return self._taken().run(model, runtime, inputs)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device."""
        return self._taken().measure(model, runtime, inputs)

    def close(self) -> None:
        """See Device."""
        with self._mutex:
            if self._device is not None:
                self._device.close()
                self._device = None

    def _taken(self) -> Board:
        with self._mutex:
            if self._device is None:
                key = (self._asked, self._profile.name)
                # A build opens its device several times, and all its figures are to be of one board.
                name = _chosen.get(key)
                if name is not None and name in self._wanted:
                    self._device = self._opened(name, WAIT_S)
                else:
                    name, self._device = self._first_free()
                _chosen[key] = name
            return self._device

    def _first_free(self) -> tuple[str, Board]:
        deadline = time.monotonic() + WAIT_S
        told = False
        while True:
            refused: dict[str, ToolMissingError] = {}
            for name in self._wanted:
                try:
                    return name, self._opened(name, 0 if len(self._wanted) > 1 else WAIT_S)
                except ToolMissingError as error:
                    refused[name] = error
            busy = [name for name, error in refused.items() if isinstance(error, BusyError)]
            if not busy or time.monotonic() > deadline:
                raise _none(self._asked, refused)
            if not told:
                told = True
                self._settings.progress.say(f"{self._asked}: waiting for {' or '.join(busy)}")
            time.sleep(_POLL_S)

    def _opened(self, name: str, wait_s: float) -> Board:
        device = open_listed(name, self._wanted[name], self._profile, self._settings)
        try:
            device.take(wait_s)
        except ToolMissingError:
            device.close()
            raise
        return device


_chosen: dict[tuple[str, str], str] = {}  # (address, target) -> the board that this process took for it first


def _none(asked: str, refused: Mapping[str, ToolMissingError]) -> ToolMissingError:
    if len(refused) == 1:
        return next(iter(refused.values()))
    return ToolMissingError(
        "no board can be had",
        where=asked,
        got="; ".join(f"{name}: {error.what}, {error.got or 'no more is known'}" for name, error in refused.items()),
        next_step="edgegen doctor says which boards answer",
    )


def _wanted(address: str, profile: TargetProfile, boards: Mapping[str, BoardEntry]) -> Mapping[str, BoardEntry]:
    path = str(inventory_file())
    if address and not address.startswith(_TAG):
        if address not in boards:
            raise TargetError(
                f"no board {address!r} in the inventory",
                where=path,
                expected=f"one of {', '.join(boards)}{nearest(address, boards)}" if boards else "a file with boards",
                next_step="edgegen targets lists them",
            )
        entry = boards[address]
        if address not in boards_of(profile.name, boards):
            raise TargetError(
                "the board is one of another target",
                where=f"{address} in {path}",
                got=entry.target,
                expected=profile.name,
                next_step=f"--target {entry.target}, or another board",
            )
        return {address: entry}
    tag = address.removeprefix(_TAG)
    found = {name: entry for name, entry in boards_of(profile.name, boards).items() if not tag or tag in entry.tags}
    if not found:
        raise TargetError(
            f"no board of {profile.name}{f' with the tag {tag!r}' if tag else ''} in the inventory",
            where=path,
            next_step="add one: the page boards.md says how",
        )
    return found
