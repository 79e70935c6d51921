"""``qemu:`` the target's exact core under QEMU's user emulation, with its instructions counted.

Its clock and its resident memory are the host's and are never read: readings hold counted figures only.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgegen.core.errors import BuildError, TargetError, ToolMissingError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import WARM_RUNS, Counted, Device, DeviceSettings, Identity, Reading
from edgegen.devices.qemu_user import guest
from edgegen.devices.qemu_user.counts import Counts, Region, cheapest, median_instructions, read_counts
from edgegen.devices.qemu_user.frame import tensors_share
from edgegen.devices.qemu_user.operators import plan_of_onnxruntime
from edgegen.devices.qemu_user.partitions import plan_of_litert
from edgegen.devices.qemu_user.provision import Tools, provision
from edgegen.devices.qemu_user.steps import PerOperator, Plan, per_operator
from edgegen.devices.qemu_user.tensor_file import read_tensors, write_tensors
from edgegen.devices.qemu_user.toolbox import Toolbox
from edgegen.devices.run_folder import run_folder

# The first inferences still depend on what the heap went through while the model was loaded, which varies with the
# lengths of times printed there; from the fourth on all were equal in every process seen.
_WARM_UP = 4
_WARM = max(WARM_RUNS, 8)
_PROFILED_RUNS = 4
_PLAN_ATTEMPTS = 4  # now and then ONNX Runtime reads the clock once more, when the time has come for it
_TIMEOUT_S = 900.0
_PLANS = {"onnxruntime": plan_of_onnxruntime, "litert": plan_of_litert}


class QemuUserDevice:
    """An emulated core. May be shared between threads: every call has a guest and a folder of its own."""

    def __init__(self, profile: TargetProfile, settings: DeviceSettings, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._profile = profile
        self._settings = settings
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._tools: Tools | None = None

    def identity(self) -> Identity:
        """See Device. Sets the tools up at the first call."""
        tools = self._provisioned()
        return Identity(
            kind="qemu",
            core=tools.cpu,
            isa=self._profile.isa,
            emulated=True,
            gives=frozenset({"counted"}),
            tools=tools.versions,
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        tools = self._for_runtime(runtime)
        with run_folder() as folder:
            write_tensors(folder / guest.INPUTS, inputs)
            guest.run_guest(tools, self._job(model, runtime, runs=0, count=False), folder)
            read_counts(folder / guest.COUNTS, regions=0)
            return read_tensors(folder / guest.OUTPUTS)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: the fewest instructions of eight warm inferences of the first sample."""
        tools = self._for_runtime(runtime)
        first = {name: array[:1] for name, array in inputs.items()}
        plan = self._plan(tools, model, runtime, first)
        share = self._tensors_share(tools) if plan is not None and any(plan.tensors) else None
        counts, at, operators = self._count(tools, model, runtime, first, plan, share)
        if plan is not None and operators is None:
            self._settings.progress.say("no costs per operator: the guest does not come to their code as planned")
        best = counts.regions[at]
        warm = counts.regions[_WARM_UP:]
        counted = Counted(
            instructions=best.instructions,
            instructions_median=median_instructions(warm),
            by_class=best.by_class,
            bytes_loaded=best.bytes_loaded,
            bytes_stored=best.bytes_stored,
            runs=len(warm),
            per_operator=operators.costs if operators else None,
            unexplained_ratio=operators.frame.instructions / best.instructions if operators else None,
        )
        return Reading(
            counted=counted,
            clocked=None,
            peak_ram_bytes=counts.peak_bytes,
            peak_ram_growth_bytes=counts.growth_bytes,
        )

    def close(self) -> None:
        """Holds nothing: every guest has ended when its call returned."""

    def _count(
        self, tools: Tools, model: Path, runtime: str, sample: Tensors, plan: Plan | None, share: Region | None = None
    ) -> tuple[Counts, int, PerOperator | None]:
        """What the undisturbed guest counted, which inference was the cheapest warm one, and its operators' figures."""
        runs, watch = _WARM_UP + _WARM, () if plan is None else plan.addresses
        with run_folder() as folder:
            write_tensors(folder / guest.INPUTS, sample)
            guest.run_guest(tools, self._job(model, runtime, runs=runs, count=True, watch=watch), folder)
            read_tensors(folder / guest.OUTPUTS)
            counts = read_counts(folder / guest.COUNTS, regions=runs)
        at = counts.regions.index(cheapest(counts.regions[_WARM_UP:]), _WARM_UP)
        operators = None if plan is None else per_operator(plan, counts.regions, counts.steps, at, share)
        return counts, at, operators

    def _tensors_share(self, tools: Tools) -> Region | None:
        """What tensors take of ONNX Runtime's frame; None, and said so, where that cannot be counted."""

        def frame_of(path: Path) -> Region:
            sample = {"x": np.zeros((1, 4), np.float32)}
            plan = self._plan(tools, path, "onnxruntime", sample)
            operators = None if plan is None else self._count(tools, path, "onnxruntime", sample, plan)[2]
            if operators is None:
                raise ToolMissingError("a chain of operators is not come to as planned", where=path.name)
            return operators.frame

        toolbox = Toolbox(self._settings.cache, offline=self._settings.offline, progress=self._settings.progress)
        try:
            return tensors_share(toolbox, tools, frame_of)
        except (BuildError, ToolMissingError) as error:
            self._settings.progress.say(f"what a tensor takes of the runtime's frame is not known: {error.what}")
            return None

    def _plan(self, tools: Tools, model: Path, runtime: str, sample: Tensors) -> Plan | None:
        """A guest with the runtime's profiler on, which tells what its operators are and where in its code they begin.

        The guest that is counted is another one, and not disturbed by it.
        """
        make = _PLANS.get(runtime)
        if make is None:
            self._settings.progress.say(f"no costs per operator: {runtime} offers no profiler")
            return None
        job = self._job(model, runtime, runs=_PROFILED_RUNS, count=True, profile=True)
        try:
            for _ in range(_PLAN_ATTEMPTS):
                with run_folder() as folder:
                    write_tensors(folder / guest.INPUTS, sample)
                    guest.run_guest(tools, job, folder)
                    counts = read_counts(folder / guest.COUNTS, regions=_PROFILED_RUNS)
                    profiles = sorted(folder.glob(f"{guest.PROFILE_PREFIX}*.json"))
                    for clocks, blocks in zip(counts.clocks[::-1], counts.blocks[::-1], strict=True):
                        plan = make(profiles[0], clocks, blocks) if profiles else None
                        if plan is not None:
                            return plan
        except (BuildError, ToolMissingError) as error:
            self._settings.progress.say(f"no costs per operator: {error.what}")
            return None
        self._settings.progress.say("no costs per operator: the runtime's profile and its clock do not pair up")
        return None

    def _job(
        self,
        model: Path,
        runtime: str,
        *,
        runs: int,
        count: bool,
        profile: bool = False,
        watch: Sequence[int] = (),
    ) -> guest.Job:
        return guest.Job(
            runtime=runtime,
            model=model,
            runs=runs,
            count=count,
            profile=profile,
            watch=tuple(watch),
            timeout_s=self._timeout_s,
        )

    def _for_runtime(self, runtime: str) -> Tools:
        tools = self._provisioned()
        if runtime not in tools.runtimes:
            raise TargetError(
                f"the runtime {runtime!r} is not emulated for {self._profile.name}",
                expected=f"one of {', '.join(sorted(tools.runtimes))}",
            )
        return tools

    def _provisioned(self) -> Tools:
        with self._lock:
            if self._tools is None:
                self._tools = provision(
                    self._profile,
                    self._settings.cache,
                    offline=self._settings.offline,
                    progress=self._settings.progress,
                )
            return self._tools


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``qemu:`` takes no address.

    Raises:
        TargetError: an address was given, or the profile has no emulation.
    """
    if address:
        raise TargetError("qemu: takes no address", got=f"qemu:{address}", expected="qemu:")
    if profile.emulator is None or profile.board is None:
        raise TargetError(
            f"the target {profile.name!r} has no emulation", expected="[emulator] and [board] in its profile"
        )
    return QemuUserDevice(profile, settings)
