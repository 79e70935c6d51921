"""``labgrid:PLACE`` a board of a labgrid laboratory: labgrid says where it is, ssh or a serial line does the rest.

A Linux board is the place's NetworkService, a microcontroller its NetworkSerialPort. ``?resource=NAME`` says which,
where a place has several, ``&reset=dtr`` how a microcontroller is reset. The place is taken at the first call, and
given back when the device is closed. ``LG_COORDINATOR`` names the coordinator; with ``LG_ENV``, labgrid's environment
file, PLACE is one of its targets, or the place of one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.board_lock import WAIT_S
from edgegen.devices.device import Device, DeviceSettings, Identity, Reading
from edgegen.devices.labgrid.place import HeldPlace, Resource, hold
from edgegen.devices.serial.device import SerialDevice, open_port
from edgegen.devices.ssh.device import SshDevice
from edgegen.devices.ssh.look import check_look, name_of
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import SshAddress, parse_address

_PLACE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?|\+[A-Za-z0-9]{0,64}")
_HOST = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,252}|[0-9A-Fa-f:.]+")
_SSH, _PORT, _LOCAL_PORT = "NetworkService", "NetworkSerialPort", "RawSerialPort"
_SCHEMES = {"rfc2217": "rfc2217", "raw": "socket"}
_EXPECTED = "labgrid:PLACE, labgrid:PLACE?resource=NAME, labgrid:+TOKEN"

T = TypeVar("T")


class PlaceDevice:
    """The board at a place, from the first call until the device is closed. May be shared between threads as ssh:'s
    may."""

    def __init__(
        self, address: str, profile: TargetProfile, settings: DeviceSettings, facts: BoardFacts, config: Path | None
    ) -> None:
        self._place, self._options = _read(address)
        self._profile, self._settings, self._facts, self._config = profile, settings, facts, config
        self._mutex = threading.RLock()
        self._held: HeldPlace | None = None
        self._give_back: Callable[[], None] | None = None
        self._board: SshDevice | SerialDevice | None = None
        self._told_gone = ""

    def take(self, wait_s: float) -> None:
        """See Board. Raises as ``place.hold`` does, and where the place has no board of the target's kind."""
        with self._mutex:
            if self._board is not None:
                return
            try:
                self._board = board = self._made(self._resource(wait_s))
                self._asked(lambda: board.take(wait_s))
            except BaseException:
                self.close()
                raise

    def look(self) -> str:
        """What the board says it is, in words; sends nothing to it. Raises as ``take`` with no wait does."""
        if self._profile.mcu is not None:
            self.take(0)
            return self.identity().core
        with ExitStack() as left:
            left.callback(self.close)
            session = self._session(self._resource(0))
            left.callback(session.close)
            session.open(0)
            look = session.look()
            check_look(look, self._profile, session.url)
        emulated = self._facts.emulated or look.emulated
        return name_of(look, self._profile) + (", not a real machine" if emulated else "")

    def identity(self) -> Identity:
        """See Device."""
        return self._through(lambda board: board.identity())

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        return self._through(lambda board: board.run(model, runtime, inputs))

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device."""
        return self._through(lambda board: board.measure(model, runtime, inputs))

    def close(self) -> None:
        """Lets the board go, and gives the place back. Safe to call twice."""
        with self._mutex:
            try:
                if self._board is not None:
                    self._board.close()
            finally:
                self._board = None
                if self._give_back is not None:
                    self._give_back()
                self._held = self._give_back = None

    # -- the place -----------------------------------------------------------------------------------------------

    def _through(self, call: Callable[[SshDevice | SerialDevice], T]) -> T:
        self.take(WAIT_S)
        board = self._board
        assert board is not None
        return self._asked(lambda: call(board))

    def _asked(self, call: Callable[[], T]) -> T:
        """The call, with the place ours before and after it."""
        held = self._held
        assert held is not None
        held.check()
        try:
            result = call()
        except ToolMissingError as error:
            held.check()
            if gone := held.gone():
                raise ToolMissingError(
                    "the exporter of the labgrid place went away",
                    where=f"labgrid:{self._place}",
                    got=f"{gone}; {error.what}",
                    next_step="start labgrid-exporter there again, and repeat the command",
                ) from error
            raise
        held.check()
        if (gone := held.gone()) and gone != self._told_gone:
            self._told_gone = gone
            self._settings.progress.say(f"labgrid:{self._place}: {gone}; the board still answers")
        return result

    def _resource(self, wait_s: float) -> Resource:
        """The thing at the place that the board is reached by. Takes the place."""
        if self._held is None:
            settings = self._settings
            self._held, self._give_back = hold(self._place, settings.cache, settings.progress, wait_s)
        return self._chosen(self._held)

    def _chosen(self, held: HeldPlace) -> Resource:
        kinds = (_SSH,) if self._profile.mcu is None else (_PORT, _LOCAL_PORT)
        name = self._options.get("resource")
        fitting = [item for item in held.resources if item.kind in kinds and name in (None, item.name)]
        if not fitting:
            there = ", ".join(f"{item.name} ({item.kind})" for item in held.resources)
            raise ToolMissingError(
                f"the labgrid place has no {' and no '.join(kinds)}{f' of the name {name!r}' if name else ''}",
                where=f"labgrid:{self._place}",
                got=there or "nothing",
                next_step=f"labgrid-client -p {held.name} add-match EXPORTER/GROUP/{kinds[0]}",
            )
        if len(fitting) > 1:
            raise TargetError(
                f"the labgrid place has several of {' and '.join(kinds)}",
                where=f"labgrid:{self._place}",
                got=", ".join(item.name for item in fitting),
                expected=f"labgrid:{self._place}?resource=NAME",
            )
        if not fitting[0].there:
            raise ToolMissingError(
                f"the exporter of the labgrid place does not have its {fitting[0].kind} now",
                where=f"labgrid:{self._place}",
                got=fitting[0].name,
                next_step="see that its labgrid-exporter runs, and that the board is connected and on",
            )
        return fitting[0]

    # -- the board -----------------------------------------------------------------------------------------------

    def _made(self, resource: Resource) -> SshDevice | SerialDevice:
        held = self._held
        assert held is not None
        facts = replace(self._facts, name=self._facts.name or held.name)
        if resource.kind == _SSH:
            return SshDevice(self._session(resource), self._profile, self._settings, facts=facts)
        scheme, address = self._line(resource)
        return open_port(scheme, address, self._profile, self._settings, facts)

    def _session(self, resource: Resource) -> BoardSession:
        params = resource.params
        host, user, port = params.get("address"), params.get("username"), params.get("port", 22)
        if not (isinstance(host, str) and isinstance(user, str) and isinstance(port, int)) or "%" in host:
            raise self._unusable(f"{host!r}, {user!r}, {port!r}")
        # What a laboratory's server says is checked as what a person writes is.
        address = parse_address(SshAddress(host=host, user=user, port=port).url)
        return BoardSession(address, self._settings.cache, self._settings.progress, config=self._config)

    def _line(self, resource: Resource) -> tuple[str, str]:
        """Kind and address of a port, as ``devices.serial`` takes them."""
        params, reset = resource.params, self._options.get("reset")
        host, port, speed = params.get("host"), params.get("port"), params.get("speed", 115200)
        options = {"baud": str(speed), **({"reset": reset} if reset else {})}
        if resource.kind == _LOCAL_PORT and isinstance(port, str) and port.startswith("/dev/") and "?" not in port:
            return "serial", f"//{port}?{urlencode(options)}"
        scheme = _SCHEMES.get(str(params.get("protocol", "rfc2217")))
        usable = isinstance(host, str) and isinstance(port, int) and 0 < port < 1 << 16 and _HOST.fullmatch(host)
        if not usable or not scheme or resource.extra.get("proxy_required"):
            raise self._unusable(f"{host!r}, {port!r}, {params.get('protocol')!r}")
        return scheme, f"//{f'[{host}]' if ':' in str(host) else host}:{port}?{urlencode(options)}"

    def _unusable(self, got: str) -> ToolMissingError:
        return ToolMissingError(
            "the labgrid place has no address that can be reached from here",
            where=f"labgrid:{self._place}",
            got=got,
            expected="a host and a port; what only its exporter reaches (a proxy, its own interface) is not tried",
        )


class _SpeakingPlace(PlaceDevice):
    """A microcontroller, which also writes texts."""

    def speak(
        self, model: Path, runtime: str, prompt: Sequence[int], count: int, *, seed: int, temperature: float
    ) -> Iterator[int]:
        """See devices.device.Speaks."""
        self.take(WAIT_S)
        board = self._board
        assert isinstance(board, SerialDevice)
        yield from board.speak(model, runtime, prompt, count, seed=seed, temperature=temperature)


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``labgrid:PLACE``. Raises as ``open_place``."""
    return open_place(address, profile, settings, BoardFacts())


def open_place(
    address: str, profile: TargetProfile, settings: DeviceSettings, facts: BoardFacts, config: Path | None = None
) -> PlaceDevice:
    """The board at a place; nothing is asked before its first call.

    Args:
        config: a configuration file of the ssh client; None: the user's own.

    Raises:
        TargetError: no place's name, or an unknown option.
    """
    made = PlaceDevice if profile.mcu is None else _SpeakingPlace
    return made(address, profile, settings, facts, config)


def _read(address: str) -> tuple[str, dict[str, str]]:
    place, _, query = address.partition("?")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        options = {"": query}
    if not _PLACE.fullmatch(place) or not options.keys() <= {"resource", "reset"}:
        raise TargetError("not the name of a labgrid place", got=f"labgrid:{address}", expected=_EXPECTED)
    return place, options
