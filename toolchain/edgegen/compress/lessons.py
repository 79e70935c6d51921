"""What a changed model learns from its float parent: questions, the parent's answers, and how far two lie apart.

Questions depend on nothing but the seed: a run that was killed and resumed asks the same ones. A generator is asked
noise; a model of sequences whole rows, which it reads as in its own training; every other model samples of the training
part, varied as its parent's training varied them. Likeness is judged on the validation part where there is one, else on
other samples of the training part. The test part is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError
from edgegen.data.augment import augment, augments
from edgegen.data.dataset import load_dataset
from edgegen.train.deployed import model_signature
from edgegen.train.families import GENERATED, Output, find_family, output_of

if TYPE_CHECKING:
    from edgegen.data.dataset import DataSet, Part
    from edgegen.data.settings import AugmentSettings

_HELD_OUT_SAMPLES = 256
_WORST_SHARE = 0.05
_LEAST_POWER = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: the model's inputs, a row a sample, and what is true of them where that is known."""

    inputs: tuple[Tensor, ...]
    truth: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like its parent a model is over questions that are no lesson's."""

    metric: str  # "psnr_db" for images, "kl_divergence" in nats for scores, else "sqnr_db"
    mean: float
    worst5: float  # mean of the worst 5 %

    def worse_than(self, other: Likeness) -> bool:
        """Whether the mean is worse."""
        return self.mean > other.mean if self.metric == "kl_divergence" else self.mean < other.mean

    def figures(self) -> dict[str, float]:
        """As a step reports it."""
        return {f"paired_{self.metric}": round(self.mean, 4), f"paired_{self.metric}_worst5": round(self.worst5, 4)}


class Lessons:
    """Questions and answers of one model family."""

    def __init__(
        self, family: str, settings: Any, data: Mapping[str, Path] | None, *, augmented: AugmentSettings | None = None
    ) -> None:
        """``settings``: the parent's. ``augmented``: how the parent's training varied its samples.

        Raises:
            BuildError: the family learns from data, and there are none.
        """
        self._family = find_family(family)
        self._settings = settings
        self._names = [spec.name for spec in model_signature(family, settings)[0]]
        self._augmented = augmented if augmented is not None and augments(augmented) else None
        self._written: Tensor | None = None
        self._written_share = 0.0
        self.output: Output = output_of(self._family, settings)
        self.dataset: DataSet | None = None if data is None else load_dataset(data)
        if self.dataset is None and self.output not in GENERATED:
            raise BuildError(
                "this step learns from the training data, and there are none",
                got=f"a model of the family {family!r}",
                next_step="leave the step out of [compress] recipes",
            )

    @property
    def part(self) -> Part | None:
        """The training part."""
        return None if self.dataset is None else self.dataset.train

    @property
    def knows_truth(self) -> bool:
        """Whether questions come with what is true of them: everywhere but for generators."""
        return self.output not in GENERATED

    def read_too(self, rows: Tensor, share: float) -> None:
        """From now on ``share`` of the rows that are read as lessons are of ``rows`` (rows, context + 1)."""
        self._written, self._written_share = rows, share

    def ask(self, samples: int, seed: int, *, varied: bool = False) -> Question:
        """``samples`` questions of the training part, equal for equal arguments.

        Args:
            varied: as lessons are: samples augmented, and rows of ``read_too`` among the data's.
        """
        part = None if self.dataset is None else self.dataset.train
        if self._family.tokens:
            return self._rows(part, samples, seed, varied)
        return self._samples(part, samples, seed, varied)

    def answer(self, module: nn.Module, question: Question) -> Tensor:
        """What the deployed module gives first: (samples, ...); of sequences (samples, tokens, vocabulary)."""
        found = cast(Any, module).whole(*question.inputs) if self._family.tokens else module(*question.inputs)
        first: Tensor = found if isinstance(found, Tensor) else found[0]
        return first

    def loss(self, given: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
        """How far answers are from the parent's.

        Of scores the mean divergence in nats of what both give at ``temperature``, times its square (Hinton et al.,
        Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2); of predicted numbers the mean
        squared difference in units of the targets' variance; else the mean squared difference.
        """
        if self.output == "logits":
            return temperature**2 * _divergence(given / temperature, wanted / temperature).mean()
        return self._difference(given, wanted)

    def truth_loss(self, given: Tensor, question: Question) -> Tensor:
        """How far answers are from what is true: cross-entropy in nats of scores, as the family smooths and weighs it;
        of reconstructions the mean squared difference from the normal samples themselves; of predicted numbers as
        ``loss``.
        """
        if self.output == "reconstruction":
            return self._redrawn(given, question)
        assert question.truth is not None, "samples of labelled data have labels"
        if self.output != "logits":
            return self._difference(given, question.truth)
        return functional.cross_entropy(
            given.flatten(0, -2),
            question.truth.flatten(),
            weight=self._class_weights(given.shape[-1]),
            label_smoothing=getattr(self._settings, "label_smoothing", 0.0),
        )

    def likeness(self, module: nn.Module, parent: nn.Module, seed: int) -> Likeness:
        """Over 256 questions that are no lesson's (64 rows of a sequence model)."""
        question = self._held_out(step_seed(seed, -1))
        with torch.no_grad():
            given, wanted = self.answer(module, question), self.answer(parent, question)
        if self.output == "logits":
            values = torch.sort(_divergence(given, wanted), descending=True).values
            metric = "kl_divergence"
        else:
            error = (given - wanted).square().flatten(1).mean(dim=1)  # (samples,)
            power = 1.0 if self.output == "image" else wanted.square().flatten(1).mean(dim=1)
            values = torch.sort(-10 * torch.log10((error / power).clamp_min(_LEAST_POWER))).values
            metric = "psnr_db" if self.output == "image" else "sqnr_db"
        worst = values[: max(1, int(len(values) * _WORST_SHARE))]
        return Likeness(metric=metric, mean=float(values.mean()), worst5=float(worst.mean()))

    def task(self, module: nn.Module, seed: int) -> float | None:
        """The loss against what is true over the questions of ``likeness``; None where nothing is known to be true."""
        if not self.knows_truth:
            return None
        question = self._held_out(step_seed(seed, -1))
        with torch.no_grad():
            return float(self.truth_loss(self.answer(module, question), question))

    def _held_out(self, seed: int) -> Question:
        samples = _HELD_OUT_SAMPLES // (4 if self._family.tokens else 1)
        part = self.part
        if self.dataset is not None and len(self.dataset.validation):
            part = self.dataset.validation
        return (
            self._rows(part, samples, seed, varied=False)
            if self._family.tokens
            else self._samples(part, samples, seed, varied=False)
        )

    def _samples(self, part: Part | None, samples: int, seed: int, varied: bool) -> Question:
        drawn = self._family.draw(self._settings, samples, seed, part=part)
        truth = None if drawn.targets is None else torch.from_numpy(drawn.targets)
        inputs = tuple(torch.from_numpy(drawn.inputs[name]) for name in self._names)
        if varied and self._augmented is not None and self.knows_truth and self.dataset is not None:
            noise = torch.Generator().manual_seed(step_seed(seed, -4))
            inputs = (augment(inputs[0], self.dataset.form.kind, self._augmented, noise), *inputs[1:])
        return Question(inputs=inputs, truth=truth)

    def _rows(self, part: Part | None, samples: int, seed: int, varied: bool) -> Question:
        assert part is not None
        random = torch.Generator().manual_seed(seed % 2**63)
        chosen = torch.randint(len(part), (samples,), generator=random)
        rows = torch.from_numpy(part.x[chosen.numpy()]).long()  # (samples, context + 1)
        written = round(samples * self._written_share) if varied and self._written is not None else 0
        if written and self._written is not None:
            others = torch.randint(len(self._written), (written,), generator=random)
            rows = torch.cat([self._written[others], rows[written:]])
        return Question(inputs=(rows[:, :-1],), truth=rows[:, 1:])

    def _difference(self, given: Tensor, wanted: Tensor) -> Tensor:
        difference = given - wanted
        if self.output == "values":
            difference = difference / self._deviation()
        return difference.square().mean()

    def _redrawn(self, given: Tensor, question: Question) -> Tensor:
        error = (given - question.inputs[0]).square().flatten(1).mean(dim=1)  # (samples,)
        if question.truth is None:
            return error.mean()
        normal = (question.truth == 0).to(error.dtype)
        return (error * normal).sum() / normal.sum().clamp_min(1.0)

    def _deviation(self) -> Tensor:
        """Of the targets of the training part, (targets,); what predicted numbers are measured in."""
        part = self.part
        assert part is not None
        assert part.y is not None
        return torch.from_numpy(np.std(part.y, axis=0, dtype=np.float64).astype(np.float32)).clamp_min(1e-6)

    def _class_weights(self, classes: int) -> Tensor | None:
        """As ``train.classifier`` weighs classes that come unevenly often."""
        if getattr(self._settings, "class_weights", "none") != "balanced":
            return None
        part = self.part
        assert part is not None
        assert part.y is not None
        counts = np.maximum(np.bincount(part.y, minlength=classes), 1)
        return torch.from_numpy((len(part.y) / (classes * counts)).astype(np.float32))


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; equal for equal arguments, unrelated for differing ones."""
    return int(sha256_json([seed, step])[:15], 16)


def _divergence(given: Tensor, wanted: Tensor) -> Tensor:
    """Of the probabilities given from those wanted, in nats, a value a row of scores."""
    first, second = functional.log_softmax(given, dim=-1), functional.log_softmax(wanted, dim=-1)
    return functional.kl_div(first, second, reduction="none", log_target=True).sum(dim=-1).flatten()
