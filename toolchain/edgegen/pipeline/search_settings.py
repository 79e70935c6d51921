"""``[search]``: how long, where, and among what ``edgegen search`` looks. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.bench.front import COSTS
from edgegen.compress.steps import step_names
from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, setting
from edgegen.metrics.table import METRICS, STATISTICS
from edgegen.train.families import Output
from edgegen.train.tuning import check_storage

OBJECTIVES = (*COSTS, "quality", "task")
CLOSENESS: Mapping[Output, str] = {
    "image": "psnr_db_mean",
    "vector": "sqnr_db_mean",
    "logits": "kl_divergence_mean",
    "values": "sqnr_db_mean",
    "reconstruction": "sqnr_db_mean",
}
"""What a model gives -> the figure of closeness to the float model."""

TASK: Mapping[Output, str] = {
    "logits": "accuracy_ratio_mean",
    "values": "rmse_mean",
    "reconstruction": "auc_ratio_mean",
}
"""What a model gives -> the figure against what is true."""

TASK_OF_TOKENS = "perplexity_mean"

_WORST = {
    "psnr_db": 15.0,
    "sqnr_db": 5.0,
    "kl_divergence": 1.0,
    "cosine": 0.8,
    "ssim": 0.5,
    "top1_agreement_ratio": 0.5,
}
"""Closeness beyond which nothing is of use, where the project file names no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """A search for the recipes and settings that no others beat."""

    trials: int = setting(
        40,
        doc="trials altogether, by all processes, beside the plain presets and the project's recipes",
        minimum=0,
        maximum=100_000,
    )
    seconds: float | None = setting(None, doc="no trial is begun after so long", minimum=0)
    storage: str = setting(
        "build/search/journal.log",
        doc="journal file, from the project's folder, or a database's URL without a password in it (postgresql://...); "
        "processes and machines that name the same one share the search",
    )
    engine: Literal["local", "ray"] = setting(
        "local", doc="who runs the workers: processes of this machine, or a Ray cluster (RAY_ADDRESS, else a local one)"
    )
    workers: int = setting(1, doc="trials at once; the command itself is one of them", minimum=1, maximum=1024)
    steps: tuple[str, ...] = setting((), doc="compression steps that may be used; empty: all that fit the model")
    objectives: tuple[str, ...] = setting(
        ("instructions", "size", "peak_ram", "quality", "task"),
        doc=f"what is to be good, any of: {', '.join(OBJECTIVES)}; those of which nothing is known are left out, "
        "and a target that counts nothing is judged by its clock",
    )
    quality: str | None = setting(
        None, doc="figure of closeness to the float model, e.g. psnr_db_worst5; default: by what the model gives"
    )
    min_quality: float | None = setting(
        None, doc="worst value of that figure that is of use (of divergences the greatest); also its reference point"
    )
    max_task_loss: float = setting(
        0.1, doc="greatest relative loss of the task's figure that is of use", minimum=0.001, maximum=1
    )
    samples: int | None = setting(
        None, doc="inputs on which a trial is judged, none of the test part; default: as [quality] samples", minimum=2
    )
    first_samples: int = setting(8, doc="inputs on which it is judged first", minimum=1)
    short: float = setting(
        0.2, doc="part of the tuning steps that is done before a trial is judged first", minimum=0.01, maximum=1
    )
    startup: int = setting(10, doc="trials beside the presets that are drawn at random", minimum=1)


def read_search_settings(table: Mapping[str, Any], source: str) -> SearchSettings:
    """``[search]`` read strictly.

    Raises:
        UsageError: an unknown key, step, objective or figure, or a password in the storage's URL.
    """
    settings = read_record(SearchSettings, table, "search", source)
    check_storage(settings.storage, f"{source}, [search] storage")
    _known("steps", settings.steps, step_names(), source)
    _known("objectives", settings.objectives, OBJECTIVES, source)
    if len(settings.objectives) < 2 or not {"quality", "task"} & set(settings.objectives):
        raise UsageError(
            "there is nothing to weigh",
            where=f"{source}, [search] objectives",
            got=list(settings.objectives),
            expected="at least a cost, and quality or task",
        )
    if settings.quality is not None:
        _known("quality", (settings.quality,), closeness_figures(), source)
    return settings


def closeness_figures() -> tuple[str, ...]:
    """Every figure that compares with the float model and has limits."""
    return tuple(f"{name}_{statistic}" for name in _WORST for statistic in STATISTICS)


def worst_closeness(figure: str) -> float:
    """The limit of a figure of ``closeness_figures`` where the project file names none."""
    return _WORST[next(name for name in METRICS if name in _WORST and figure.startswith(name))]


def _known(key: str, written: tuple[str, ...], known: Any, source: str) -> None:
    for name in written:
        if name not in known:
            raise UsageError(
                f"the value of 'search.{key}' is not usable",
                where=source,
                got=name,
                expected=f"any of {', '.join(known)}{nearest(name, known)}",
            )
