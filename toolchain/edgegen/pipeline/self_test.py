"""A bundle's golden vectors, run here or on a device: does this model still give what was proven?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import GOLDEN_ARRAYS, GOLDEN_RECORD
from edgegen.artifacts.parse import strict_json
from edgegen.bench.golden_check import GoldenOutput, check_golden, golden_inputs
from edgegen.core.cache import Cache
from edgegen.core.errors import IntegrityError, ToolMissingError
from edgegen.core.models import COMPILED
from edgegen.core.ports import Progress, Tensors
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.host import HostDevice, core_name
from edgegen.pipeline.opened_bundle import Opened, open_bundle
from edgegen_runtime.session import SESSIONS

_NO_PROFILE = "null"  # to run a model, this machine asks nothing of a profile: the bundle's own need not be known here


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTested:
    """Golden vectors that held."""

    core: str  # what they ran on
    samples: int
    outputs: tuple[GoldenOutput, ...]

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        outputs = [{"output": item.name, "apart": item.apart, "tolerance": item.tolerance} for item in self.outputs]
        return {"core": self.core, "samples": self.samples, "outputs": outputs}

    def said(self) -> str:
        """One clause for a person."""
        apart = ", ".join(f"{item.name} {item.apart:.3g} of {item.tolerance:.3g}" for item in self.outputs)
        return f"golden vectors: {self.samples} samples held on {self.core} ({apart} allowed)"


def self_test(
    bundle: Path, *, device: str | None, project: Path | None, cache: Cache, progress: Progress, offline: bool = False
) -> SelfTested:
    """Checks a bundle to the last byte and runs its golden vectors.

    Args:
        bundle: a build's folder, or the ``bundle/`` inside it.
        device: URL; None: this machine's own runtime, and for sources in C the target's own device, which is emulated.
        project: folder whose own profiles are known.

    Raises:
        UsageError: there is no bundle, or no such device.
        IntegrityError: the bundle does not hold, or an output lies further from the golden one than its tolerance.
        ToolMissingError: there is no runtime, emulator, compiler or device to run it with.
        BuildError: the runtime refuses the model.
    """
    opened = open_bundle(bundle)
    arrays = read_golden(opened.files[GOLDEN_ARRAYS])
    inputs = golden_inputs(arrays)
    progress.say(f"golden vectors of {opened.manifest.candidate}")
    if device is None and opened.manifest.format not in COMPILED:
        core, outputs = _here(opened, inputs)
    else:
        profile = load_target(opened.manifest.target, project)
        settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
        board = open_device(device or profile.device, profile, settings)
        try:
            core = board.identity().core
            outputs = board.run(opened.model, opened.manifest.runtime, inputs)
        finally:
            board.close()
    record = strict_json(opened.files[GOLDEN_RECORD].read_bytes(), GOLDEN_RECORD)
    checked = check_golden(record, arrays, outputs)
    for item in checked:
        if not item.kept:
            raise IntegrityError(
                "the model does not give what was proven: self-test failed",
                where=f"{opened.manifest.name} {opened.manifest.version}, output {item.name} on {core}",
                got=f"{item.apart:g} off",
                expected=f"at most {item.tolerance:g}",
                next_step="do not use it there; edgegen verify --self-test --device URL tries another device",
            )
    return SelfTested(core=core, samples=len(next(iter(inputs.values()))), outputs=checked)


def _here(opened: Opened, inputs: Tensors) -> tuple[str, Tensors]:
    runtime = opened.manifest.runtime
    if runtime not in SESSIONS:
        raise ToolMissingError(
            "the golden vectors cannot be run here",
            where=opened.manifest.model,
            got=f"the runtime {runtime}",
            expected=f"one of {', '.join(SESSIONS)}",
            next_step="name a device that has it with --device URL",
        )
    machine = HostDevice(load_target(_NO_PROFILE))
    return core_name(), machine.run(opened.model, runtime, inputs)
