"""Which families and sizes suit a task and its data, with the reason for each; needs no torch but for counting weights.

A family says itself whether the data fit it; here stands what it is good for, and what small, middle and large mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from edgegen.core.errors import UsageError
from edgegen.core.records import read_record, write_record
from edgegen.train.families import Family, find_family

if TYPE_CHECKING:
    from edgegen.data.dataset import Form

Task: TypeAlias = Literal["generate", "classify", "regress", "detect"]

TASKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "generate": ("vae", "gan", "flow", "autoregressive"),
        "classify": ("classifier",),
        "regress": ("regressor",),
        "detect": ("autoencoder",),
    }
)
"""Task -> the families that are for it."""

AS_WRITTEN = "as written"
"""Size of the proposal that the project file itself makes."""

_Sizes: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]

_ITS_OWN: tuple[int, ...] = ()  # the architecture's own widths, so that a project that names none has the same model
_LABELLED: Mapping[str, _Sizes] = {
    "vectors": (
        ("mlp small", {"architecture": "mlp", "widths": (16,)}),
        ("mlp medium", {"architecture": "mlp", "widths": _ITS_OWN}),
        ("mlp large", {"architecture": "mlp", "widths": (128, 128, 64)}),
    ),
    "series": (
        ("cnn1d small", {"architecture": "cnn1d", "widths": (16, 16, 32)}),
        ("cnn1d medium", {"architecture": "cnn1d", "widths": _ITS_OWN}),
        ("cnn1d large", {"architecture": "cnn1d", "widths": (64, 128, 128)}),
    ),
    "audio": (
        ("cnn1d medium", {"architecture": "cnn1d", "widths": _ITS_OWN}),
        ("ds-cnn small", {"architecture": "ds-cnn", "widths": (32, 32, 32)}),
        ("ds-cnn medium", {"architecture": "ds-cnn", "widths": _ITS_OWN}),
        ("resnet8 medium", {"architecture": "resnet8", "widths": _ITS_OWN}),
    ),
    "images": (
        ("ds-cnn small", {"architecture": "ds-cnn", "widths": (32, 32, 32)}),
        ("resnet8 small", {"architecture": "resnet8", "widths": (8, 16, 32)}),
        ("resnet8 medium", {"architecture": "resnet8", "widths": _ITS_OWN}),
    ),
}
_DENSE: _Sizes = (
    ("dense small", {"kind": "dense", "widths": (64,), "bottleneck": 8}),
    ("dense medium", {"kind": "dense", "widths": (128, 128, 128, 128), "bottleneck": 8}),
)
_SIZES: Mapping[str, Mapping[str, _Sizes]] = {
    "vae": {
        "images": (
            ("small", {"latent": 8, "encoder_channels": (8, 16), "decoder_channels": (32, 16, 8)}),
            ("medium", {"latent": 16, "encoder_channels": (16, 32), "decoder_channels": (64, 32, 16)}),
            ("large", {"latent": 32, "encoder_channels": (32, 64), "decoder_channels": (128, 64, 32)}),
        )
    },
    "gan": {
        "images": (
            ("small", {"latent": 16, "generator_channels": (32, 16, 8), "critic_channels": (16, 32)}),
            ("medium", {"latent": 32, "generator_channels": (64, 32, 16), "critic_channels": (32, 64)}),
        )
    },
    "flow": {
        "vectors": (
            ("spline small", {"kind": "spline", "layers": 4, "width": 24}),
            ("spline medium", {"kind": "spline", "layers": 8, "width": 48}),
            ("realnvp medium", {"kind": "realnvp", "layers": 8, "width": 48}),
        )
    },
    "autoregressive": {
        "tokens": (
            ("gru small", {"cell": "gru", "layers": 1, "width": 64}),
            ("gru medium", {"cell": "gru", "layers": 1, "width": 128}),
            ("transformer medium", {"cell": "transformer", "layers": 2, "width": 96, "heads": 4}),
        )
    },
    "classifier": _LABELLED,
    "regressor": _LABELLED,
    "autoencoder": {
        "vectors": _DENSE,
        "audio": _DENSE,
        "series": (*_DENSE, ("conv medium", {"kind": "conv", "widths": (16, 32), "bottleneck": 8})),
        "images": (*_DENSE, ("conv medium", {"kind": "conv", "widths": (16, 32), "bottleneck": 8})),
    },
}
"""Family -> kind of sample -> name of a size and its settings, small ones first."""

_WHY = {
    "vae": "learns steadily, and its likelihood says how far it is; what it draws is soft",
    "gan": "draws sharper than a vae of the same decoder; needs longer, and its loss says nothing of its quality",
    "flow": "knows the density of every sample, so that it can say what is unlikely; its two directions are exact",
    "autoregressive": "writes a token a step with its memory outside the model; its likelihood is exact",
    "classifier": "names the class; the whole network is what is deployed",
    "regressor": "predicts the numbers; the whole network is what is deployed",
    "autoencoder": "redraws normal samples; what it cannot redraw is an anomaly, so that none has to be known before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One family in one size."""

    name: str  # e.g. "vae small"
    family: str
    settings: Mapping[str, Any]  # what stands in [model] beside the family, plain values
    tokens: bool  # whether it takes tokens
    why: str  # what the family is good for, one clause


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What was thought of, and why there is no probe of it."""

    name: str
    kind: Literal["unsuited", "too large", "not probed", "failed"]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The model that the project file names already."""

    family: str
    settings: Mapping[str, Any]


def choose_task(form: Form, written: Written | None) -> tuple[Task, str]:
    """The task that the data and the project file suggest, and why."""
    if written is not None:
        for task, families in TASKS.items():
            if written.family in families:
                return task, f"the project's family is {written.family!r}"  # type: ignore[return-value]
    if form.targets:
        return "regress", "the data have numbers to predict"
    if form.classes:
        return "classify", "the data have classes; --task generate asks for something else"
    return "generate", "the data have neither classes nor numbers to predict"


def propose(
    task: str, forms: Mapping[str, Form], written: Written | None = None
) -> tuple[tuple[Proposal, ...], tuple[LeftOut, ...]]:
    """The families of a task in the sizes that fit the data, and those that do not, each with its reason.

    Args:
        forms: what the prepared data look like, by kind of sample: tables may be had as numbers and as tokens.
        written: the project's own model; it is proposed too, and what it sets beside the size holds for its family.
    """
    proposals: list[Proposal] = []
    left_out: list[LeftOut] = []
    for name in TASKS[task]:
        family, own = find_family(name), written if written is not None and written.family == name else None
        found: list[Proposal] = []
        for kind, form in forms.items():
            if family.tokens != (kind == "tokens"):
                continue
            sizes = [(size, {**(own.settings if own else {}), **more}) for size, more in _SIZES[name].get(kind, ())]
            if own is not None:
                sizes.insert(0, (AS_WRITTEN, dict(own.settings)))
            for size, settings in sizes:
                fitted = _fitted(f"{name} {size}", name, family, settings, form)
                if isinstance(fitted, LeftOut):
                    left_out.append(fitted)
                elif all(_completed(fitted, form) != _completed(other, form) for other in found):
                    found.append(fitted)
        if not found and not any(item.name.startswith(f"{name} ") for item in left_out):
            left_out.append(
                LeftOut(name=name, kind="unsuited", reason=_refusal(name, family, next(iter(forms.values()))))
            )
        proposals += found
    return tuple(proposals), tuple(left_out)


def deployed_parameters(proposal: Proposal, form: Form) -> int:
    """How many numbers its deployed part would hold; builds it with torch and throws it away."""
    import torch

    family = find_family(proposal.family)
    with torch.random.fork_rng(devices=[]):
        model = family.deployed(family.build(_completed(proposal, form)))
    return sum(tensor.numel() for tensor in model.state_dict().values())


def _fitted(name: str, family_name: str, family: Family, settings: Mapping[str, Any], form: Form) -> Proposal | LeftOut:
    plain = write_record(read_record(family.settings, settings, "model", "the proposal"))
    kept = {key: plain[key] for key in settings}
    proposal = Proposal(
        name=name, family=family_name, settings=kept, tokens=family.tokens, why=_WHY.get(family_name, "")
    )
    try:
        _completed(proposal, form)
    except UsageError as error:
        return LeftOut(name=name, kind="unsuited", reason=_short(error))
    return proposal


def _completed(proposal: Proposal, form: Form) -> Any:
    family = find_family(proposal.family)
    return family.complete(read_record(family.settings, proposal.settings, "model", proposal.name), form)


def _refusal(name: str, family: Family, form: Form) -> str:
    """What the family itself says of data that it does not take."""
    try:
        family.complete(family.settings(), form)
    except UsageError as error:
        return _short(error)
    return f"no size of {name} is known for {form.kind}"


def _short(error: UsageError) -> str:
    return error.what if error.got is None else f"{error.what}, and got {error.got}"
