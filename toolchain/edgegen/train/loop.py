"""Trains one model of a family and writes what later stages need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.train.deployed import MODEL_FILES, save_deployed, save_model
from edgegen.train.epochs import channels_last, optimize, repeatable
from edgegen.train.families import Batch, find_family, settings_key
from edgegen.train.finetune import begin_from, merge
from edgegen.train.hardware import connect, place, replicas
from edgegen.train.optimizers import freeze
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import DataSet, Form, Part
    from edgegen.data.settings import AugmentSettings
    from edgegen.train.families import Family

_JUDGED = 500  # samples of a validation batch


def train(
    family: str,
    settings: Any,
    train_settings: TrainSettings,
    dataset: DataSet,
    *,
    digest: str,
    seed: int,
    folder: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    augment: AugmentSettings | None = None,
    start: Mapping[str, Path] | None = None,
    watch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Mapping[str, Any]:
    """Trains on the set's training part and writes the whole model and its deployed part into ``folder``.

    Under ``torchrun`` every process calls this with the same arguments; the first one writes.

    Args:
        family: name in ``families.FAMILIES``; ``settings`` is that family's record, completed from the data.
        digest: of the prepared set.
        checkpoint: written now and then and taken up by a run with the same arguments; such a run ends with the very
            bits of one that was not interrupted. The caller removes it when the result is safe.
        augment: what is varied in every batch.
        start: files of a whole model to begin with.
        watch: called after each epoch with its number and figures; may raise to end the run.

    Returns:
        a JSON-ready record, free of clock and host: ``epochs``, ``seed``, ``parameters``, ``trained_parameters``,
        ``deployed_parameters``, ``final`` (the last epoch's mean loss parts) and ``history`` (every epoch's).

    Raises:
        UsageError: a pattern of ``freeze`` or ``lora`` that fits nothing, or a start that does not fit.
        BuildError: the loss is not finite.
    """
    import torch

    kind, here, where = find_family(family), replicas(), place(train_settings)
    connect(here, where)
    with repeatable(train_settings.threads, seed):
        model = channels_last(kind.build(settings))
        if prepare := getattr(kind, "prepare", None):
            prepare(model, settings, dataset.train)
        if start is not None:
            begin_from(model, family, start, train_settings, progress)
        freeze(model, train_settings.freeze)
        model.to(where)
        trained = sum(item.numel() for item in model.parameters() if item.requires_grad)
        objectives = kind.objectives(settings)
        history = optimize(
            model,
            _loss(kind, model, settings, dataset, augment, where),
            len(dataset.train),
            train_settings,
            objectives=objectives,
            seed=seed,
            task="train",
            progress=progress,
            validate=_validation(kind, model, settings, dataset, seed, where) if len(objectives) == 1 else None,
            watch=watch,
            checkpoint=checkpoint,
            here=here,
            key=sha256_json(
                {
                    **settings_key(family, settings),
                    "train": write_record(train_settings),
                    "augment": None if augment is None else write_record(augment),
                    "start": None if start is None else {name: sha256_file(start[name]) for name in MODEL_FILES},
                    "data": digest,
                    "seed": seed,
                    "torch": torch.__version__,
                    "place": where,
                    "processes": here.world,
                }
            ),
        )
        model.to("cpu")
        merge(model)
    deployed = kind.deployed(model)
    save_model(model, family, settings, folder)
    save_deployed(deployed, family, settings, folder)
    return {
        "epochs": len(history),
        "seed": seed,
        "place": where,
        "processes": here.world,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": trained,
        "deployed_parameters": sum(parameter.numel() for parameter in deployed.parameters()),
        "final": history[-1],
        "history": history,
    }


def batch_of(part: Part, indexes: Tensor, dtype: str) -> Batch:
    """The samples at ``indexes`` (batch,), read from disk and brought to the model's element type."""
    import numpy as np
    import torch

    rows = indexes.numpy()
    x = torch.from_numpy(np.asarray(part.x[rows]).astype(dtype, copy=False))
    y = None if part.y is None else torch.from_numpy(np.asarray(part.y[rows]))
    return Batch(x=x, y=y)


def _loss(
    kind: Family, model: nn.Module, settings: Any, dataset: DataSet, augment: AugmentSettings | None, where: str
) -> Callable[[Tensor, Generator, str], dict[str, Tensor]]:
    varied = _varied(dataset.form, augment)

    def loss_of(indexes: Tensor, noise: Generator, objective: str) -> dict[str, Tensor]:
        batch = batch_of(dataset.train, indexes, dataset.form.dtype)
        x = batch.x if varied is None else varied(batch.x, noise)
        moved = Batch(x=x.to(where), y=None if batch.y is None else batch.y.to(where))
        return kind.loss(model, settings, moved, noise, objective)

    return loss_of


def _varied(form: Form, augment: AugmentSettings | None) -> Callable[[Tensor, Generator], Tensor] | None:
    from edgegen.data.augment import augment as vary
    from edgegen.data.augment import augments, check_augment

    if augment is None or not augments(augment):
        return None
    check_augment(augment, form.kind, form.shape)
    return lambda x, noise: vary(x, form.kind, augment, noise)


def _validation(
    kind: Family, model: nn.Module, settings: Any, dataset: DataSet, seed: int, where: str
) -> Callable[[], float] | None:
    """The mean loss of the validation part, always with the same noise; None where there is no such part."""
    if not len(dataset.validation):
        return None
    import torch

    def validate() -> float:
        noise = torch.Generator().manual_seed(seed)
        total = 0.0
        with torch.no_grad():
            for indexes in torch.split(torch.arange(len(dataset.validation)), _JUDGED):
                batch = batch_of(dataset.validation, indexes, dataset.form.dtype)
                moved = Batch(x=batch.x.to(where), y=None if batch.y is None else batch.y.to(where))
                total += kind.loss(model, settings, moved, noise)["loss"].item() * len(indexes)
        return total / len(dataset.validation)

    return validate
