"""What leaves together: every family's description, held against models in which the same channels are silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgegen.compress.lessons import Lessons
from edgegen.compress.prune.cut import Kept, check_exact, rebuilt, silenced
from edgegen.compress.prune.importance import judge
from edgegen.compress.prune.narrow import narrower, scaled
from edgegen.core.errors import BuildError
from edgegen.train.autoregressive import AUTOREGRESSIVE
from edgegen.train.deployed import load_deployed, model_signature
from edgegen.train.families import FAMILIES, can_narrow, channel_groups, find_family
from edgegen.train.narrowing import Group, narrowed
from support.distilled_parents import parent_of

CLASSES = {"conditional": True, "classes": 3}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {"side": 8, "image_channels": 1, "latent": 4, "decoder_channels": (12, 8, 6)}),
    "conditional gan": (
        "gan",
        {
            "side": 8,
            "image_channels": 2,
            "latent": 4,
            "generator_channels": (8, 6, 5),
            "conditional": True,
            "classes": 3,
        },
    ),
    "mlp": ("classifier", {"architecture": "mlp", "input_shape": (5,), "classes": 3, "widths": (9, 7, 6)}),
    "mlp regressor": ("regressor", {"architecture": "mlp", "input_shape": (5,), "targets": 2, "widths": (9, 7)}),
    "cnn1d": ("classifier", {"architecture": "cnn1d", "input_shape": (2, 24), "classes": 3, "widths": (6, 8)}),
    "ds-cnn": ("classifier", {"architecture": "ds-cnn", "input_shape": (1, 12, 8), "classes": 3, "widths": (6, 8, 7)}),
    "resnet8": (
        "classifier",
        {"architecture": "resnet8", "input_shape": (3, 8, 8), "classes": 3, "widths": (6, 8, 10)},
    ),
    "equal resnet8": (
        "regressor",
        {"architecture": "resnet8", "input_shape": (1, 8, 8), "targets": 1, "widths": (6, 6, 6)},
    ),
    "mobilenet": (
        "classifier",
        {"architecture": "mobilenet-v1-0.25", "input_shape": (1, 64, 64), "classes": 2, "widths": (2, *[3] * 13)},
    ),
    "dense autoencoder": ("autoencoder", {"shape": (7,), "widths": (9, 6, 5), "bottleneck": 2}),
    "autoencoder of images": (
        "autoencoder",
        {"kind": "conv", "shape": (1, 8, 8), "widths": (6, 8), "bottleneck": 3},
    ),
    "autoencoder of series": (
        "autoencoder",
        {"kind": "conv", "shape": (2, 16), "widths": (5, 6, 8), "bottleneck": 3},
    ),
    "one layer of units": ("autoregressive", {"cell": "gru", "width": 8, "layers": 1, "vocabulary": 5, "context": 6}),
    "gru": (
        "autoregressive",
        {"cell": "gru", "width": 8, "hidden": (10,), "layers": 3, "vocabulary": 5, "context": 6},
    ),
    "transformer": (
        "autoregressive",
        {"width": 8, "heads": 4, "head_length": 3, "hidden": (9, 7), "layers": 2, "vocabulary": 5, "context": 6},
    ),
    "spline": ("flow", {"features": 5, "layers": 2, "widths": (8, 6, 5, 7)}),
    "realnvp": ("flow", {"features": 3, "layers": 3, "width": 6, "kind": "realnvp"}),
}


def built(name: str, seed: int) -> tuple[nn.Module, str, Any]:
    """A model of that name, every weight and every statistic of its norms drawn anew."""
    family, more = MODELS[name]
    found = find_family(family)
    asked = found.settings(**more)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module = found.deployed(found.build(asked)).eval()
        for tensor_name, tensor in module.state_dict().items():
            if tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape) * 0.4 / max(1, tensor[0].numel()) ** 0.5)
    return module, family, asked


def inputs_of(family: str, asked: Any) -> tuple[torch.Tensor, ...]:
    """A few rows of the deployed model's inputs; of sequences rows of tokens."""
    random = torch.Generator().manual_seed(6)
    if find_family(family).tokens:
        return (torch.randint(0, asked.vocabulary, (4, asked.context), generator=random),)
    return tuple(torch.randn(4, *spec.shape[1:], generator=random) for spec in model_signature(family, asked)[0])


def answer(module: Any, family: str, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Of a model of sequences the scores of whole rows."""
    with torch.no_grad():
        found = module.whole(*inputs) if find_family(family).tokens else module(*inputs)
    return found if isinstance(found, torch.Tensor) else found[0]


def some_kept(family: str, asked: Any, draw: st.DataObject) -> tuple[Kept, Any]:
    """Any channels of every group, groups of one number equally many; and the settings that count them."""
    groups = channel_groups(family, asked)
    counts = {
        number: draw.draw(st.integers(1, next(group.channels for group in groups if group.number == number)))
        for number in sorted({group.number for group in groups}, key=str)
    }
    kept = {
        group.name: torch.tensor(sorted(draw.draw(st.permutations(range(group.channels)))[: counts[group.number]]))
        for group in groups
    }
    return kept, narrowed(asked, groups, counts)


@pytest.mark.parametrize("name", MODELS)
@given(draw=st.data(), seed=st.integers(0, 99))
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
def test_a_narrower_model_answers_as_one_with_silent_channels(name: str, draw: st.DataObject, seed: int) -> None:
    module, family, asked = built(name, seed)
    kept, smaller = some_kept(family, asked, draw)
    inputs = inputs_of(family, asked)
    quiet = silenced(module, channel_groups(family, asked), kept)
    narrow = rebuilt(module, family, asked, smaller, kept, {})
    wanted = answer(quiet, family, inputs)
    torch.testing.assert_close(answer(narrow, family, inputs), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert [group.channels for group in channel_groups(family, smaller)] == [len(part) for part in kept.values()]


@pytest.mark.parametrize("name", MODELS)
def test_every_group_takes_weights_along(name: str) -> None:
    module, family, asked = built(name, 0)
    groups = channel_groups(family, asked)
    before = sum(parameter.numel() for parameter in module.parameters())
    for number in {group.number for group in groups}:
        channels = next(group.channels for group in groups if group.number == number)
        smaller = narrowed(asked, groups, {number: channels - 1})
        kept = {group.name: torch.arange(group.channels - (1 if group.number == number else 0)) for group in groups}
        after = sum(parameter.numel() for parameter in rebuilt(module, family, asked, smaller, kept, {}).parameters())
        assert after < before


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_a_wrong_description_is_found_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = parent_of(name, tmp_path)
    module, family, asked = load_deployed(context.need_parent())
    lessons = Lessons(family, asked, context.data)
    right, smaller = channel_groups(family, asked), scaled(family, asked, 0.5, 1)

    def wrong(found: Group) -> Group:
        """Three runs are taken for one of three neighbours: as many rows leave, but others."""
        members = [
            replace(member, repeats=1, block=member.block * 3) if member.repeats == 3 else member
            for member in found.members
        ]
        return replace(found, members=tuple(members))

    monkeypatch.setattr(type(AUTOREGRESSIVE), "groups", lambda self, known: tuple(map(wrong, right)))
    kept = {group.name: torch.arange(group.channels // 2) * 2 for group in right}
    with pytest.raises(BuildError, match="answers otherwise than the one in which they are silent"):
        check_exact(module, family, asked, smaller, kept, lessons, lessons.ask(4, 1))


def test_settings_of_another_model_are_refused(tmp_path: Path) -> None:
    context = parent_of("gru", tmp_path)
    module, family, asked = load_deployed(context.need_parent())
    lessons = Lessons(family, asked, context.data)
    smaller = replace(scaled(family, asked, 0.5, 4), vocabulary=4)
    with pytest.raises(BuildError, match="narrower settings are not those of this model"):
        narrower(module, family, asked, smaller, lessons)
    with pytest.raises(BuildError, match="smaller settings are not those of this model"):
        narrower(module, family, asked, replace(asked, hidden=(400,)), lessons)


def test_channels_come_in_multiples_and_heads_one_by_one() -> None:
    vae = find_family("vae").settings(side=8, image_channels=1)
    assert scaled("vae", vae, 0.75, 4).decoder_channels == (48, 24, 12)
    assert scaled("vae", replace(vae, decoder_channels=(64, 32, 2)), 0.5, 4).decoder_channels == (32, 16, 2)
    assert scaled("vae", vae, 0.05, 8).decoder_channels == (8, 8, 8)
    _, family, asked = built("transformer", 0)
    narrow = scaled(family, replace(asked, head_length=None, hidden=()), 0.5, 4)
    assert (narrow.heads, narrow.head_length, narrow.hidden, narrow.width) == (2, 2, (16, 16), 8)
    gru = scaled("autoregressive", AUTOREGRESSIVE.settings(cell="gru", vocabulary=5, context=6, width=32), 0.5, 4)
    assert (gru.width, gru.hidden) == (16, (16,))


def test_only_models_by_code_of_the_project_cannot_be_narrower() -> None:
    assert [name for name in FAMILIES if can_narrow(name)] == ["module"]
    assert "built by code of the project" in can_narrow("module")
    with pytest.raises(BuildError, match="cannot be removed"):
        scaled("module", None, 0.5, 4)


@pytest.mark.parametrize("name", ["gru", "classifier", "flow"])
def test_what_does_not_matter_scores_least(name: str, tmp_path: Path) -> None:
    context = parent_of(name, tmp_path)
    module, family, asked = load_deployed(context.need_parent())
    lessons = Lessons(family, asked, context.data)
    groups = channel_groups(family, asked)
    dead = {group.name: torch.arange(1, group.channels) for group in groups}  # all but the first
    scores = judge(silenced(module, groups, dead), family, asked, groups, lessons, 3).scores
    for group in groups:
        assert float(scores[group.name][0]) <= 1e-12
        assert float(scores[group.name].max()) > 1e-9
