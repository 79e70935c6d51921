"""Normalizing flows over vectors: trained by exact likelihood, deployed as the way from noise to samples.

Sources: Dinh et al., Density estimation using Real NVP, arXiv 1605.08803; Durkan et al., Neural Spline Flows,
arXiv 1906.04032.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.families import WHOLE, Batch, Draw, Objective, Output, filled, latent_rows
from edgegen.train.narrowing import Group, makes, takes

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import Form, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """What the flow consists of. It works in the units of the prepared data, which should have mean 0, deviation 1."""

    kind: Literal["spline", "realnvp"] = setting(
        "spline", doc="what a layer does to half of the features: bend them by splines, or scale and shift them"
    )
    layers: int = setting(8, doc="coupling layers, each followed by a learned matrix", minimum=1, maximum=64)
    width: int = setting(48, doc="hidden width of every layer's network", minimum=4, maximum=1024)
    widths: tuple[int, ...] = setting(
        (),
        doc="hidden widths one by one, two a layer: pruning gives such; none: all as 'width'",
        minimum=1,
        maximum=1024,
    )
    bins: int = setting(8, doc="spline: bins of every spline", minimum=2, maximum=64)
    features: int | None = setting(None, doc="length of a sample; taken from the data", minimum=2, maximum=1024)

    def __post_init__(self) -> None:
        if len(self.widths) not in (0, 2 * self.layers):
            raise UsageError(
                "the value of 'model.widths' is not usable",
                got=list(self.widths),
                expected=f"{2 * self.layers} integers, two a layer, or none",
            )


class _Flow:
    """The Family object: see ``families.Family``. The model is the deployed part: both directions share all weights."""

    settings: type = FlowSettings
    output: Output = "vector"
    tokens = False

    def complete(self, settings: FlowSettings, form: Form) -> FlowSettings:
        """The number of features is the data's."""
        if form.kind != "vectors" or form.shape[0] < 2:
            raise UsageError(
                "a normalizing flow learns vectors of at least two features",
                where="[data]",
                got=f"{form.kind} of shape {list(form.shape)}",
                expected="tables, or windows with statistics",
            )
        return cast(FlowSettings, filled(settings, form, features=form.shape[0]))

    def build(self, settings: FlowSettings) -> nn.Module:
        """A ``coupling.Flow``; it starts as a random rotation."""
        from edgegen.train.coupling import Flow

        return Flow(settings.kind, _features(settings), _widths(settings), settings.bins)

    def objectives(self, settings: FlowSettings) -> tuple[Objective, ...]:
        """One."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: FlowSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The negative log-likelihood in nats per sample, and per feature."""
        loss = -cast(Any, model).log_likelihood(batch.x).mean()
        return {"loss": loss, "nats_per_dimension": loss / _features(settings)}

    def held_out(self, model: nn.Module, settings: FlowSettings, batch: Batch, noise: Generator) -> dict[str, Tensor]:
        """The log-likelihood of every sample (batch,) in nats, under the density of the prepared data."""
        return {"log_likelihood_nats": cast("Tensor", cast(Any, model).log_likelihood(batch.x))}

    def deployed(self, model: nn.Module) -> nn.Module:
        """The model itself: its ``forward`` takes latent (batch, features) to sample (batch, features)."""
        return model

    def signature(self, settings: FlowSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """One input ``latent`` drawn from N(0, 1), one output ``sample`` in the units of the prepared data."""
        shape = (1, cast(int, settings.features))
        return (
            (TensorSpec(name="latent", dtype="float32", shape=shape),),
            (TensorSpec(name="sample", dtype="float32", shape=shape),),
        )

    def meaning(self, settings: FlowSettings) -> Mapping[str, str]:
        """What the latent is, and in which units the sample comes."""
        return {
            "latent": "standard normal, elements independent; the sample comes in the units of the prepared data, "
            "so undo the preprocessing's scaling to get the source's"
        }

    def groups(self, settings: FlowSettings) -> tuple[Group, ...]:
        """The hidden units of every layer's network."""
        groups = []
        for place, width in enumerate(width for pair in _widths(settings) for width in pair):
            made, taken = (("hidden.0", "hidden.2"), ("hidden.2", "last"))[place % 2]
            network = f"couplings.{place // 2}"
            members = makes(f"{network}.{made}") + takes(f"{network}.{taken}")
            name = f"{network}.{made}"
            groups.append(Group(name=name, setting="widths", place=place, channels=width, members=members))
        return tuple(groups)

    def draw(
        self, settings: FlowSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Latents from N(0, 1)."""
        return Draw(inputs={"latent": latent_rows(samples, seed, _features(settings))})

    def encode(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (batch, features) that ``x`` comes of, and the log of that way's absolute Jacobian determinant."""
        return cast("tuple[Tensor, Tensor]", cast(Any, model).encode(x))


FLOW = _Flow()


def _features(settings: FlowSettings) -> int:
    if settings.features is None:
        raise UsageError("'model.features' is not known", where="[model]", next_step="complete the settings from data")
    return settings.features


def _widths(settings: FlowSettings) -> list[tuple[int, int]]:
    """The two hidden widths of every layer."""
    widths = settings.widths or (settings.width,) * (2 * settings.layers)
    return list(zip(widths[::2], widths[1::2], strict=True))
