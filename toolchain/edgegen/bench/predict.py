"""Counts to predicted milliseconds and joules, through the models of the target's profile. Never a measurement.

Two things bound an inference: the instructions that the core carries out, and, where the weights do not fit the last
cache, the bytes that have to come from memory for every inference (decoding a language model a token at a time is
little else). The prediction is the greater of the two.

Energy follows from the milliseconds and a band of watts. Published figures of one microcontroller bear that out: the
four models of MLPerf Tiny, 5 to 700 ms long, draw powers within 9 % of each other in one submission, and within a
factor of 1.7 in four of them. They come with milliseconds and without counts: energy per instruction has no such base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgegen.core.results import CountedCost, EnergyPrediction, Prediction
from edgegen.core.targets import CostModel, EnergyModel, TargetProfile
from edgegen.devices.device import Counted


def predict(
    counted: Counted | CountedCost | None,
    profile: TargetProfile,
    *,
    weight_bytes: int | None = None,
    work: Mapping[str, float] | None = None,
) -> Prediction | None:
    """Milliseconds of one inference with their band, or None where the profile has no cost model for what is known.

    cycles = sum over classes of count x cycles[class]; milliseconds = 1000 x cycles / clock in Hz, but not less than
    1000 x ``weight_bytes`` / the rate at which memory gives them, where they do not fit the last cache. The band is the
    model's own (``low_ratio``, ``high_ratio``). With the milliseconds come the joules, where the profile has an energy
    model.

    Args:
        weight_bytes: size of the model's file, nearly all of which are weights that are read once an inference.
        work: what the file consists of by ``WORK_CLASSES``, for models that price that.
    """
    model = profile.cost_model
    if model is None:
        return None
    counts = _counts(model, counted, work)
    if counts is None:
        return None
    cycles = sum(count * model.cycles[name] for name, count in sorted(counts.items()))
    computing_ms = 1000.0 * cycles / model.frequency_hz
    streaming_ms = _streaming_ms(profile, weight_bytes)
    latency_ms = max(computing_ms, streaming_ms)
    priced = "the file's work" if model.basis == "work" else "counted instructions"
    said = f"{priced} x cycles per class / {model.frequency_hz / 1e9:g} GHz ({profile.name})"
    if streaming_ms > computing_ms:
        rate = f"{(model.stream_bytes_per_s or 0) / 1e9:g} GB/s"
        said = f"{weight_bytes} bytes of weights from memory at {rate} ({profile.name}; {model.stream_origin})"
    found = Prediction(
        latency_ms=latency_ms,
        low_ms=latency_ms * model.low_ratio,
        high_ms=latency_ms * model.high_ratio,
        model=said,
        origin=model.origin,
    )
    power = profile.energy_model
    return found if power is None else replace(found, energy=_energy(found, power, profile.name))


def _energy(latency: Prediction, power: EnergyModel, target: str) -> EnergyPrediction:
    """joules = milliseconds / 1000 x watts, end by end; the one in the middle is of the band's middle watts."""
    low_w, high_w = power.low_watts, power.high_watts
    return EnergyPrediction(
        joules=latency.latency_ms / 1000 * (low_w + high_w) / 2,
        low_j=latency.low_ms / 1000 * low_w,
        high_j=latency.high_ms / 1000 * high_w,
        model=f"predicted milliseconds x {low_w:g} to {high_w:g} W ({target})",
        origin=power.origin,
    )


def _counts(
    model: CostModel, counted: Counted | CountedCost | None, work: Mapping[str, float] | None
) -> Mapping[str, float] | None:
    if model.basis == "work":
        return work
    if model.basis == "total":
        return None if counted is None else {"instruction": float(counted.instructions)}
    # Instructions that nobody told apart have no price.
    return counted.by_class if counted is not None and counted.by_class else None


def _streaming_ms(profile: TargetProfile, weight_bytes: int | None) -> float:
    rate = profile.cost_model.stream_bytes_per_s if profile.cost_model else None
    cache = profile.core.last_cache_bytes if profile.core else None
    if rate is None or cache is None or weight_bytes is None or weight_bytes <= cache:
        return 0.0
    return 1000.0 * weight_bytes / rate
