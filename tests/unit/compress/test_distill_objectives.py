"""Hidden activations, attention and whole models: what a student is compared with besides answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgegen.compress.distill.objectives import Objectives, needs_whole
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.distill.shares import share_error, shares
from edgegen.compress.distill.taps import Maps, Tap, attention_error, entering, find_taps
from edgegen.compress.distill.whole import Critic, Whole
from edgegen.compress.distill.written import write_rows
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.core.errors import BuildError
from edgegen.train.deployed import load_deployed, load_model
from edgegen.train.families import find_family
from support.distilled_parents import parent_of


def opened(name: str, folder: Path) -> tuple[nn.Module, str, Any, Lessons, Path]:
    """A small parent with its lessons and the folder of its files."""
    context = parent_of(name, folder)
    module, family, settings = load_deployed(context.need_parent())
    return module, family, settings, Lessons(family, settings, context.data), context.need_parent()


def test_a_map_finds_what_is_linear_and_tells_what_is_not() -> None:
    random = torch.Generator().manual_seed(1)
    mine = torch.randn(400, 4, generator=random)
    linear = mine @ torch.randn(4, 7, generator=random) + 3.0
    assert float(Maps().error("a", mine, linear)) < 1e-4
    strange = torch.randn(400, 7, generator=random)
    assert float(Maps().error("a", mine, strange)) == pytest.approx(1.0, abs=0.1)


def test_a_map_of_maps_of_activations_takes_every_place_as_a_row() -> None:
    random = torch.Generator().manual_seed(1)
    mine = torch.randn(8, 3, 5, 5, generator=random)
    wanted = torch.einsum("oc,bchw->bohw", torch.randn(6, 3, generator=random), mine)
    assert float(Maps().error("a", mine, wanted)) < 1e-4


def test_maps_go_on_from_what_a_checkpoint_kept() -> None:
    random = torch.Generator().manual_seed(1)
    rows = [(torch.randn(16, 3, generator=random), torch.randn(16, 5, generator=random)) for _ in range(3)]
    whole, before = Maps(), Maps()
    for mine, theirs in rows[:2]:
        whole.error("a", mine, theirs)
        before.error("a", mine, theirs)
    after = Maps()
    after.take_up(before.state())
    assert after.error("a", *rows[2]).equal(whole.error("a", *rows[2]))
    assert not Maps().error("a", *rows[2]).equal(whole.error("a", *rows[2]))


def test_attention_maps_do_not_depend_on_the_scale_or_number_of_channels() -> None:
    one = torch.randn(3, 4, 6, 6)
    assert float(attention_error(one, torch.cat([one, one], dim=1) * 5)) == pytest.approx(0, abs=1e-6)
    assert float(attention_error(one, torch.randn(3, 4, 6, 6))) > 0.01


def test_layers_are_compared_by_name_and_by_the_number_that_they_were_made_from(tmp_path: Path) -> None:
    module, family, settings, lessons, _ = opened("transformer", tmp_path)
    kind = find_family(family)
    student = kind.deployed(kind.build(replace(settings, layers=1)))
    question = lessons.ask(2, 1)

    def run(each: nn.Module) -> torch.Tensor:
        return lessons.answer(each, question)

    taps = find_taps(student, module, run, {0: 1})
    assert Tap(student="layers.0.hidden_norm", parent="layers.1.hidden_norm") in taps
    assert Tap(student="norm", parent="norm") in taps
    assert Tap(student="head", parent="head") in taps


def test_what_enters_the_first_layer_is_no_hidden_activation(tmp_path: Path) -> None:
    module, _, _, lessons, _ = opened("vae", tmp_path)
    question = lessons.ask(2, 1)
    taps = find_taps(module, module, lambda each: lessons.answer(each, question), {})
    assert [tap.student for tap in taps] == ["conv1", "conv2", "conv3"]


def test_attention_shares_are_the_models_own(tmp_path: Path) -> None:
    module, _, _, lessons, _ = opened("transformer", tmp_path)
    question = lessons.ask(3, 1)
    with entering(module, ("layers.1.looks", "layers.1.mixes")) as seen, torch.no_grad():
        lessons.answer(module, question)
        found = shares(module, 1, seen["layers.1.looks"])  # (batch, heads, tokens, tokens)
        layer: Any = module.get_submodule("layers.1")
        value = layer.looks(seen["layers.1.looks"]).chunk(3, dim=2)[2]
        value = value.reshape(3, -1, layer.heads, layer.length).transpose(1, 2)
        mixed = torch.matmul(found, value).transpose(1, 2).flatten(2)
    assert torch.allclose(mixed, seen["layers.1.mixes"], atol=1e-5)
    assert float(share_error(found, found)) == pytest.approx(0, abs=1e-6)
    assert float(share_error(found[:, :2], found)) > 0


def test_a_whole_model_is_the_parents_around_the_student(tmp_path: Path) -> None:
    module, family, settings, lessons, folder = opened("vae", tmp_path)
    whole, stored = Whole(family, settings, module, folder), load_model(folder)[0]
    for name, tensor in whole.model.state_dict().items():
        assert tensor.equal(stored.state_dict()[name]), name
    assert all(item.requires_grad for item in whole.student.parameters())
    assert not any(item.requires_grad for item in whole.model.get_submodule("encoder").parameters())
    batch, noise = whole.batch(lessons, 4, 3)
    with torch.no_grad():
        expected = find_family(family).loss(stored, settings, batch, noise)["loss"] / 64
    assert float(whole.own_loss(lessons, 4, 3).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_critic_learns_and_the_generator_is_told_nothing_by_it(tmp_path: Path) -> None:
    module, family, settings, lessons, folder = opened("gan", tmp_path)
    whole = Whole(family, settings, module, folder)
    critic = Critic(whole, lessons, 8, 1e-2, seed=3)
    before = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    critic.follow(0)
    moved = {name.split(".")[0] for name, tensor in whole.model.state_dict().items() if not tensor.equal(before[name])}
    assert moved == {"critic"}
    critic.loss(0).backward()  # type: ignore[no-untyped-call]
    assert any(item.grad is not None and item.grad.any() for item in whole.student.parameters())


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_a_model_writes_as_likely_as_it_says(name: str, tmp_path: Path) -> None:
    module, family, settings, _, _ = opened(name, tmp_path)
    with torch.no_grad():
        module.get_submodule("head").weight.mul_(4.0)  # type: ignore[operator]
    assert write_rows(module, family, settings, 5, 7).shape == (5, settings.context + 1)
    rows = write_rows(module, family, settings, 300, 7, earlier=0)
    assert rows.equal(write_rows(module, family, settings, 300, 7, earlier=0))
    with torch.no_grad():
        scores = torch.log_softmax(module.whole(rows[:, :-1]), dim=2)  # type: ignore[operator]
    given = -scores.gather(2, rows[:, 1:, None]).mean()
    entropy = -(scores.exp() * scores).sum(dim=2).mean()
    uniform = torch.log(torch.tensor(5.0))
    assert abs(float(given - entropy)) < 0.1 * float(uniform)  # its own surprise is its entropy
    assert float(entropy) < 0.95 * float(uniform)


UNFIT: dict[str, tuple[str, Distilled]] = {
    "no weight at all": ("vae", Distilled(response=0.0)),
    "attention without maps": ("flow", Distilled(attention=1.0)),
    "truth of a gan": ("gan", Distilled(truth=1.0)),
    "eyes of a classifier": ("classifier", Distilled(perceptual=1.0)),
    "a critic of a vae": ("vae", Distilled(adversarial=1.0)),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_objective_without_effect_is_refused(case: str, tmp_path: Path) -> None:
    name, asked = UNFIT[case]
    module, family, settings, lessons, folder = opened(name, tmp_path)
    whole = Whole(family, settings, module, folder) if needs_whole(lessons, asked) else None
    with pytest.raises(BuildError, match="cannot learn by"):
        Objectives(module, module, lessons, asked, seed=1, whole=whole)


def test_objectives_are_zero_for_the_parent_itself(tmp_path: Path) -> None:
    module, _, _, lessons, _ = opened("transformer", tmp_path)
    asked = Distilled(features=1.0, attention=1.0, temperature=2.0)
    objectives = Objectives(module, module, lessons, asked, seed=1)
    loss = objectives.loss(module, module, lessons.ask(4, step_seed(1, 0)), 0)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)


def test_a_black_student_is_told_where_to_go(tmp_path: Path) -> None:
    module, family, settings, lessons, _ = opened("vae", tmp_path)
    kind = find_family(family)
    student = kind.deployed(kind.build(settings))
    with torch.no_grad():
        student.get_submodule("conv3").bias.fill_(-40.0)  # type: ignore[operator]
    question = lessons.ask(4, 1)
    plain = lessons.loss(lessons.answer(student, question), lessons.answer(module, question).detach())
    plain.backward()  # type: ignore[no-untyped-call]
    last = student.get_parameter("conv3.bias")
    assert last.grad is not None
    assert float(last.grad.abs()) < 1e-12  # nothing comes back through the sigmoid
    student.zero_grad()
    objectives = Objectives(student, module, lessons, Distilled(), seed=1)
    objectives.loss(student, module, question, 0).backward()  # type: ignore[no-untyped-call]
    assert last.grad is not None
    assert float(last.grad) < -1e-4  # brighter
