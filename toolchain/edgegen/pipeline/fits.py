"""Compiled models that their device cannot hold: told before a model is trained where shapes alone tell it, and before
a firmware is built, with what would make them fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.cache import Cache
from edgegen.core.errors import BudgetError, BuildError, StorageError, UsageError
from edgegen.core.extent import Extent
from edgegen.core.models import COMPILED
from edgegen.core.ports import Progress, Silent
from edgegen.core.records import read_record, write_record
from edgegen.core.results import CandidateStatus
from edgegen.core.stages import Stage, Stages
from edgegen.core.targets import TargetProfile
from edgegen.pipeline.model import ModelMaker, tools
from edgegen.pipeline.order import Order
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.prove import Made
from edgegen.pipeline.subject import Subject
from edgegen.train.families import settings_key

if TYPE_CHECKING:
    from edgegen.export.c.fit import Needs

Lost = dict[str, tuple[CandidateStatus, str]]
_WIDE = "static-int16"  # the step whose activations have two bytes


def refuse_hopeless(planned: Sequence[Planned], model: Subject, profile: TargetProfile) -> tuple[list[Planned], Lost]:
    """The candidates that may fit, and why the others cannot, by the shapes of their layers: nothing is trained.

    Nothing that could fit is refused: weights are counted in the fewest bits of the recipe, layers as narrow as its
    steps can leave them, and of working memory no more than what one layer reads and makes.

    Raises:
        BudgetError: not one of them fits; tells of the one that is nearest to it.
    """
    hopeful: list[Planned] = []
    lost: Lost = {}
    reasons: list[tuple[float, BudgetError]] = []
    for item in planned:
        needed = None if item.not_built else least_needs_of(item, model, profile)
        reason = None if needed is None else _misfit(str(item.name), needed, profile, is_bound=True)
        if needed is None or reason is None:
            hopeful.append(item)
        else:
            lost[str(item.name)] = ("rejected", reason.paragraph())
            reasons.append((_excess(needed, profile), reason))
    if reasons and all(item.not_built for item in hopeful):
        raise min(reasons, key=lambda reason: reason[0])[1]
    return hopeful, lost


def least_needs_of(planned: Planned, model: Subject, profile: TargetProfile) -> Needs | None:
    """What a candidate takes of the device at the least; None where shapes alone do not tell.

    The model's data are prepared for it, because they decide shapes.
    """
    if planned.name.format not in COMPILED or profile.flash_bytes is None or not isinstance(model, ModelMaker):
        return None
    extent = _extent(planned, model)
    if extent is None:
        return None
    from edgegen.export.c.least import least_needs

    narrow = any(
        getattr(record, "bits", 8) == 4 or getattr(record, "dense", "") == "int4"
        for record in planned.settings.values()
    )
    return least_needs(
        extent,
        activation_bytes=2 if _WIDE in planned.format_steps else 1,
        dense_bits=4 if narrow else 8,
    )


def _extent(planned: Planned, model: ModelMaker) -> Extent | None:
    records = [planned.settings[step] for step in planned.torch_steps]
    family = model.project.family
    stage = Stage(
        name=f"extent of {'+'.join(planned.torch_steps) or 'the model'}",
        version=1,
        quiet=True,
        settings={
            **settings_key(family, model.settings),
            "steps": [[step, write_record(record)] for step, record in zip(planned.torch_steps, records, strict=True)],
        },
        tools=tools("torch", "train", "compress"),
    )

    def work(_: Any) -> Mapping[str, Any]:
        from edgegen.compress.least import least_settings
        from edgegen.train.extent import extent_of

        try:
            return {"extent": write_record(extent_of(family, least_settings(family, model.settings, records)))}
        except StorageError:
            raise
        except (BuildError, UsageError):
            return {"extent": None}  # training, or the step itself, will tell what is wrong

    found = model.stages.run(stage, work).record["extent"]
    return None if found is None else read_record(Extent, found, "extent", stage.name)


def refuse_unfit(made: Mapping[str, Made], profile: TargetProfile) -> tuple[dict[str, Made], Lost]:
    """The candidates that may fit, and why the others cannot.

    Constants and working memory alone are looked at: code and stack come on top, and the linker judges those.

    Raises:
        BudgetError: not one of them fits.
    """
    fitting: dict[str, Made] = {}
    lost: Lost = {}
    reason: BudgetError | None = None
    for name, item in made.items():
        needed = _needs(item)
        reason = None if needed is None else _misfit(name, needed, profile, is_bound=False)
        if reason is None:
            fitting[name] = item
        else:
            lost[name] = ("rejected", reason.paragraph())
    if reason is not None and not fitting:
        raise reason
    return fitting, lost


def unfit_for(made: Made, profile: TargetProfile) -> str:
    """Why a device cannot hold a compiled model; empty if it may."""
    needed = _needs(made)
    reason = None if needed is None else _misfit(str(made.planned.name), needed, profile, is_bound=False)
    return "" if reason is None else reason.paragraph()


def _needs(item: Made) -> Needs | None:
    from edgegen.export.c.fit import needs_of

    if item.planned.name.format not in COMPILED:
        return None
    (told,) = (step for step in item.exported.record["passes"] if "needs" in step["figures"])
    return needs_of(told["figures"]["needs"])


def _misfit(name: str, needed: Needs, profile: TargetProfile, *, is_bound: bool) -> BudgetError | None:
    from edgegen.export.c.fit import shortfall

    if profile.flash_bytes is None:
        return None
    missing, remedies = shortfall(needed, profile.flash_bytes, profile.memory_bytes)
    if not missing:
        return None
    return BudgetError(
        f"{name} does not fit the device",
        where=profile.name,
        got=f"at the least {missing}, before any training" if is_bound else missing,
        expected="both within the device's, with room for code and stack",
        next_step=remedies,
    )


def _excess(needed: Needs, profile: TargetProfile) -> float:
    """How many times too large; 1 would just fit."""
    assert profile.flash_bytes is not None
    return max(needed.flash_bytes / profile.flash_bytes, needed.ram_bytes / profile.memory_bytes)


def foretold(ordered: Order, *, cache: Cache | None = None, progress: Progress | None = None) -> Mapping[str, str]:
    """Why candidates of a build cannot fit its device, by name, before anything is built.

    Where a target runs compiled models, the data are prepared for it, because they decide shapes.

    Raises:
        BudgetError: none can.
        EdgegenError: whatever is wrong with the data.
    """
    if ordered.project.brought is not None or not any(item.name.format in COMPILED for item in ordered.planned):
        return {}
    cache, progress = cache or Cache(), progress or Silent()
    with cache.in_use():
        model = ModelMaker(ordered.project, ordered.settings, Stages(cache.store(), progress), cache, progress)
        _, lost = refuse_hopeless(ordered.planned, model, ordered.profile)
    return {name: reason for name, (_, reason) in lost.items()}
