"""Counted instructions to predicted milliseconds, through the cost model of the target's profile."""

from __future__ import annotations

from edgegen.core.results import CountedCost, Prediction
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Counted


def predict(counted: Counted | CountedCost, profile: TargetProfile) -> Prediction | None:
    """Milliseconds of one inference with their band, or None where the profile has no cost model.

    cycles = sum over classes of instructions x cycles per instruction; milliseconds = 1000 x cycles / clock in Hz.
    The band is the model's own (``low_ratio``, ``high_ratio``). This is never a measurement.
    """
    model = profile.cost_model
    if model is None:
        return None
    cycles = sum(count * model.cycles[name] for name, count in sorted(counted.by_class.items()))
    latency_ms = 1000.0 * cycles / model.frequency_hz
    return Prediction(
        latency_ms=latency_ms,
        low_ms=latency_ms * model.low_ratio,
        high_ms=latency_ms * model.high_ratio,
        model=f"counted instructions x cycles per class / {model.frequency_hz / 1e9:g} GHz ({profile.name})",
        origin=model.origin,
    )
