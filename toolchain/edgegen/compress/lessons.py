"""What a changed model learns from its float parent: questions, the parent's answers, and how far two lie apart.

Questions depend on nothing but the seed: a run that was killed and resumed asks the same ones. A generator is asked
noise; a model of sequences whole rows of the training part, which it reads as in its own training; every other model
samples of the training part. The test part is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError
from edgegen.data.dataset import load_dataset
from edgegen.train.deployed import model_signature
from edgegen.train.families import GENERATED, Output, find_family, output_of

if TYPE_CHECKING:
    from edgegen.data.dataset import Part

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
    """How like its parent a model is over held-out questions: of the training part, drawn by another seed."""

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

    def __init__(self, family: str, settings: Any, data: Mapping[str, Path] | None) -> None:
        """``settings``: the parent's.

        Raises:
            BuildError: the family learns from data, and there are none.
        """
        self._family = find_family(family)
        self._settings = settings
        self._names = [spec.name for spec in model_signature(family, settings)[0]]
        self.output: Output = output_of(self._family, settings)
        self.part: Part | None = None if data is None else load_dataset(data).train
        if self.part is None and self.output not in GENERATED:
            raise BuildError(
                "this step learns from the training data, and there are none",
                got=f"a model of the family {family!r}",
                next_step="leave the step out of [compress] recipes",
            )

    def ask(self, samples: int, seed: int) -> Question:
        """``samples`` questions; equal for equal arguments."""
        if self._family.tokens:
            return self._rows(samples, seed)
        drawn = self._family.draw(self._settings, samples, seed, part=self.part)
        truth = None if drawn.targets is None else torch.from_numpy(drawn.targets)
        return Question(inputs=tuple(torch.from_numpy(drawn.inputs[name]) for name in self._names), truth=truth)

    def answer(self, module: nn.Module, question: Question) -> Tensor:
        """What the deployed module gives first: (samples, ...); of sequences (samples, tokens, vocabulary)."""
        found = cast(Any, module).whole(*question.inputs) if self._family.tokens else module(*question.inputs)
        first: Tensor = found if isinstance(found, Tensor) else found[0]
        return first

    def loss(self, given: Tensor, wanted: Tensor) -> Tensor:
        """How far answers are from the parent's: mean divergence in nats of scores, else mean squared difference."""
        if self.output == "logits":
            return _divergence(given, wanted).mean()
        return (given - wanted).square().mean()

    def likeness(self, module: nn.Module, parent: nn.Module, seed: int) -> Likeness:
        """Over 256 questions that are no lesson's (64 rows of a sequence model)."""
        question = self.ask(_HELD_OUT_SAMPLES // (4 if self._family.tokens else 1), step_seed(seed, -1))
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

    def _rows(self, samples: int, seed: int) -> Question:
        assert self.part is not None
        random = torch.Generator().manual_seed(seed % 2**63)
        chosen = torch.randint(len(self.part), (samples,), generator=random)
        rows = torch.from_numpy(self.part.x[chosen.numpy()]).long()  # (samples, context + 1)
        return Question(inputs=(rows[:, :-1],), truth=rows[:, 1:])


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; equal for equal arguments, unrelated for differing ones."""
    return int(sha256_json([seed, step])[:15], 16)


def _divergence(given: Tensor, wanted: Tensor) -> Tensor:
    """Of the probabilities given from those wanted, in nats, a value a row of scores."""
    first, second = functional.log_softmax(given, dim=-1), functional.log_softmax(wanted, dim=-1)
    return functional.kl_div(first, second, reduction="none", log_target=True).sum(dim=-1).flatten()
