"""The settings of distillation. Reading them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.records import setting

_STUDENT = (
    "settings of [model] that the student has in place of the parent's, e.g. { layers = 1, width = 48 }; empty: as "
    "'width' says"
)
_TRUTH = (
    "weight of what is true: labels, next tokens, targets, normal samples redrawn; for a VAE held-in images redrawn "
    "through the parent's encoder, for a flow the likelihood of samples, each in the family's own loss an element"
)
_FEATURES = "weight of hidden activations, each layer's error in parts of the parent's variance"
_ATTENTION = "weight of where a network looks: maps of convolutions' activations, or a transformer's attention shares"
_PERCEPTUAL = "VAE, GAN: weight of how the parent's own encoder or critic sees the two images"
_ADVERSARIAL = "GAN: weight of what the parent's critic, which learns on, tells of the student's images"
_WRITTEN = "models of sequences: share of the rows that the parent writes itself; 1: no data are looked at"
_START = "what the student begins as: the parent's most important channels and layers, or fresh weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A smaller student learns the float parent's outputs, and what else is asked for."""

    width: float = setting(
        0.5,
        doc="share of the parent's channels that the student has",
        minimum=0.05,
        maximum=1,
        search=(0.75, 0.35, 0.25),
    )
    multiple: int = setting(4, doc="channels come in multiples of this", minimum=1, maximum=64)
    student: Mapping[str, Any] = setting({}, doc=_STUDENT)
    start: Literal["parent", "fresh"] = setting("parent", doc=_START)
    response: float = setting(1.0, doc="weight of the distance from the parent's outputs", minimum=0, maximum=1000)
    temperature: float = setting(
        1.0,
        doc="that scores are divided by before they are compared: above 1, unlikely classes count more",
        minimum=0.1,
    )
    truth: float = setting(0.0, doc=_TRUTH, minimum=0, maximum=1000, search=(1.0,))
    features: float = setting(0.0, doc=_FEATURES, minimum=0, maximum=1000, search=(1.0,))
    attention: float = setting(0.0, doc=_ATTENTION, minimum=0, maximum=1000)
    perceptual: float = setting(0.0, doc=_PERCEPTUAL, minimum=0, maximum=1000)
    adversarial: float = setting(0.0, doc=_ADVERSARIAL, minimum=0, maximum=1000)
    critic_learning_rate: float = setting(5e-4, doc="Adam's for the critic", minimum=1e-8, maximum=1)
    written: float = setting(0.0, doc=_WRITTEN, minimum=0, maximum=1)
    steps: int = setting(2000, doc="training steps", minimum=1, maximum=1_000_000)
    batch: int = setting(32, doc="latents, samples or rows per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )
    average: float = setting(
        0.0,
        doc="decay of the moving average of the weights, which is then the student; 0: none",
        minimum=0,
        maximum=0.9999,
    )
