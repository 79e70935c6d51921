"""``qemu:`` of a microcontroller: firmware on a whole emulated machine, its instructions counted exactly.

The machine's clock is virtual: an instruction takes 2^icount_shift nanoseconds, so ticks of the machine's counter are
instructions. Virtual time is never given as time: readings hold counted figures only.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, TargetError
from edgegen.core.ports import Tensors
from edgegen.core.targets import SYSTEM_OF_ISA, TargetProfile
from edgegen.devices.device import WARM_RUNS, Counted, DeviceSettings, Identity, OperatorCost, Reading
from edgegen.devices.mcu.client import Facts
from edgegen.devices.mcu.firmware import Firmware, Preset, build_firmware, model_digest, port_digest
from edgegen.devices.mcu.interface import lay_out, pack, unpack
from edgegen.devices.mcu.speech import paced, spoken
from edgegen.devices.mcu.wiring import wiring_of
from edgegen.devices.qemu_system.machine import Machine
from edgegen.devices.qemu_system.provision import Tools, provision
from edgegen.devices.run_folder import run_folder

RUNTIME = "edgegen-c"
_TIMEOUT_S = 300.0
_KEPT = 4  # firmwares and their machines: a plain and a profiled one of two models
_COUNTS_ITSELF = "minstret"


@dataclass(slots=True, kw_only=True)
class _Running:
    """A firmware, and the machine that runs it."""

    firmware: Firmware
    machine: Machine
    facts: Facts
    cleanup: contextlib.ExitStack


class QemuSystemDevice:
    """An emulated microcontroller. Not for sharing between threads."""

    def __init__(
        self,
        profile: TargetProfile,
        settings: DeviceSettings,
        *,
        timeout_s: float = _TIMEOUT_S,
        preset: Preset = "speed",
    ) -> None:
        assert profile.mcu is not None
        self._profile, self._mcu, self._settings = profile, profile.mcu, settings
        self._timeout_s, self._preset = timeout_s, preset
        self._tools: Tools | None = None
        self._running: dict[tuple[str, bool], _Running] = {}

    def identity(self) -> Identity:
        """See Device. Sets the tools up at the first call."""
        tools, profile = self._provisioned(), self._profile
        return Identity(
            kind="qemu",
            core=profile.core.name if profile.core else self._mcu.machine,
            isa=profile.isa,
            emulated=True,
            gives=frozenset({"counted"}),
            tools={
                "qemu-system": tools.qemu.version,
                "gcc": tools.compiler.version,
                "port": port_digest(),
                "preset": self._preset,
            },
            notes=(self._mcu.note,) if self._mcu.note else (),
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        running = self._ready(model, runtime, profiled=False)
        count = len(next(iter(inputs.values())))
        return unpack(running.firmware.model, [self._infer(running, inputs, sample)[0] for sample in range(count)])

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: instructions of every run are equal; flash and RAM are the firmware's, the stack's is painted."""
        return self._measured(model, runtime, inputs, self._operators(model, runtime, inputs))

    def weigh(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Weighs: half as long, for operators are told by a second firmware."""
        return self._measured(model, runtime, inputs, ())

    def _measured(self, model: Path, runtime: str, inputs: Tensors, operators: tuple[OperatorCost, ...]) -> Reading:
        running = self._ready(model, runtime, profiled=False)
        counts = [self._instructions(running, self._infer(running, inputs, 0)[1]) for _ in range(WARM_RUNS)]
        if len(set(counts)) != 1:
            raise BuildError(
                "the emulated core gives different counts for one input",
                where=self._profile.name,
                got=", ".join(map(str, sorted(set(counts)))),
                next_step="report it with the model: an inference must not depend on the one before",
            )
        explained = sum(cost.instructions for cost in operators)
        firmware, stack = running.firmware, running.machine.client.stack_bytes()
        return Reading(
            counted=Counted(
                instructions=counts[0],
                instructions_median=counts[0],
                by_class={},
                bytes_loaded=None,
                bytes_stored=None,
                runs=len(counts),
                per_operator=operators or None,
                unexplained_ratio=max(0.0, 1.0 - explained / counts[0]) if operators and counts[0] else None,
            ),
            clocked=None,
            peak_ram_bytes=firmware.footprint.ram_bytes + stack,
            arena_bytes=firmware.model.arena_bytes,
            flash_bytes=firmware.footprint.flash_bytes,
            model_flash_bytes=firmware.flash_bytes,
            stack_bytes=stack,
        )

    def speak(
        self, model: Path, runtime: str, prompt: Sequence[int], count: int, *, seed: int, temperature: float
    ) -> Iterator[int]:
        """Tokens that a model of sequences writes behind a prompt, each as soon as it comes over the serial line.

        Raises:
            UsageError: the model is none of sequences, or the prompt is empty.
        """
        running = self._ready(model, runtime, profiled=False)
        yield from spoken(
            running.machine.client, running.firmware.model, prompt, count, seed=seed, temperature=temperature
        )

    def pace(self, model: Path, runtime: str, context: int | None) -> tuple[int, int] | None:
        """See Paces."""
        running = self._ready(model, runtime, profiled=False)
        told = running.firmware.model
        if wiring_of(told) is None:
            return None
        found = paced(running.machine.client, told, context, running.facts.overhead)
        return self._of_ticks(running, found.prompt_ticks), self._of_ticks(running, found.written_ticks)

    def close(self) -> None:
        """Ends the machines."""
        while self._running:
            self._running.popitem()[1].cleanup.close()

    # -- one inference -------------------------------------------------------------------------------------------

    def _infer(self, running: _Running, inputs: Tensors, sample: int) -> tuple[bytes, int]:
        block, machine = pack(running.firmware.model, inputs, sample), running.machine
        machine.client.placed(block, lambda: machine.debugger.write(running.facts.place, block))
        return machine.client.run(running.firmware.model.output_bytes)

    def _instructions(self, running: _Running, ticks: int) -> int:
        """Exact, for a tick is less than an instruction, or one."""
        return self._of_ticks(running, max(0, ticks - running.facts.overhead))

    def _of_ticks(self, running: _Running, net: float) -> int:
        if running.facts.counter == _COUNTS_ITSELF:
            return int(net) >> self._mcu.icount_shift
        return round(net * 1_000_000_000 / (running.facts.hz << self._mcu.icount_shift))

    def _operators(self, model: Path, runtime: str, inputs: Tensors) -> tuple[OperatorCost, ...]:
        """By a firmware whose model tells the end of every operator, less what the telling takes."""
        running = self._ready(model, runtime, profiled=True)
        told = running.firmware.model.operators
        if not told:
            return ()
        _, ticks = self._infer(running, inputs, 0)
        ends = running.machine.client.profile(len(told))
        # All that an empty model's profile would have: the run's own overhead lies before the first end.
        begins = [0, *ends[:-1]]
        if any(end < begin for begin, end in zip(begins, ends, strict=True)) or ends[-1] > ticks:
            raise BuildError("the firmware's profile runs backwards", where=self._profile.name)
        return tuple(
            OperatorCost(
                name=operator.name, operator=operator.kind, instructions=self._instructions(running, end - begin)
            )
            for operator, begin, end in zip(told, begins, ends, strict=True)
        )

    # -- firmwares and machines ----------------------------------------------------------------------------------

    def _ready(self, model: Path, runtime: str, *, profiled: bool) -> _Running:
        if runtime != RUNTIME:
            raise TargetError(
                f"{self._profile.name} has no runtime {runtime!r}", expected=f"{RUNTIME}, which runs the format c"
            )
        tools = self._provisioned()
        with contextlib.ExitStack() as cleanup:
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="edgegen-sources-")))
            sources = lay_out(model, folder)
            key = (model_digest(sources), profiled)
            if key in self._running:
                if self._running[key].machine.alive:
                    return self._running[key]
                self._running.pop(key).cleanup.close()
            while len(self._running) >= _KEPT:
                self._running.pop(next(iter(self._running))).cleanup.close()
            self._running[key] = self._start(tools, sources, profiled=profiled)
            return self._running[key]

    def _start(self, tools: Tools, sources: Path, *, profiled: bool) -> _Running:
        with contextlib.ExitStack() as cleanup:
            folder = cleanup.enter_context(run_folder())
            firmware = build_firmware(
                self._profile,
                tools.compiler,
                sources,
                folder,
                preset=self._preset,
                profiled=profiled,
            )
            machine = Machine(tools.qemu, self._mcu, firmware.elf, folder, timeout_s=self._timeout_s)
            cleanup.callback(machine.close)
            facts = machine.client.facts()
            if facts is None or facts.digest != firmware.digest:
                raise BuildError("the emulated machine runs another firmware than the one that was built")
            return _Running(firmware=firmware, machine=machine, facts=facts, cleanup=cleanup.pop_all())

    def _provisioned(self) -> Tools:
        if self._tools is None:
            self._tools = provision(
                SYSTEM_OF_ISA[self._profile.isa],
                self._mcu,
                self._settings.cache,
                offline=self._settings.offline,
                progress=self._settings.progress,
            )
        return self._tools
