"""``ssh://user@board[:port]``: a real board. Its own clock, its own kernels, and a process for every measurement.

A board that is no real machine (an emulated one) gives outputs and no times.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.board_state import BoardState, watch
from edgegen.devices.device import Clocked, Device, DeviceSettings, Identity, Reading
from edgegen.devices.energy import Energy, Meter, board_meter, measure_energy
from edgegen.devices.qemu_user.tensor_file import read_tensors, write_tensors
from edgegen.devices.run_folder import run_folder
from edgegen.devices.ssh.kit import Kit, make_kit
from edgegen.devices.ssh.look import Look, check_look, name_of, notes_of
from edgegen.devices.ssh.session import INPUTS, OUTPUTS, BoardJob, BoardSession, Ran
from edgegen.devices.ssh.shared import release, share
from edgegen.links.ssh import LinkLostError, parse_address

PROCESSES, RUNS = 7, 30
"""Processes that a wall-clock verdict rests on, and warm inferences of each."""

_TIMEOUT_S = 600.0
_ATTEMPTS = 3
# Exit statuses of the runner (eg_report.h), and of a shell that reports a signal.
_REFUSED_INPUT, _REFUSED_MODEL, _NO_RUNTIME, _NO_MEMORY = 2, 3, 4, 5
_CANNOT_START = (126, 127)
_SIGNALS = {132: "SIGILL", 134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 139: "SIGSEGV"}
_KILLED = 137
_SAID_BY_RUNNER = "eg-runner: "
_MAX_NS = 1 << 62

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """What one process of the runner took, by its own clock."""

    runs_ns: tuple[int, ...]  # the first one cold
    cold_ns: int
    stream_ns: int
    stream_cpu_ns: int
    peak_bytes: int
    states: tuple[BoardState, BoardState]


class _KilledError(LinkLostError):
    """The runner was killed there: by a person, a plug, or for want of memory. Another attempt tells."""


class SshDevice:
    """A board. May be shared between threads: calls wait for each other."""

    def __init__(
        self,
        session: BoardSession,
        profile: TargetProfile,
        settings: DeviceSettings,
        *,
        facts: BoardFacts | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._session = share(session, settings.cache)
        self._profile = profile
        self._settings = settings
        self._facts = facts or BoardFacts()
        self._timeout_s = timeout_s
        self._closed = False
        self._kit: Kit | None = None
        self._look: Look | None = None

    def take(self, wait_s: float) -> None:
        """Connects and takes the board now, if it is free within so long. Raises as ``BoardSession.open``."""
        self._session.open(wait_s)

    def identity(self) -> Identity:
        """See Device. Connects and takes the board at the first call."""
        look, kit = self._looked(), self._made_kit()
        emulated = self._emulated(look)
        core = name_of(look, self._profile)
        return Identity(
            kind="ssh",
            core=f"{self._facts.name} ({core})" if self._facts.name else core,
            isa=self._profile.isa,
            emulated=emulated,
            gives=frozenset() if emulated else frozenset({"measured"}),
            tools={
                **kit.versions,
                "board": self._facts.name or self._session.url,
                "board-kernel": look.kernel,
                "board-core": sha256_json([look.model, *look.codes()]),
            },
            notes=notes_of(look),
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        self._looked()
        kit = self._kit_for(runtime)
        with run_folder() as folder:
            write_tensors(folder / INPUTS, inputs)
            self._again(lambda: self._infer(kit, self._job(model, runtime, folder, runs=0)))
            return read_tensors(folder / OUTPUTS)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: several processes, each with warm inferences of its own, the board's state around each."""
        if self._emulated(self._looked()):
            return Reading(counted=None, clocked=None, peak_ram_bytes=None)
        kit = self._kit_for(runtime)
        first = {name: array[:1] for name, array in inputs.items()}
        with run_folder() as folder, board_meter(self._facts, self._settings.progress) as meter:
            write_tensors(folder / INPUTS, first)
            job = self._job(model, runtime, folder, runs=1 + RUNS)
            count = self._settings.processes or PROCESSES
            processes = [self._again(lambda: self._process(kit, job)) for _ in range(count)]
            energy = None if meter is None else self._energy(kit, job, meter, processes)
        waited = [1 - min(1.0, item.stream_cpu_ns / item.stream_ns) for item in processes if item.stream_ns]
        states = [state for item in processes for state in item.states]
        return Reading(
            counted=None,
            clocked=Clocked(
                first_ms=statistics.median(item.runs_ns[0] for item in processes) / 1e6,
                processes_ms=tuple(tuple(ns / 1e6 for ns in item.runs_ns[1:]) for item in processes),
                cold_start_ms=statistics.median(item.cold_ns for item in processes) / 1e6,
                stream_per_s=statistics.median(RUNS * 1e9 / max(1, item.stream_ns) for item in processes),
            ),
            peak_ram_bytes=max(item.peak_bytes for item in processes),
            board=watch(self._facts.name or self._session.url, states, waited),
            energy=energy,
        )

    def close(self) -> None:
        """Gives the board back, unless another device of this process has it. Safe to call twice."""
        if not self._closed:
            self._closed = True
            release(self._session, self._settings.cache)

    # -- the board -----------------------------------------------------------------------------------------------

    def _emulated(self, look: Look) -> bool:
        return self._facts.emulated or bool(look.emulated)

    def _looked(self) -> Look:
        if self._look is None:
            look = self._again(self._session.look)
            check_look(look, self._profile, self._session.url)
            self._look = look
        return self._look

    def _made_kit(self) -> Kit:
        if self._kit is None:
            settings = self._settings
            self._kit = make_kit(self._profile, settings.cache, offline=settings.offline, progress=settings.progress)
        return self._kit

    def _kit_for(self, runtime: str) -> Kit:
        kit = self._made_kit()
        if runtime not in kit.runtimes:
            raise BuildError(
                f"{runtime} cannot be put on a board of {self._profile.name}",
                got=runtime,
                expected=f"one of {', '.join(sorted(kit.runtimes))}",
                next_step="leave its formats out of [export], or build where the runtime is installed",
            )
        return kit

    def _again(self, attempt: Callable[[], T]) -> T:
        """The attempt, repeated on a new connection where the old one was lost."""
        for number in range(1, _ATTEMPTS):
            try:
                return attempt()
            except LinkLostError as error:
                said = f"{error.what}{f' ({error.got})' if error.got else ''}"
                self._settings.progress.say(f"{self._session.url}: {said}; attempt {number + 1} of {_ATTEMPTS}")
                self._session.close()
        try:
            return attempt()
        except _KilledError as error:
            raise BuildError(error.what, where=error.where, got=error.got, next_step=error.next_step) from error

    def _job(self, model: Path, runtime: str, folder: Path, *, runs: int) -> BoardJob:
        return BoardJob(
            runtime=runtime,
            model=model,
            inputs=folder / INPUTS,
            runs=runs,
            outputs=folder / OUTPUTS,
            timeout_s=self._timeout_s,
        )

    def _infer(self, kit: Kit, job: BoardJob) -> Ran:
        ran = self._session.infer(kit, job)
        if ran.status != 0:
            raise self._failure(job, ran)
        return ran

    def _energy(self, kit: Kit, job: BoardJob, meter: Meter, processes: Sequence[_Process]) -> Energy:
        warm_ns = statistics.median(ns for item in processes for ns in item.runs_ns[1:])

        def run(runs: int) -> None:
            self._infer(kit, replace(job, runs=runs))  # not again: a lost connection is energy that nobody asked for

        return measure_energy(meter, run, warm_ms=warm_ns / 1e6, least_runs=job.runs)

    def _process(self, kit: Kit, job: BoardJob) -> _Process:
        ran = self._infer(kit, job)
        report = self._parsed(job, ran)
        runs = report.get("runs_ns")
        named: list[Any] = [report.get(key) for key in ("cold_ns", "stream_ns", "stream_cpu_ns", "peak_resident_bytes")]
        if not isinstance(runs, list) or len(runs) != job.runs or not all(map(_is_amount, (*runs, *named))):
            raise self._garbage(job, ran.report)
        return _Process(
            runs_ns=tuple(runs),
            cold_ns=named[0],
            stream_ns=named[1],
            stream_cpu_ns=named[2],
            peak_bytes=named[3],
            states=(ran.before, ran.after),
        )

    def _parsed(self, job: BoardJob, ran: Ran) -> Mapping[str, Any]:
        try:
            report = json.loads(ran.report)
        except (ValueError, RecursionError):
            report = None
        if not isinstance(report, dict):
            raise self._garbage(job, ran.report)
        return report

    # -- who must act --------------------------------------------------------------------------------------------

    def _garbage(self, job: BoardJob, got: str) -> ToolMissingError:
        return ToolMissingError(
            "the runner's report from the board is not usable", where=self._where(job), got=repr(got[:200])
        )

    def _where(self, job: BoardJob) -> str:
        return f"{job.model.name} on {job.runtime}, {self._session.url}"

    def _failure(self, job: BoardJob, ran: Ran) -> BuildError | ToolMissingError:
        lines = ran.words.splitlines()
        said = [line.removeprefix(_SAID_BY_RUNNER) for line in lines if line.startswith(_SAID_BY_RUNNER)]
        got, where = said[-1] if said else ran.words.strip()[-400:], self._where(job)
        if ran.status in (_REFUSED_INPUT, _REFUSED_MODEL) and said:
            return BuildError(f"EG207, {job.runtime} refuses the model or its inputs", where=where, got=got)
        if ran.status == _NO_MEMORY and said:
            return BuildError("the inference ran out of memory or disk on the board", where=where, got=got)
        if ran.status == _NO_RUNTIME and said:
            return ToolMissingError(f"{job.runtime} is not usable on the board", where=where, got=got)
        if ran.status in _SIGNALS:
            return BuildError(
                f"{job.runtime} crashed on the board with {_SIGNALS[ran.status]}",
                where=where,
                got=got or None,
                next_step="try the model on the emulated core (--device qemu:); report it if it runs there",
            )
        if ran.status == _KILLED:
            return _KilledError(
                "the inference process was killed on the board",
                where=where,
                got=got or None,
                next_step="look whether its memory ran out (dmesg there says so), then repeat the command",
            )
        if ran.status in _CANNOT_START:
            return ToolMissingError(
                "the runner does not start on the board",
                where=where,
                got=got,
                next_step="check that the folder ~/.cache of the user there is not mounted noexec",
            )
        return ToolMissingError(f"the runner failed on the board with status {ran.status}", where=where, got=got)


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``ssh://user@board[:port]``.

    Raises:
        TargetError: the address is none.
    """
    session = BoardSession(parse_address(f"ssh:{address}"), settings.cache, settings.progress)
    return SshDevice(session, profile, settings)


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NS
