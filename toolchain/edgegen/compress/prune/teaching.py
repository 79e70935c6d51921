"""What tuning after pruning minimizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgegen.compress.fit import Answers
from edgegen.compress.lessons import Lessons, Question
from edgegen.core.errors import UsageError


class AnswersAndTruth(Answers):
    """``fit.Teaching``: to answer as the parent does, and what is true where that is asked for."""

    def __init__(self, lessons: Lessons, truth: float, step: str) -> None:
        """``truth``: weight of what is true; ``step``: whose setting that is.

        Raises:
            UsageError: nothing is known to be true.
        """
        super().__init__(lessons)
        self._truth = truth
        if truth and not lessons.knows_truth:
            raise UsageError(
                "nothing is known to be true of what a generator draws",
                where=f"[compress.{step}] truth",
                got=truth,
                next_step="set truth = 0",
            )

    def loss(self, student: nn.Module, parent: nn.Module, question: Question, step: int) -> Tensor:
        """The sum of both, weighted."""
        with torch.no_grad():
            wanted = self._lessons.answer(parent, question)
        given = self._lessons.answer(student, question)
        loss = self._lessons.loss(given, wanted)
        return loss + self._truth * self._lessons.truth_loss(given, question) if self._truth else loss
