"""A student inside a whole model of its family: what the family's own loss, the parent's encoder and critic need.

Everything but the student is the parent's, as training left it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from edgegen.compress.lessons import Lessons, step_seed
from edgegen.core.errors import BuildError
from edgegen.train.deployed import load_model
from edgegen.train.families import Batch, find_family
from edgegen.train.loop import batch_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_CRITIC = "critic"


class Whole:
    """The whole model; ``student`` is its deployed part from now on and shares the weights of the one given."""

    def __init__(self, family: str, settings: Any, student: nn.Module, parent: Path) -> None:
        """``parent``: folder of the parent's whole model."""
        self.family = find_family(family)
        self.settings = settings
        stored, _, _ = load_model(parent)
        with torch.random.fork_rng(devices=[]):
            self.model = self.family.build(settings)
        self.student = self.family.deployed(self.model)
        self.student.load_state_dict(student.state_dict())
        own = {id(tensor) for tensor in [*self.student.parameters(), *self.student.buffers()]}
        others = {
            name: tensor
            for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]
            if id(tensor) not in own
        }
        kept = stored.state_dict()
        with torch.no_grad():
            for name, tensor in others.items():
                if name not in kept or kept[name].shape != tensor.shape:
                    raise BuildError(
                        f"the parent's {name!r} does not fit the student", next_step="leave its settings as they are"
                    )
                tensor.copy_(kept[name])
                tensor.requires_grad_(False)
        self.model.eval()

    def own_loss(self, lessons: Lessons, samples: int, seed: int) -> Tensor:
        """The family's loss of samples of the training part, in parts of an element of a sample."""
        batch, noise = self.batch(lessons, samples, seed)
        loss = self.family.loss(self.model, self.settings, batch, noise)["loss"]
        return loss / batch.x[0].numel()

    def seen(self, images: Tensor) -> Tensor:
        """What the parent's encoder or critic makes of images, (samples, features)."""
        model = cast(Any, self.model)
        reader = model[_CRITIC].features if _CRITIC in model else model["encoder"][:-1]
        features: Tensor = reader(images)
        return features

    @property
    def sees(self) -> bool:
        """Whether the model has a part that looks at images."""
        return isinstance(self.model, nn.ModuleDict) and (_CRITIC in self.model or "encoder" in self.model)

    @property
    def criticizes(self) -> bool:
        """Whether it has a critic."""
        return isinstance(self.model, nn.ModuleDict) and _CRITIC in self.model

    def batch(self, lessons: Lessons, samples: int, seed: int) -> tuple[Batch, torch.Generator]:
        """Samples of the training part drawn from the seed, and the generator for what else is drawn."""
        assert lessons.dataset is not None
        noise = torch.Generator().manual_seed(seed % 2**63)
        part = lessons.dataset.train
        rows = torch.randint(len(part), (samples,), generator=noise)
        return batch_of(part, rows, lessons.dataset.form.dtype), noise


class Critic:
    """The critic of a GAN, learning on while the student does: it tells the student's images from real ones."""

    def __init__(self, whole: Whole, lessons: Lessons, samples: int, learning_rate: float, seed: int) -> None:
        self._whole = whole
        self._lessons = lessons
        self._samples = samples
        self._seed = seed
        critic = cast(Any, whole.model)[_CRITIC]
        first = next(item for item in whole.family.objectives(whole.settings) if item.name == _CRITIC)
        critic.requires_grad_(True)
        self._critic: nn.Module = critic
        self._optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate, betas=first.betas)

    def loss(self, step: int) -> Tensor:
        """What the family has a generator minimize."""
        batch, noise = self._whole.batch(self._lessons, self._samples, step_seed(self._seed, -1_000_000 - step))
        return self._whole.family.loss(self._whole.model, self._whole.settings, batch, noise, "generator")["loss"]

    def follow(self, step: int) -> None:
        """One step of the critic."""
        batch, noise = self._whole.batch(self._lessons, self._samples, step_seed(self._seed, -2_000_000 - step))
        loss = self._whole.family.loss(self._whole.model, self._whole.settings, batch, noise, _CRITIC)["loss"]
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"critic": self._critic.state_dict(), "optimizer": self._optimizer.state_dict()}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint's state."""
        self._critic.load_state_dict(state["critic"])
        self._optimizer.load_state_dict(state["optimizer"])
