"""Classifiers and regressors of vectors, windows, spectrograms and images: the whole network is what is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.families import WHOLE, Batch, Draw, Objective, Output, filled
from edgegen.train.label_architectures import Architecture, check_size, choose_architecture, choose_widths
from edgegen.train.label_groups import label_groups

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import Form, Part
    from edgegen.train.narrowing import Group

_ARCHITECTURE = "None: mlp for vectors, cnn1d for series, ds-cnn for spectrograms, resnet8 for images"
_WIDTHS = (
    "units or channels, layer by layer; none: mlp 64, 32; cnn1d 32, 64, 64 (a convolution each); ds-cnn 64 five times "
    "(the first convolution and its blocks); resnet8 16, 32, 64 (its stacks); mobilenet-v1-0.25 the 14 of its paper"
)
_DROPOUT = "part of the features before the last layer that training blanks"
_SHAPE = "shape of one sample; taken from the data"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """What the classifier consists of, and what it minimizes."""

    architecture: Architecture | None = setting(None, doc=_ARCHITECTURE)
    widths: tuple[int, ...] = setting((), doc=_WIDTHS, minimum=1, maximum=2048)
    dropout: float = setting(0.0, doc=_DROPOUT, minimum=0, maximum=0.9)
    label_smoothing: float = setting(
        0.0, doc="part of a label that is spread over all classes: keeps the scores modest", minimum=0, maximum=0.5
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none", doc="balanced: every class counts the same in the loss, however rare it is in the training part"
    )
    input_shape: tuple[int, ...] | None = setting(None, doc=_SHAPE, minimum=1)
    classes: int | None = setting(None, doc="number of classes; taken from the data", minimum=2, maximum=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressorSettings:
    """What the regressor consists of, and what it minimizes."""

    architecture: Architecture | None = setting(None, doc=_ARCHITECTURE)
    widths: tuple[int, ...] = setting((), doc=_WIDTHS, minimum=1, maximum=2048)
    dropout: float = setting(0.0, doc=_DROPOUT, minimum=0, maximum=0.9)
    loss: Literal["mse", "huber"] = setting(
        "mse", doc="huber: errors beyond one standard deviation of the target count linearly"
    )
    input_shape: tuple[int, ...] | None = setting(None, doc=_SHAPE, minimum=1)
    targets: int | None = setting(None, doc="numbers to predict; taken from the data", minimum=1, maximum=10_000)


class _Classifier:
    """The Family object: see ``families.Family``."""

    settings: type = ClassifierSettings
    output: Output = "logits"
    tokens = False

    def complete(self, settings: ClassifierSettings, form: Form) -> ClassifierSettings:
        """Architecture, shape and the number of classes are the data's, where a person did not choose."""
        if len(form.classes) < 2:
            raise UsageError(
                "a classifier needs labels of at least two classes",
                where="[data]",
                got=f"{len(form.classes)} classes in the set {form.name!r}",
                next_step="give a column the role 'label', or one subfolder a class",
            )
        return cast(ClassifierSettings, _fitted(settings, form, classes=len(form.classes)))

    def build(self, settings: ClassifierSettings) -> nn.Module:
        """A ``label_models.Classifier``."""
        from edgegen.train.label_models import Classifier

        return Classifier(_network(settings, settings.classes))

    def prepare(self, model: nn.Module, settings: ClassifierSettings, part: Part) -> None:
        """Weighs the classes by how often they come, if that is asked for.

        A class's weight is samples / (classes x its samples): King and Zeng, Logistic Regression in Rare Events Data,
        2001, section 4.1; as scikit-learn's 'balanced'.
        """
        if settings.class_weights == "none":
            return
        import numpy as np
        import torch

        assert part.y is not None
        counts = np.bincount(part.y, minlength=cast(int, settings.classes))
        weights = len(part.y) / (len(counts) * np.maximum(counts, 1))
        cast(Any, model).class_weights = torch.from_numpy(weights.astype(np.float32))

    def objectives(self, settings: ClassifierSettings) -> tuple[Objective, ...]:
        """One."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: ClassifierSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The cross-entropy in nats, weighted and smoothed as asked, and the part of the batch that is named right."""
        from torch.nn import functional

        assert batch.y is not None
        whole = cast(Any, model)
        logits = _outputs(whole.network, batch.x, settings.dropout, noise)  # (batch, classes)
        loss = functional.cross_entropy(
            logits, batch.y, weight=whole.class_weights, label_smoothing=settings.label_smoothing
        )
        return {"loss": loss, "accuracy_ratio": (logits.detach().argmax(dim=1) == batch.y).float().mean()}

    def deployed(self, model: nn.Module) -> nn.Module:
        """The network: sample (batch, *shape) to logits (batch, classes)."""
        network: nn.Module = cast(Any, model).network
        return network

    def signature(self, settings: ClassifierSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """One input ``input``, one output ``logits``."""
        return _signature(settings, "logits", settings.classes)

    def meaning(self, settings: ClassifierSettings) -> Mapping[str, str]:
        """What the input is, and how the output is read."""
        return {
            "input": "a sample after the preprocessing; the class is the place of the greatest logit, and the softmax "
            "of the logits are the probabilities that training fitted"
        }

    def groups(self, settings: ClassifierSettings) -> tuple[Group, ...]:
        """See ``label_groups``."""
        return label_groups(settings)

    def draw(
        self, settings: ClassifierSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Rows of ``part`` in an order drawn from the seed, each at most once, with their labels (samples,) int64."""
        return _drawn(samples, seed, part)


class _Regressor:
    """The Family object: see ``families.Family``."""

    settings: type = RegressorSettings
    output: Output = "values"
    tokens = False

    def complete(self, settings: RegressorSettings, form: Form) -> RegressorSettings:
        """Architecture, shape and the number of targets are the data's, where a person did not choose."""
        if not form.targets:
            raise UsageError(
                "a regressor needs numbers to predict",
                where="[data]",
                got=f"no target in the set {form.name!r}",
                next_step="give a column the role 'target'",
            )
        return cast(RegressorSettings, _fitted(settings, form, targets=len(form.targets)))

    def build(self, settings: RegressorSettings) -> nn.Module:
        """A ``label_models.Regressor``."""
        from edgegen.train.label_models import Regressor

        return Regressor(_network(settings, settings.targets), cast(int, settings.targets))

    def prepare(self, model: nn.Module, settings: RegressorSettings, part: Part) -> None:
        """Keeps the targets' mean and deviation of the training part in the model.

        Raises:
            UsageError: a target that never varies there.
        """
        import numpy as np
        import torch

        assert part.y is not None
        deviation = np.std(part.y, axis=0, dtype=np.float64)
        if not deviation.all():
            raise UsageError(
                "a target never varies in the training part, so there is nothing to learn",
                where="[data]",
                got=f"target {int(np.argmin(deviation)) + 1} of {len(deviation)} is always {part.y[0][deviation == 0]}",
                next_step="leave the target out, or split in another way",
            )
        whole = cast(Any, model)
        whole.mean.copy_(torch.from_numpy(np.mean(part.y, axis=0, dtype=np.float64)))
        whole.deviation.copy_(torch.from_numpy(deviation))

    def objectives(self, settings: RegressorSettings) -> tuple[Objective, ...]:
        """One."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: RegressorSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The mean loss over targets and batch, in units of the targets' variance."""
        from torch.nn import functional

        assert batch.y is not None
        whole = cast(Any, model)
        wanted = (batch.y - whole.mean) / whole.deviation  # (batch, targets)
        found = _outputs(whole.network, batch.x, settings.dropout, noise)
        measure = functional.mse_loss if settings.loss == "mse" else functional.huber_loss
        return {"loss": measure(found, wanted)}

    def deployed(self, model: nn.Module) -> nn.Module:
        """The model itself: sample (batch, *shape) to values (batch, targets) in the targets' units."""
        return model

    def signature(self, settings: RegressorSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """One input ``input``, one output ``values``."""
        return _signature(settings, "values", settings.targets)

    def meaning(self, settings: RegressorSettings) -> Mapping[str, str]:
        """What the input is, and how the output is read."""
        return {"input": "a sample after the preprocessing; the values come in the targets' own units"}

    def groups(self, settings: RegressorSettings) -> tuple[Group, ...]:
        """See ``label_groups``."""
        return label_groups(settings, "network.")

    def draw(
        self, settings: RegressorSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Rows of ``part`` in an order drawn from the seed, each at most once, with their targets, float32 rows."""
        return _drawn(samples, seed, part)


CLASSIFIER = _Classifier()
REGRESSOR = _Regressor()


def _fitted(settings: Any, form: Form, **decided: Any) -> Any:
    architecture = choose_architecture(form, settings.architecture)
    widths = choose_widths(architecture, settings.widths)
    check_size(architecture, widths, form.shape)
    return filled(
        settings,
        form,
        architecture=architecture,
        input_shape=form.shape,
        **decided,
    )


def _network(settings: Any, outputs: int | None) -> Any:
    if settings.architecture is None or settings.input_shape is None or outputs is None:
        raise UsageError(
            "what the data decide is not known", where="[model]", next_step="complete the settings from data"
        )
    from edgegen.train.label_models import label_network

    widths = choose_widths(settings.architecture, settings.widths)
    return label_network(settings.architecture, settings.input_shape, widths, outputs)


def _outputs(network: Any, x: Tensor, dropout: float, noise: Generator) -> Tensor:
    """(batch, outputs); while training, with features dropped as ``noise`` draws (arXiv 1207.0580)."""
    import torch

    features = network.body(x)  # (batch, features)
    if dropout and network.training:
        kept = torch.rand(features.shape, generator=noise) >= dropout
        features = features * kept.to(features.device, features.dtype) / (1 - dropout)
    outputs: Tensor = network.head(features)
    return outputs


def _signature(settings: Any, name: str, outputs: int | None) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    assert outputs is not None
    return (
        (TensorSpec(name="input", dtype="float32", shape=(1, *settings.input_shape)),),
        (TensorSpec(name=name, dtype="float32", shape=(1, outputs)),),
    )


def _drawn(samples: int, seed: int, part: Part | None) -> Draw:
    import numpy as np

    assert part is not None
    rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(part))[:samples]
    x = np.asarray(part.x[rows]).astype(np.float32, copy=False)
    return Draw(inputs={"input": x}, targets=None if part.y is None else np.asarray(part.y[rows]))
