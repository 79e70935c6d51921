"""``edgegen bench --calibrate``: a device's clock over generated models, and a cost model fitted to it.

With an energy monitor in its supply it gives the watts too, which are an energy model.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.bench.calibrate import Fit, Timed, fit_cycles
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, StorageError, TargetError
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.core.targets import (
    INSTRUCTION_CLASSES,
    TARGET_NAME,
    CostModel,
    EnergyModel,
    TargetProfile,
    load_target,
    target_names,
)
from edgegen.core.whole_file import replace_file
from edgegen.devices.device import Device, DeviceSettings, Identity, open_device
from edgegen.pipeline.bench_models import calibration_models
from edgegen.pipeline.work import work_of

_RUNTIME = "onnxruntime"
# Where the profile has no cost model and its instructions are not counted: nanoseconds of a core of about 3 GHz.
_WORK_PRIOR = {"float_mac": 0.05, "int8_mac": 0.03, "weight_byte": 0.02, "element": 0.3, "operator": 500.0}
_WORK_HZ = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A fitted cost model and what it was fitted to."""

    profile: TargetProfile  # with the new cost model, and the new energy model where the device has a monitor
    timed: tuple[Timed, ...]
    fit: Fit
    saved: Path | None

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        models = [
            {"name": item.name, "measured_ms": item.measured_ms, "ratio_left_out": self.fit.ratios[item.name]}
            for item in self.timed
        ]
        return {
            "schema_version": 1,
            "target": self.profile.name,
            **self._fitted(),
            "models": models,
            "saved": None if self.saved is None else str(self.saved),
        }

    def table(self) -> str:
        """The models as a profile's file spells them."""
        return profile_toml(self._fitted())

    def _fitted(self) -> dict[str, Any]:
        """The cost model, and the energy model where there is one."""
        assert self.profile.cost_model is not None
        power = self.profile.energy_model
        told = {"cost_model": write_record(self.profile.cost_model)}
        return told if power is None else told | {"energy_model": write_record(power)}


def calibrate(
    target: str,
    *,
    device: str | None,
    project: Path | None,
    save: str | None,
    cache: Cache,
    progress: Progress,
    offline: bool = False,
) -> Calibration:
    """Measures generated models on a device with a clock and fits the target's cost model to the times.

    Args:
        device: URL of a device that measures; None is the profile's own.
        project: folder whose own profiles are known, and where ``save`` goes.
        save: name of a profile of the project's own to write: the target's with the fitted cost model.

    Raises:
        TargetError: the device has no clock, or the name is taken or no name.
        ToolMissingError: the device, or the emulator that counts, is not there.
    """
    profile = load_target(target, project)
    _check_name(save, project)
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
    clock = open_device(device or profile.device, profile, settings)
    try:
        identity = clock.identity()
        if "measured" not in identity.gives:
            raise TargetError(
                "the device has no clock to calibrate against",
                where=device or profile.device,
                got=identity.core,
                expected="a device that measures, e.g. host: on the target itself",
                next_step=f"edgegen bench --calibrate --target {target} --device URL",
            )
        timed, drawn = _time_all(clock, profile, settings)
    finally:
        clock.close()
    model, fit = _fitted(profile, timed, identity)
    power = _power(drawn, identity) if drawn else profile.energy_model
    fitted = replace(profile, cost_model=model, energy_model=power)
    return Calibration(profile=fitted, timed=timed, fit=fit, saved=_save(fitted, save, project))


def _time_all(
    clock: Device, profile: TargetProfile, settings: DeviceSettings
) -> tuple[tuple[Timed, ...], tuple[float, ...]]:
    """The models with their times, and the watts that each drew where the device has an energy monitor."""
    counter = open_device("qemu:", profile, settings) if profile.emulator else None
    timed, drawn = [], []
    try:
        with tempfile.TemporaryDirectory(prefix="edgegen-calibrate-") as folder:
            for name, path, sample in calibration_models(Path(folder)):
                settings.progress.say(f"calibrate: {name}")
                reading = clock.measure(path, _RUNTIME, sample)
                clocked = reading.clocked
                if clocked is None:
                    raise BuildError("the device gave no times", where=name)
                if reading.energy is not None:
                    drawn.append(watts_of(reading.energy.joules, clocked.processes_ms))
                timed.append(
                    Timed(
                        name=name,
                        counts=_counts(counter, path, sample),
                        # The quickest process's median: what the core can do, less what else the machine was doing.
                        measured_ms=min(statistics.median(times) for times in clocked.processes_ms),
                    )
                )
    finally:
        if counter is not None:
            counter.close()
    return tuple(timed), tuple(drawn)


def watts_of(joules: float, processes_ms: Sequence[Sequence[float]]) -> float:
    """Power of a warm inference: its joules over the median of its processes' medians, as ``p50_ms`` is."""
    return joules / (statistics.median(statistics.median(times) for times in processes_ms) / 1000)


def _power(drawn: tuple[float, ...], identity: Identity) -> EnergyModel:
    """The band from the model that draws least to the one that draws most, outwards to three digits."""
    low, high = float(f"{min(drawn) * 0.995:.3g}"), float(f"{max(drawn) * 1.005:.3g}")
    return EnergyModel(
        origin=f"an energy monitor in the supply of {identity.core}: {len(drawn)} generated models, lowest to highest",
        low_watts=low,
        high_watts=high,
    )


def _counts(counter: Device | None, path: Path, sample: Mapping[str, Any]) -> Mapping[str, float]:
    if counter is None:
        work = work_of(path)
        assert work is not None  # the generated models' shapes are fixed
        return work
    counted = counter.measure(path, _RUNTIME, sample).counted
    if counted is None:
        raise BuildError("the emulator counted nothing", where=path.name)
    return counted.by_class


def _fitted(profile: TargetProfile, timed: tuple[Timed, ...], identity: Identity) -> tuple[CostModel, Fit]:
    old, counted = profile.cost_model, profile.emulator is not None
    prior, frequency = _WORK_PRIOR, _WORK_HZ
    if counted and old is not None and old.basis == "instructions":
        prior, frequency = dict(old.cycles), old.frequency_hz
    elif counted:
        frequency = profile.core.clock_hz if profile.core and profile.core.clock_hz else _WORK_HZ
        prior = dict.fromkeys(INSTRUCTION_CLASSES, 1.0)
    fit = fit_cycles(timed, {name: max(price, 1e-6) for name, price in prior.items()}, frequency)
    version = identity.tools.get(_RUNTIME, "")
    said = (
        f"fitted on {identity.core}, onnxruntime {version}: one thread, {len(timed)} generated models, "
        f"measured / predicted of the model left out {fit.low_ratio:.2f} to {fit.high_ratio:.2f}"
    )
    model = CostModel(
        origin=said,
        frequency_hz=frequency,
        low_ratio=round(fit.low_ratio, 3),
        high_ratio=round(fit.high_ratio, 3),
        cycles={name: float(f"{price:.4g}") for name, price in fit.cycles.items()},
        basis="instructions" if counted else "work",
        stream_bytes_per_s=None if old is None else old.stream_bytes_per_s,
        stream_origin="" if old is None else old.stream_origin,
    )
    return model, fit


def _check_name(save: str | None, project: Path | None) -> None:
    if save is None:
        return
    if not TARGET_NAME.fullmatch(save):
        raise TargetError(
            "not a target's name", where="--save", got=save, expected="lower-case letters, digits, '.', '_' and '-'"
        )
    if project is None:
        raise TargetError("there is no project to save the profile in", next_step="name one with --project DIR")
    if save in target_names(project):
        raise TargetError("a target of that name exists", where="--save", got=save, expected="a new name")
    if (project / "targets").is_symlink():
        raise TargetError("the project's targets/ is a link", where=str(project / "targets"), expected="a folder")


def _save(profile: TargetProfile, name: str | None, project: Path | None) -> Path | None:
    if name is None or project is None:
        return None
    plain = write_record(replace(profile, name=name, title=f"{profile.title}, calibrated"))
    path = project / "targets" / name / "target.toml"
    try:
        replace_file(path, profile_toml(plain).encode())
    except OSError as error:
        raise StorageError("the profile cannot be written", where=str(path), got=error.strerror) from error
    load_target(name, project)
    return path


def profile_toml(plain: Mapping[str, Any]) -> str:
    """A profile's plain values as TOML: plain keys first, then a table each; nothing for what is not set."""
    lines = [f"{key} = {_value(item)}" for key, item in plain.items() if not _skipped(item)]
    for key, item in plain.items():
        if isinstance(item, Mapping) and item:
            inner = {name: value for name, value in item.items() if not isinstance(value, Mapping)}
            lines += ["", f"[{key}]"] + [
                f"{name} = {_value(value)}" for name, value in inner.items() if not _skipped(value)
            ]
            for name, value in item.items():
                if isinstance(value, Mapping) and value:
                    lines += ["", f"[{key}.{name}]"] + [f"{deep} = {_value(price)}" for deep, price in value.items()]
    return "\n".join(lines).strip() + "\n"


def _skipped(item: Any) -> bool:
    return item is None or item == "" or isinstance(item, Mapping)


def _value(item: Any) -> str:
    """JSON spells strings, whole and broken numbers, truth values and lists of them as TOML does."""
    return json.dumps(item, ensure_ascii=False)
