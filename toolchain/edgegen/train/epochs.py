"""Repeatable optimization: the same seed, data, settings and library give the same bits.

All randomness of an epoch comes from one generator seeded with (seed, epoch), and for modules that ask nobody (dropout)
from torch's own, seeded likewise. A checkpoint keeps the states of both with the weights, so a run that was killed at
any moment goes on exactly as if it had not been.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Progress
from edgegen.train.chance import batches_of, epoch_seed, restore, states
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint
from edgegen.train.families import WHOLE, Objective
from edgegen.train.hardware import Replicas, place
from edgegen.train.optimizers import Average, Mover, learn
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    LossOf = Callable[[Tensor, Generator, str], dict[str, Tensor]]
    Validate = Callable[[], float]

_REPORTS_PER_EPOCH = 10
_CHECKPOINT_SECONDS = 20.0
"""Longest time inside an epoch whose work a kill can cost; it changes no result."""


@contextmanager
def repeatable(threads: int, seed: int) -> Iterator[None]:
    """Deterministic kernels, a fixed number of threads and a seeded global generator; puts back what was before."""
    import torch

    # Without it torch refuses matrix products on a GPU while its kernels have to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def channels_last(model: nn.Module) -> nn.Module:
    """The model with its convolutions' weights channels last: half the time for small ones on x86, other rounding."""
    import torch

    moved: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return moved


@dataclass(slots=True)
class _Run:
    """Where a training stands. ``history`` holds finished epochs; the rest is of the present one."""

    history: list[dict[str, float]] = field(default_factory=list)
    batch: int = 0  # of the present epoch, done
    sums: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    noise: Any = None  # the generators' states inside an epoch
    best: float = math.inf
    best_epoch: int = -1
    best_model: Any = None

    def plain(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def optimize(
    model: nn.Module,
    loss_of: LossOf,
    samples: int,
    settings: TrainSettings,
    *,
    seed: int,
    task: str,
    progress: Progress,
    objectives: tuple[Objective, ...] = WHOLE,
    validate: Validate | None = None,
    watch: Callable[[int, Mapping[str, float]], None] | None = None,
    checkpoint: Path | None = None,
    key: str = "",
    here: Replicas | None = None,
) -> list[dict[str, float]]:
    """Trains ``model`` in place and gives each epoch's mean loss parts, ``validation`` among them where there is one.

    Args:
        loss_of: (indexes (batch,), noise, objective's name) -> the loss parts, the one named ``loss`` to minimize.
        task: what a person reads beside the bar.
        validate: the loss of the validation part; what early stopping looks at.
        watch: called after each epoch with its number and figures; may raise to end the run (a tuner's pruning).
        checkpoint: file written now and then and taken up if it carries ``key``; the caller removes it.

    Raises:
        UsageError: early stopping without a validation part.
        BuildError: the loss is not finite, or another process of the training has ended.
    """
    if settings.patience is not None and validate is None:
        raise UsageError(
            "early stopping has nothing to look at",
            where="[train] patience",
            got="no loss of a validation part",
            expected="[data.split] validation_ratio above 0, and a family whose loss tells of its quality",
            next_step="set it, or leave [train] patience out",
        )
    here = here or Replicas()
    learn(model)
    movers = [Mover(model, objective, settings) for objective in objectives]
    average = Average(model, settings.ema)
    run = _Run()
    # One process reads for all: on another machine the file may be absent, or of another moment.
    state = here.leaders(None if checkpoint is None or not here.leads else read_checkpoint(checkpoint, key, progress))
    if state is not None:
        model.load_state_dict(state["model"])
        for mover, kept in zip(movers, state["movers"], strict=True):
            mover.take_up(kept)
        average.take_up(state["average"])
        run = _Run(**state["run"])
        progress.say(f"{task}: going on after epoch {len(run.history)} of {settings.epochs}, batch {run.batch}")

    def save() -> None:
        if checkpoint is None or not here.leads:
            return
        write_checkpoint(
            checkpoint,
            key,
            {
                "model": model.state_dict(),
                "movers": [mover.state() for mover in movers],
                "average": average.state(),
                "run": run.plain(),
            },
        )

    epoch = _Epoch(model, loss_of, samples, settings, movers, average, here, seed, task, progress, save)
    while len(run.history) < settings.epochs and not _stopped(run, settings):
        figures = epoch.run(run)
        here.agree([*model.buffers(), *average.buffers(model)])
        if validate is not None:
            # Rounding may differ between machines, and all must stop at the same epoch: the first process decides.
            figures["validation"] = here.leaders(_validated(model, average, validate, task))
            if figures["validation"] < run.best:
                run.best, run.best_epoch = figures["validation"], len(run.history)
                run.best_model = _settled(model, average) if settings.patience is not None else None
        run.history.append(figures)
        run.batch, run.sums, run.weights, run.noise = 0, {}, {}, None
        save()
        if watch is not None:
            try:
                watch(len(run.history), figures)
            except BaseException:
                if checkpoint is not None:
                    checkpoint.unlink(missing_ok=True)  # nobody goes on with a run that was ended
                raise
    average.settle(model)
    if run.best_model is not None:
        model.load_state_dict(run.best_model)
    model.eval()
    model.zero_grad(set_to_none=True)
    return run.history


def _stopped(run: _Run, settings: TrainSettings) -> bool:
    return settings.patience is not None and 0 <= run.best_epoch <= len(run.history) - 1 - settings.patience


class _Epoch:
    """One pass over the samples, able to begin in its middle."""

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        samples: int,
        settings: TrainSettings,
        movers: Sequence[Mover],
        average: Average,
        here: Replicas,
        seed: int,
        task: str,
        progress: Progress,
        save: Callable[[], None],
    ) -> None:
        self._model = model
        self._loss_of = loss_of
        self._samples = samples
        self._settings = settings
        self._movers = movers
        self._average = average
        self._here = here
        self._seed = seed
        self._task = task
        self._progress = progress
        self._save = save

    def run(self, run: _Run) -> dict[str, float]:
        """The rest of the epoch that ``run`` is in; returns its mean loss parts."""
        import torch

        number = len(run.history)
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, number))
        order = torch.randperm(self._samples, generator=generator)
        chance = epoch_seed(self._seed, number, self._here.rank)
        if self._here.rank:
            generator.manual_seed(chance)
        torch.manual_seed(chance)
        if run.noise is not None:
            restore(generator, run.noise)
        batches = batches_of(order, self._settings.batch_size, self._here.world)
        every = math.ceil(len(batches) / _REPORTS_PER_EPOCH)
        saved = time.monotonic()
        for index in range(run.batch, len(batches)):
            self._step(run, batches[index], index, len(batches), generator)
            run.batch = index + 1
            if (index + 1) % every == 0 or index + 1 == len(batches):
                self._tell(run, len(batches))
            # With several processes a checkpoint inside an epoch would need every process's noise: between epochs only.
            if self._here.world == 1 and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                run.noise = states(generator)
                self._save()
                saved = time.monotonic()
        names = sorted(run.sums)
        sums = self._here.sums([run.sums[name] for name in names])
        weights = self._here.sums([run.weights[name] for name in names])
        return {name: total / weight for name, total, weight in zip(names, sums, weights, strict=True)}

    def _step(self, run: _Run, batch: Tensor, index: int, batches: int, generator: Generator) -> None:
        part = (len(run.history) * batches + index) / (self._settings.epochs * batches)
        mine = self._here.share(batch)
        for mover in self._movers:
            if index % mover.objective.every:
                continue
            mover.clear()
            if len(mine):
                with _precision(self._settings):
                    found = self._loss_of(mine, generator, mover.objective.name)
                found["loss"].backward()  # type: ignore[no-untyped-call]
                self._count(run, found, mover.objective, len(mine), index)
            self._here.combine(mover.parameters, len(mine) / len(batch))
            mover.step(part)
        self._average.follow(self._model)

    def _count(self, run: _Run, found: Mapping[str, Tensor], objective: Objective, samples: int, index: int) -> None:
        for name, value in found.items():
            key = name if len(self._movers) == 1 else f"{objective.name}_{name}"
            number = value.item()
            run.sums[key] = run.sums.get(key, 0.0) + number * samples
            run.weights[key] = run.weights.get(key, 0) + samples
            if name == "loss" and not math.isfinite(number):
                raise BuildError(
                    f"the loss is not finite in epoch {len(run.history) + 1}, batch {index + 1}",
                    where=self._task,
                    got=number,
                    expected="a finite loss",
                    next_step="lower [train] learning_rate, or set [train] clip_norm",
                )

    def _tell(self, run: _Run, batches: int) -> None:
        if not self._here.leads or not run.sums:
            return
        epochs, epoch = self._settings.epochs, len(run.history)
        shown = next(key for key in run.sums if key.endswith("loss"))
        detail = f"epoch {epoch + 1}/{epochs}, {shown.replace('_', ' ')} {run.sums[shown] / run.weights[shown]:.4g}"
        self._progress.advance(self._task, epoch * batches + run.batch, epochs * batches, detail)


def _validated(model: nn.Module, average: Average, validate: Validate, task: str) -> float:
    """The validation loss of the weights that would be deployed now; leaves the model as it was.

    Raises:
        BuildError: it is not finite.
    """
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    average.settle(model)
    model.eval()
    try:
        found = validate()
    finally:
        model.load_state_dict(before)
        learn(model)
    if not math.isfinite(found):
        raise BuildError(
            "the loss of the validation part is not finite",
            where=task,
            got=found,
            expected="a finite loss",
            next_step="lower [train] learning_rate, or look for samples unlike those of the training part",
        )
    return found


def _settled(model: nn.Module, average: Average) -> dict[str, Tensor]:
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    average.settle(model)
    found = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    return found


def _precision(settings: TrainSettings) -> Any:
    if settings.precision == "float32":
        return nullcontext()
    import torch

    return torch.autocast(place(settings), dtype=getattr(torch, settings.precision))
