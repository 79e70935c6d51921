"""The targets of a search, held open: what a trial is tried on, and what is to be good there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edgegen.bench.front import (
    COSTS,
    Figures,
    Objective,
    cost_objective,
    quality_objective,
    task_objective,
)
from edgegen.core.errors import ToolMissingError, UsageError
from edgegen.core.models import COMPILED
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device, DeviceSettings, Identity, open_device
from edgegen.metrics.table import METRICS
from edgegen.pipeline.make import Maker
from edgegen.pipeline.order import Order
from edgegen.pipeline.probes import asking
from edgegen.pipeline.prove import parents_on_host
from edgegen.pipeline.search_compiled import quantized_figures
from edgegen.pipeline.search_settings import CLOSENESS, TASK, TASK_OF_TOKENS, SearchSettings, worst_closeness
from edgegen.pipeline.search_space import Space
from edgegen.pipeline.search_trial import Judge
from edgegen.pipeline.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """One target of a search."""

    order: Order
    identity: Identity
    maker: Maker
    judge: Judge
    connect: Callable[[], Device]
    objectives: tuple[Objective, ...]

    @property
    def profile(self) -> TargetProfile:
        """The target's profile."""
        return self.order.profile


@contextmanager
def opened(
    ordered: Order, space: Space, model: Subject, settings: SearchSettings, device: DeviceSettings
) -> Iterator[Stand]:
    """The target's device and the figures of its float models, for the length of the block.

    Raises:
        ToolMissingError: the device is not there, or gives no figure of what is to be good.
    """
    with ExitStack() as stack:

        def open_on(profile: TargetProfile) -> Device:
            return model.driven(open_device(ordered.device_url, profile, device))

        def connect() -> Device:
            found = open_on(ordered.profile)
            stack.callback(found.close)
            return found

        one = connect()
        identity = one.identity()
        if "measured" in identity.gives and settings.workers > 1:
            raise UsageError(
                "a clock wants the machine for itself",
                where="[search] workers",
                got=settings.workers,
                expected=f"1 for {ordered.requested}, whose latency is measured",
            )
        probes = stack.enter_context(asking(ordered, identity, model, model.stages, lambda: one))
        maker = Maker(model, device.progress, probes)
        parents = {
            point["format"]: space.planned(point, ordered.profile)
            for point in space.parents()
            if not space.planned(point, ordered.profile).not_built
        }
        presets = [space.planned(point, ordered.profile) for point in space.presets()]
        on_host = parents_on_host(maker, presets)
        if not parents and not on_host:
            raise ToolMissingError(
                "no format of the project can be built for the target",
                where=ordered.requested,
                got="; ".join(item.not_built for item in ordered.planned[:2]),
            )
        inputs = model.validation(samples_of(settings, ordered))
        judge = Judge(maker, ordered.profile, identity, lambda: one, inputs, parents, on_host)
        known: list[Figures] = []
        for planned in parents.values():
            made = judge.made(planned)
            quality = judge.quality(planned, made, judge.samples)
            known.append({**judge.cost(planned, made), "quality": quality})
        if on_host and not COMPILED & parents.keys():
            known += quantized_figures(judge, presets, open_on, judge.samples)
        objectives = _objectives(settings, model, known)
        if sum(item.name in COSTS for item in objectives) == 0 or len(objectives) < 2:
            raise ToolMissingError(
                "nothing is known of what is to be good",
                where=f"[search] objectives on {ordered.requested}",
                got=", ".join(item.name for item in objectives) or "no figure",
                expected=", ".join(settings.objectives),
            )
        yield Stand(order=ordered, identity=identity, maker=maker, judge=judge, connect=connect, objectives=objectives)


def samples_of(settings: SearchSettings, ordered: Order) -> int:
    """How many inputs a trial is judged on."""
    return settings.samples or ordered.project.quality.samples


def _objectives(settings: SearchSettings, model: Subject, parents: Sequence[Figures]) -> tuple[Objective, ...]:
    found: list[Objective | None] = []
    for name in settings.objectives:
        if name == "quality":
            figure = settings.quality or CLOSENESS[model.output]
            worst = worst_closeness(figure) if settings.min_quality is None else settings.min_quality
            found.append(quality_objective(figure, worst))
        elif name == "task":
            figure = TASK_OF_TOKENS if model.family is not None and model.family.tokens else TASK.get(model.output, "")
            metric = METRICS.get(figure.rpartition("_")[0])
            if metric is not None:
                found.append(task_objective(figure, metric.better, settings.max_task_loss, parents))
        else:
            wanted = cost_objective(name, parents)
            # A machine with a clock counts nothing: there the clock says what instructions say elsewhere.
            found.append(wanted or (cost_objective("latency", parents) if name == "instructions" else None))
    return tuple({item.name: item for item in found if item is not None}.values())
