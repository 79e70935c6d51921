"""A microcontroller at the other end of a line: edgegen's firmware, or any device prepared for MLPerf Tiny.

A board of edgegen's counts its cycles (DWT); one of others tells microseconds (``infer``). An emulator that answers on
a socket is told by its counter: its time is virtual, so it gives outputs and no figure.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from edgegen.core.c_model import CModel
from edgegen.core.errors import BuildError, TargetError, ToolMissingError, UsageError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.board_lock import WAIT_S, take_board
from edgegen.devices.device import Clocked, Device, DeviceSettings, Identity, Kind, Reading
from edgegen.devices.energy import Energy, Meter, board_meter, measure_energy
from edgegen.devices.mcu.client import MAX_LINE_BYTES, Facts, McuClient
from edgegen.devices.mcu.firmware import BAUD, model_digest
from edgegen.devices.mcu.interface import lay_out, pack, read_interface, unpack
from edgegen.devices.mcu.speech import spoken
from edgegen.links.serial import LineLink, open_lines

RUNTIME = "edgegen-c"
_TIMEOUT_S = 60.0
_ROUNDS = 7  # loads and runs anew, in place of processes: what a wall-clock verdict rests on
_RUNS = 10  # inferences of each
_CYCLES = "dwt"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a device answers."""

    url: str  # as links.serial takes it
    baud: int
    reset: str  # wire that resets the board: dtr, rts, or empty


def read_address(scheme: str, rest: str) -> Address:
    """Of a device URL: ``serial:///dev/ttyACM0?baud=921600&reset=dtr``.

    Raises:
        TargetError: it names no port, or has an unknown or unusable option.
    """
    where = f"{scheme}:{rest}"
    try:
        parts = urlsplit(where)
        options = {key: values[-1] for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        baud = int(options.pop("baud", str(BAUD)))
    except ValueError as error:
        raise TargetError("not a device's address", got=where, expected=f"{scheme}://…?baud=115200") from error
    reset = options.pop("reset", "")
    if options or reset not in ("", "dtr", "rts") or not 1 <= baud <= 12_000_000:
        raise TargetError("not a device's address", got=where, expected="options baud=115200 and reset=dtr or rts")
    url = parts.path if scheme == "serial" and not parts.netloc else f"{scheme}://{parts.netloc}{parts.path}"
    if scheme == "serial" and (parts.netloc or not parts.path):
        raise TargetError("not a device's address", got=where, expected="serial:///dev/ttyACM0")
    return Address(url=url, baud=baud, reset=reset)


class SerialDevice:
    """One board, held against other jobs from the first call until it is closed. Not for sharing between threads."""

    def __init__(
        self,
        kind: str,
        address: Address,
        profile: TargetProfile,
        settings: DeviceSettings,
        *,
        timeout_s: float = _TIMEOUT_S,
        facts: BoardFacts | None = None,
    ) -> None:
        self._kind, self._address, self._profile, self._settings = kind, address, profile, settings
        self._timeout_s = timeout_s
        self._known = facts or BoardFacts()
        self._give_back: Callable[[], None] | None = None
        self._link: LineLink | None = None
        self._client: McuClient | None = None
        self._facts: Facts | None = None

    def take(self, wait_s: float) -> None:
        """Takes the board and connects, if it is free within so long.

        Raises:
            BusyError: another process has it.
            ToolMissingError: it does not answer.
        """
        if self._give_back is None:
            settings = self._settings
            self._give_back = take_board(settings.cache, self._address.url, settings.progress, wait_s=wait_s)
        self._connected()

    def identity(self) -> Identity:
        """See Device. Connects."""
        self._connected()
        facts = self._facts
        name, model = self._asked(lambda client: client.names())
        core = self._profile.core.name if self._profile.core else self._profile.name
        emulated = not self._is_board()
        gives: frozenset[Kind] = frozenset() if emulated else frozenset({"measured"})
        told = {"digest": facts.digest, "counter": facts.counter, "machine": facts.machine} if facts else {}
        note = "An emulator or a host answers there: its time is virtual, and nothing is measured"
        return Identity(
            kind=self._kind,
            core=f"{self._known.name + ', ' if self._known.name else ''}{core} ({name}, {model})",
            isa=self._profile.isa,
            emulated=emulated,
            gives=gives,
            tools={"firmware": name, "model": model, **told},
            notes=(note,) if emulated else (),
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device. Of MLPerf Tiny's devices the outputs are as exact as the device prints them."""
        with self._sources(model, runtime) as told:
            blocks = [pack(told, inputs, sample) for sample in range(len(next(iter(inputs.values()))))]
            if self._facts is None:
                return _of_floats(told, [self._asked(partial(_by_db, block=block)) for block in blocks])
            return unpack(told, [self._asked(partial(_by_block, block=block, told=told)) for block in blocks])

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: several rounds, each with a load and runs of its own."""
        with self._sources(model, runtime) as told:
            block, facts = pack(told, inputs, 0), self._facts
            if facts is not None and not self._is_board():
                return Reading(counted=None, clocked=None, peak_ram_bytes=None, arena_bytes=facts.arena_bytes)
            with board_meter(self._known, self._settings.progress) as meter:
                rounds = [self._asked(lambda client: self._round(client, block, told)) for _ in range(_ROUNDS)]
                energy = None if meter is None else self._energy(meter, block, rounds)
            stack = None if facts is None else self._asked(lambda client: client.stack_bytes())
            return Reading(
                counted=None,
                clocked=Clocked(first_ms=rounds[0][0], processes_ms=tuple(rounds)),
                peak_ram_bytes=None,
                arena_bytes=told.arena_bytes,
                stack_bytes=stack,
                energy=energy,
            )

    def speak(
        self, model: Path, runtime: str, prompt: Sequence[int], count: int, *, seed: int, temperature: float
    ) -> Iterator[int]:
        """Tokens that a model of sequences writes behind a prompt, each as soon as it comes.

        Raises:
            UsageError: the model is none of sequences, or the device is none of edgegen's.
        """
        with self._sources(model, runtime) as told:
            if self._facts is None:
                raise UsageError("only edgegen's firmware writes texts", where=self._address.url)
            yield from spoken(self._connected(), told, prompt, count, seed=seed, temperature=temperature)

    def close(self) -> None:
        """Closes the port, and gives the board back."""
        self._hang_up()
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = self._client = None

    def _is_board(self) -> bool:
        """Whether the time that it tells passes: firmware built for the chip, or one of others."""
        if self._known.emulated:
            return False
        facts, chip = self._facts, self._profile.silicon
        return facts is None or facts.counter == _CYCLES or (chip is not None and facts.machine == chip.machine)

    # -- one exchange --------------------------------------------------------------------------------------------

    def _round(self, client: McuClient, block: bytes, told: CModel) -> tuple[float, ...]:
        facts = self._facts
        if facts is None:
            client.db_load(block)
            return (client.infer(_RUNS, 1).microseconds / 1000 / _RUNS,)
        client.load(block)
        ticks = [client.run(told.output_bytes)[1] for _ in range(_RUNS)]
        return tuple(1000 * max(0, count - facts.overhead) / facts.hz for count in ticks)

    def _energy(self, meter: Meter, block: bytes, rounds: Sequence[tuple[float, ...]]) -> Energy:
        """What an inference takes: two commands ``infer`` that differ in their number, each between two samples."""
        client = self._connected()
        client.db_load(block)
        warm_ms = statistics.median(ms for times in rounds for ms in times)

        def run(runs: int) -> None:
            client.infer(runs, 0, attempts=1)  # not again: a lost line is energy that nobody asked for

        return measure_energy(meter, run, warm_ms=warm_ms, least_runs=1)

    def _asked(self, ask: Callable[[McuClient], T]) -> T:
        """``ask``; once more on a new connection where the first one fails."""
        try:
            return ask(self._connected())
        except ToolMissingError as error:
            self._settings.progress.say(f"{self._address.url}: {error.what}; connecting again")
            self._hang_up()
            return ask(self._connected())

    def _connected(self) -> McuClient:
        if self._give_back is None:
            self.take(WAIT_S)
        if self._client is None:
            self._link = open_lines(
                self._address.url,
                baud=self._address.baud,
                timeout_s=self._timeout_s,
                max_line_bytes=MAX_LINE_BYTES,
                progress=self._settings.progress,
            )
            client = McuClient(self._link, timeout_s=self._timeout_s, name=self._address.url)
            try:
                if self._address.reset:
                    self._link.pulse(self._address.reset)
                client.synchronize()
                self._facts = client.facts()
            except BaseException:
                self._hang_up()
                raise
            self._client = client
        return self._client

    @contextlib.contextmanager
    def _sources(self, model: Path, runtime: str) -> Iterator[CModel]:
        """What the exported model tells, once it is known that the device runs it."""
        if runtime != RUNTIME:
            raise TargetError(f"a microcontroller has no runtime {runtime!r}", expected=RUNTIME)
        self._connected()
        with tempfile.TemporaryDirectory(prefix="edgegen-sources-") as folder:
            sources = lay_out(model, Path(folder))
            told = read_interface(sources)
            if self._facts is not None and self._facts.digest != model_digest(sources):
                raise ToolMissingError(
                    "the device runs the firmware of another model",
                    where=self._address.url,
                    got=self._facts.digest,
                    expected=model_digest(sources),
                    next_step=f"edgegen flash --target {self._profile.name}",
                )
            yield told


def _by_db(client: McuClient, block: bytes) -> tuple[float, ...]:
    client.db_load(block)
    return client.infer(1, 0).results


def _by_block(client: McuClient, block: bytes, told: CModel) -> bytes:
    client.load(block)
    return client.run(told.output_bytes)[0]


def _of_floats(told: CModel, rows: list[tuple[float, ...]]) -> Tensors:
    """Outputs of a device that prints them, in the order of the model's outputs."""
    import numpy as np

    sizes = [int(np.prod(tensor.shape)) for tensor in told.outputs]
    if any(len(row) != sum(sizes) for row in rows):
        raise BuildError(
            "the device gives another number of results than the model has",
            got=sorted({len(row) for row in rows}),
            expected=sum(sizes),
        )
    array, begin, found = np.array(rows, np.float32), 0, {}
    for tensor, size in zip(told.outputs, sizes, strict=True):
        found[tensor.name] = array[:, begin : begin + size].reshape(len(rows), *tensor.shape[1:])
        begin += size
    return found


def open_port(
    kind: str, address: str, profile: TargetProfile, settings: DeviceSettings, facts: BoardFacts | None = None
) -> SerialDevice:
    """The board at a port. Raises as ``open_serial``."""
    if profile.mcu is None:
        raise UsageError(f"{kind}: is for microcontrollers", where=profile.name, next_step="reach Linux boards by ssh:")
    return SerialDevice(kind, read_address(kind, address), profile, settings, facts=facts)


def open_serial(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``serial:///dev/ttyACM0``. Raises as ``read_address``, and UsageError for a target that is no microcontroller."""
    return open_port("serial", address, profile, settings)


def open_rfc2217(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``rfc2217://host:port``. Raises as ``open_serial``."""
    return open_port("rfc2217", address, profile, settings)


def open_socket(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``socket://host:port``. Raises as ``open_serial``."""
    return open_port("socket", address, profile, settings)
