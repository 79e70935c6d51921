"""What a student minimizes: the weighted sum of the objectives that its settings ask for.

Response with temperature: Hinton et al., arXiv 1503.02531; hidden activations and attention: see ``taps`` and
``shares``; images through the parent's own encoder or critic: after Johnson et al., Perceptual Losses for Real-Time
Style Transfer, arXiv 1603.08155, equation 2; an adversarial term beside matched outputs of equal latents: as Aguinaldo
et al., Compressing GANs using Knowledge Distillation, arXiv 1902.00159, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgegen.compress.distill.settings import Distilled
from edgegen.compress.distill.shares import looking_layers, share_error, shares
from edgegen.compress.distill.taps import Maps, Tap, attention_error, entering, find_taps, renumbered
from edgegen.compress.distill.whole import Critic, Whole
from edgegen.compress.lessons import Lessons, Question, step_seed
from edgegen.core.errors import BuildError

_LEAST = 1e-8
_TRIED = 4  # samples of the question that finds the layers to compare
_RESCUE = 0.01
"""Weight of the pixels' cross-entropy beside their squared error. Where a narrow student of a dark parent begins with
all its pixels black, logits at -30 on digits, the squared error has no gradient through the sigmoid; this one has."""


class Objectives:
    """``fit.Teaching`` of a distilled student."""

    def __init__(
        self,
        student: nn.Module,
        parent: nn.Module,
        lessons: Lessons,
        settings: Distilled,
        *,
        seed: int,
        whole: Whole | None = None,
        layers: Mapping[int, int] | None = None,
    ) -> None:
        """``layers``: as ``taps.find_taps``; ``whole``: where ``needs_whole`` says so.

        Raises:
            BuildError: an objective that such a model cannot have.
        """
        self._lessons = lessons
        self._settings = settings
        self._seed = seed
        self._whole = whole
        self._maps = Maps()
        layers = layers or {}
        question = lessons.ask(_TRIED, step_seed(seed, -5))
        self.taps: tuple[Tap, ...] = ()
        if settings.features or settings.attention:
            self.taps = find_taps(student, parent, lambda module: lessons.answer(module, question), layers)
        attends = looking_layers(student)
        kept = {renumbered(name, layers) for name in attends} <= set(looking_layers(parent))
        self._looks = tuple(Tap(student=name, parent=renumbered(name, layers)) for name in attends if kept)
        self._squash = _last_sigmoid(student) if lessons.output == "image" else ()
        self._check(student, lessons, question)
        self._critic = (
            Critic(whole, lessons, settings.batch, settings.critic_learning_rate, seed)
            if settings.adversarial and whole is not None
            else None
        )

    def loss(self, student: nn.Module, parent: nn.Module, question: Question, step: int) -> Tensor:
        """The weighted sum."""
        asked, parts = self._settings, []
        mine, theirs = self._watched()
        with ExitStack() as stack:
            seen = stack.enter_context(entering(student, (*mine, *self._squash)))
            wanted_seen = stack.enter_context(entering(parent, theirs))
            with torch.no_grad():
                wanted = self._lessons.answer(parent, question)
            given = self._lessons.answer(student, question)
        if asked.response:
            parts.append(asked.response * self._response(given, wanted, seen))
        if asked.truth:
            parts.append(asked.truth * self._truth(given, question, step))
        if asked.features:
            parts.append(asked.features * self._features(seen, wanted_seen))
        if asked.attention:
            parts.append(asked.attention * self._attention(student, parent, seen, wanted_seen))
        if asked.perceptual and self._whole is not None:
            parts.append(asked.perceptual * _perceived(self._whole, given, wanted))
        if self._critic is not None:
            parts.append(asked.adversarial * self._critic.loss(step))
        return torch.stack(parts).sum()

    def follow(self, step: int) -> None:
        """The critic's own step."""
        if self._critic is not None:
            self._critic.follow(step)

    def state(self) -> Mapping[str, Any]:
        """The moments behind the maps, and the critic."""
        return {"maps": self._maps.state(), "critic": {} if self._critic is None else self._critic.state()}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from them."""
        self._maps.take_up(state["maps"])
        if self._critic is not None:
            self._critic.take_up(state["critic"])

    def _watched(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Layers of student and parent whose inputs are wanted."""
        taps = [*self.taps, *(self._looks if self._settings.attention else ())]
        return tuple(dict.fromkeys(tap.student for tap in taps)), tuple(dict.fromkeys(tap.parent for tap in taps))

    def _response(self, given: Tensor, wanted: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
        loss = self._lessons.loss(given, wanted, self._settings.temperature)
        for name in self._squash:
            loss = loss + _RESCUE * functional.binary_cross_entropy_with_logits(seen[name], wanted)
        return loss

    def _truth(self, given: Tensor, question: Question, step: int) -> Tensor:
        if self._lessons.knows_truth:
            return self._lessons.truth_loss(given, question)
        assert self._whole is not None
        return self._whole.own_loss(self._lessons, self._settings.batch, step_seed(self._seed, -3_000_000 - step))

    def _features(self, seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
        errors = [self._maps.error(tap.student, seen[tap.student], wanted[tap.parent]) for tap in self.taps]
        return torch.stack(errors).mean()

    def _attention(
        self, student: nn.Module, parent: nn.Module, seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
    ) -> Tensor:
        errors = []
        for tap in self._looks:
            with torch.no_grad():
                theirs = shares(parent, _number(tap.parent), wanted[tap.parent])
            errors.append(share_error(shares(student, _number(tap.student), seen[tap.student]), theirs))
        if not errors:
            errors = [attention_error(seen[tap.student], wanted[tap.parent]) for tap in _maps_of(self.taps, seen)]
        return torch.stack(errors).mean()

    def _check(self, student: nn.Module, lessons: Lessons, question: Question) -> None:
        """Refuses what would have no effect.

        Raises:
            BuildError: names the setting.
        """
        asked, whole = self._settings, self._whole
        weights = ("response", "truth", "features", "attention", "perceptual", "adversarial")
        if not any(getattr(asked, name) for name in weights):
            raise _unfit("response", "nothing is left to learn: every weight is 0")
        if asked.features and not self.taps:
            raise _unfit("features", "no hidden layer of the student has one of its parent's to be compared with")
        if asked.attention and not self._looks:
            with entering(student, tuple(tap.student for tap in self.taps)) as seen, torch.no_grad():
                lessons.answer(student, question)
            if not _maps_of(self.taps, seen):
                raise _unfit("attention", "the model has neither attention nor maps of activations")
        if asked.truth and not lessons.knows_truth:
            if lessons.dataset is None:
                raise _unfit("truth", "there are no data")
            if whole is None or whole.criticizes:
                raise _unfit("truth", "a GAN has no loss but its critic's: set adversarial")
        if asked.perceptual and (lessons.output != "image" or whole is None or not whole.sees):
            raise _unfit("perceptual", "the parent has neither an encoder nor a critic that looks at images")
        if asked.adversarial and (whole is None or not whole.criticizes or lessons.dataset is None):
            raise _unfit("adversarial", "the parent has no critic, or there are no images to tell the student's from")


def needs_whole(lessons: Lessons, settings: Distilled) -> bool:
    """Whether the whole model of the parent is needed, not the deployed part alone."""
    return bool(settings.perceptual or settings.adversarial or (settings.truth and not lessons.knows_truth))


def _maps_of(taps: tuple[Tap, ...], seen: Mapping[str, Tensor]) -> list[Tap]:
    return [tap for tap in taps if seen[tap.student].ndim == 4]


def _perceived(whole: Whole, given: Tensor, wanted: Tensor) -> Tensor:
    with torch.no_grad():
        theirs = whole.seen(wanted)
    scale = theirs.var(dim=0, correction=0).mean().clamp_min(_LEAST)
    return (whole.seen(given) - theirs).square().mean() / scale


def _last_sigmoid(module: nn.Module) -> tuple[str, ...]:
    """The name of the sigmoid that a chain ends with; none where it does not."""
    name, last = list(module.named_modules())[-1]
    return (name,) if isinstance(last, nn.Sigmoid) else ()


def _number(name: str) -> int:
    """Of the layer in 'layers.1.looks'."""
    return int(name.split(".")[1])


def _unfit(key: str, reason: str) -> BuildError:
    return BuildError(
        f"the student cannot learn by {key!r}",
        where=f"[compress.distilled] {key}",
        got=reason,
        next_step=f"set {key} = 0" if key != "response" else "set response above 0",
    )
