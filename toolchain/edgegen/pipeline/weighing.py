"""What C costs on a device, as a stage: one inference, no operators told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgegen.bench.cost import read_reading
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.store import Blob
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import source_digest
from edgegen.devices.device import Device, Identity, Reading, Weighs
from edgegen.pipeline.model import load_inputs


def weigh_on(device: Device, model: Path, runtime: str, inputs: Mapping[str, Any]) -> Reading:
    """``Device.measure``, without operators where the device can leave them out. Raises as it does."""
    weigh = device.weigh if isinstance(device, Weighs) else device.measure
    return weigh(model, runtime, inputs)


def weighed(
    stages: Stages,
    library: Blob,
    inputs: Finished,
    profile: TargetProfile,
    identity: Identity,
    connect: Callable[[], Device],
) -> Reading:
    """What the first of the inputs costs.

    Raises:
        BudgetError: the device cannot hold it.
        BuildError: it does not compile or run.
        ToolMissingError: the device failed.
    """
    runtime = profile.runtimes["c"]
    stage = Stage(
        name=f"weigh C on {profile.name}",
        version=1,
        quiet=True,
        inputs={"model": library.sha256, "inputs": inputs.digest},
        settings={"runtime": runtime, "profile": profile.digest, "device": identity.kind},
        tools={**identity.tools, "edgegen": source_digest("devices", "bench")},
    )

    def work(_: Path) -> Mapping[str, Any]:
        rows = {name: array[:1] for name, array in load_inputs(inputs).items()}
        return {"reading": write_record(weigh_on(connect(), library.path, runtime, rows))}

    return read_reading(stages.run(stage, work).record["reading"])
