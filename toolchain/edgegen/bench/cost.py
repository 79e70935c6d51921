"""One exported model on one device: outputs for every sample, and what an inference costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.bench.roofline import position_of
from edgegen.core.ports import Tensors
from edgegen.core.records import read_record, write_record
from edgegen.core.results import CountedCost, MeasuredLatency
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device, Identity, OperatorCost, Reading


def take_reading(device: Device, model: Path, runtime: str, inputs: Tensors) -> tuple[Tensors, dict[str, Any]]:
    """Outputs of every sample with the device's own kernels, and the JSON-ready reading of one inference.

    Raises:
        BuildError: the device's runtime refuses the model.
        ToolMissingError: the device failed.
    """
    outputs = device.run(model, runtime, inputs)
    reading = measure_named(device, model, runtime, {name: array[:1] for name, array in inputs.items()})
    return outputs, write_record(reading)


def measure_named(device: Device, model: Path, runtime: str, inputs: Tensors) -> Reading:
    """``device.measure``, its operators named by the model file. Raises as it does."""
    from edgegen.bench.operator_names import name_operators

    return name_operators(device.measure(model, runtime, inputs), model, runtime)


def read_reading(plain: Mapping[str, Any]) -> Reading:
    """A reading as ``take_reading`` stored it."""
    return read_record(Reading, plain, "", "reading")


def counted_cost(reading: Reading, macs: int | None, profile: TargetProfile | None = None) -> CountedCost | None:
    """The counted part as results show it, or None if nothing was counted.

    Args:
        profile: whose core's roof the operators are held against; None: none is.
    """
    counted = reading.counted
    if counted is None:
        return None
    operators = counted.per_operator
    return CountedCost(
        instructions=counted.instructions,
        instructions_median=counted.instructions_median,
        by_class=counted.by_class,
        bytes_loaded=counted.bytes_loaded,
        bytes_stored=counted.bytes_stored,
        macs=macs,
        per_operator=None if operators is None else tuple(_row(operator, profile) for operator in operators),
        unexplained_ratio=counted.unexplained_ratio,
    )


def _row(operator: OperatorCost, profile: TargetProfile | None) -> dict[str, Any]:
    """One operator of ``per_operator``; what is not known of it is left out."""
    row = {key: value for key, value in write_record(operator).items() if value is not None and value != {}}
    place = None if profile is None else position_of(row, profile)
    return row if place is None else row | {"roof_ratio": place.roof_ratio}


def measured_latency(reading: Reading, identity: Identity) -> MeasuredLatency | None:
    """Percentiles (nearest rank) of each process's inferences, median over the processes; None without a clock."""
    if reading.clocked is None:
        return None
    processes = [sorted(times) for times in reading.clocked.processes_ms]
    p50, p90, p99 = (
        statistics.median(_nearest_rank(times, percent) for times in processes) for percent in (50, 90, 99)
    )
    return MeasuredLatency(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        runs=len(processes),
        device=identity.core,
        processes_p50_ms=tuple(_nearest_rank(times, 50) for times in processes),
        first_ms=reading.clocked.first_ms,
        cold_start_ms=reading.clocked.cold_start_ms,
        stream_per_s=reading.clocked.stream_per_s,
        joules=None if reading.energy is None else reading.energy.joules,
        joules_interval=None if reading.energy is None else (reading.energy.low_j, reading.energy.high_j),
        board=None if reading.board is None else write_record(reading.board),
    )


def _nearest_rank(ordered: list[float], percent: int) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
