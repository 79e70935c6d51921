"""How good a trained model is: on held-out samples, beside the noise of the figure and a simple model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.lazy import load
from edgegen.core.records import write_record
from edgegen.train.deployed import load_model
from edgegen.train.epochs import repeatable
from edgegen.train.families import find_family, output_of

if TYPE_CHECKING:
    from torch import nn

    from edgegen.data.dataset import DataSet
    from edgegen.train.feature_net import FeatureNet
    from edgegen.train.figures import Evaluation

EVALUATIONS = {
    "image": "edgegen.train.evaluate_images:judge",
    "vector": "edgegen.train.evaluate_density:judge",
    "logits": "edgegen.train.evaluate_labels:judge",
    "values": "edgegen.train.evaluate_values:judge",
    "reconstruction": "edgegen.train.evaluate_anomalies:judge",
    "tokens": "edgegen.train.evaluate_tokens:judge",
}
"""What a family gives (``tokens`` where its samples are tokens) -> ``judge(Judged) -> Evaluation``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A model to judge, and what it is judged with."""

    family: str
    settings: Any  # the family's completed record
    model: nn.Module  # the whole model, in eval mode
    other: nn.Module | None  # the same trained from another seed
    dataset: DataSet
    features: FeatureNet | None  # trained on the same set, where it has classes and images
    seed: int
    threads: int
    samples: int  # how many to draw of a generator
    deployed_bytes: int  # of the deployed part's float32 weights: what a baseline may not exceed


def evaluate(
    model: Path | Mapping[str, Path],
    dataset: DataSet,
    features: FeatureNet | None,
    *,
    seed: int,
    samples: int = 2000,
    other: Path | Mapping[str, Path] | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Judges a model that ``loop.train`` wrote on the set's test part.

    Args:
        model: folder or paths of ``model.json`` and ``model.safetensors``; ``other`` likewise, trained from another
            seed, for the seed-to-seed floor.
        features: a network trained on the same set, or None.
        seed: of the first draw of noise; further draws count up from it.

    Returns:
        ``figures.Evaluation`` as a plain record.

    Raises:
        UsageError: the files are not a model.
        BuildError: the model gives values that are not finite.
    """
    with repeatable(threads, seed):
        module, family, settings = load_model(model)
        kind = find_family(family)
        judge = load(EVALUATIONS["tokens" if kind.tokens else output_of(kind, settings)])
        evaluation: Evaluation = judge(
            Judged(
                family=family,
                settings=settings,
                model=module,
                other=None if other is None else load_model(other)[0],
                dataset=dataset,
                features=features,
                seed=seed,
                threads=threads,
                samples=samples,
                deployed_bytes=4 * sum(tensor.numel() for tensor in kind.deployed(module).state_dict().values()),
            )
        )
    return write_record(evaluation)
