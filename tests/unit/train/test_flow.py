"""Flows: both directions are each other's inverse, the likelihood is a density, and training finds one."""

import math

import numpy as np
import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.train.coupling import BOUND, Flow
from edgegen.train.epochs import optimize, repeatable
from edgegen.train.families import Batch
from edgegen.train.flow import FLOW, FlowSettings
from edgegen.train.settings import TrainSettings
from support.datasets import image_form, vector_form

KINDS = ("spline", "realnvp")


def _flow(kind, features=3, seed=0):
    """A flow whose networks are not zero, as they are when fresh."""
    torch.manual_seed(seed)
    flow = Flow(kind, features, widths=[(8, 8)] * 3, bins=5)
    with torch.no_grad():
        for coupling in flow.couplings:
            coupling.last.weight.normal_(0, 0.3)
            coupling.last.bias.normal_(0, 0.3)
        for mixing in flow.mixings:
            mixing.linear.weight.add_(0.2 * torch.randn(features, features))
            mixing.linear.bias.normal_()
    return flow


@pytest.mark.parametrize("features", [2, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_encode_undoes_forward(kind, features):
    flow = _flow(kind, features).double()
    noise = 2 * torch.randn(200, features, dtype=torch.float64)
    noise[0] = 3 * BOUND  # outside the splines
    assert torch.allclose(flow.encode(flow(noise))[0], noise, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_determinant_is_that_of_the_jacobian(kind):
    flow = _flow(kind).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    _, found = flow.encode(x)
    for row, log_det in zip(x, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda one: flow.encode(one[None])[0][0], row)
        assert math.isclose(torch.linalg.slogdet(jacobian).logabsdet.item(), log_det.item(), abs_tol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_integrates_to_one(kind):
    flow = _flow(kind, features=2).double()
    step = 0.05
    axis = torch.arange(-15, 15, step, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = torch.cat([flow.log_likelihood(part).exp() for part in grid.split(50_000)]).sum() * step**2
    assert math.isclose(total.item(), 1.0, abs_tol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_flow_moves_features_about_and_changes_none(kind):
    flow = Flow(kind, 4, widths=[(8, 8)] * 3, bins=5)
    noise = torch.randn(5, 4)
    assert torch.allclose(flow(noise).sort(dim=1).values, noise.sort(dim=1).values, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_comes_nearer_to_a_ring_than_a_normal_distribution(kind):
    random = np.random.Generator(np.random.PCG64(0))
    angle = random.uniform(0, 2 * np.pi, 1500)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 1.4 + random.normal(0, 0.15, (1500, 2))
    x = torch.from_numpy(ring.astype(np.float32))
    settings = FlowSettings(kind=kind, layers=4, width=16, features=2)
    with repeatable(1, 0):
        model = FLOW.build(settings)
        optimize(
            model,
            lambda rows, noise, _: FLOW.loss(model, settings, Batch(x=x[rows]), noise),
            1200,
            TrainSettings(epochs=12, batch_size=64, learning_rate=0.005),
            seed=0,
            task="ring",
            progress=_Quiet(),
        )
    held = x[1200:]
    with torch.no_grad():
        likelihood = FLOW.held_out(model, settings, Batch(x=held), torch.Generator())["log_likelihood_nats"]
    normal = -0.5 * math.log((2 * math.pi * math.e) ** 2 * np.linalg.det(np.cov(ring.T)))
    best = -(math.log(2 * math.pi * 1.4) + 0.5 * math.log(2 * math.pi * math.e * 0.15**2))  # a ring that is thin
    assert likelihood.shape == (300,)
    assert normal + 0.2 < likelihood.mean().item() < best + 0.15


class _Quiet:
    def say(self, message):
        pass

    def advance(self, task, done, total, detail=""):
        pass


def test_a_flow_takes_vectors_of_two_features_and_more():
    with pytest.raises(UsageError, match="vectors of at least two features"):
        FLOW.complete(FlowSettings(), image_form())
    with pytest.raises(UsageError, match="vectors of at least two features"):
        FLOW.complete(FlowSettings(), vector_form(features=1))
    with pytest.raises(UsageError, match=r"model\.features"):
        FLOW.complete(FlowSettings(features=3), vector_form(features=6))
    with pytest.raises(UsageError, match="not known"):
        FLOW.build(FlowSettings())


def test_the_deployed_flow_takes_noise_and_draws_no_random_numbers():
    settings = FLOW.complete(FlowSettings(layers=2, width=8), vector_form(features=6))
    module = FLOW.deployed(FLOW.build(settings)).eval()
    rows = torch.from_numpy(FLOW.draw(settings, 3, 1).inputs["latent"])
    assert rows.shape == (3, 6)
    assert torch.equal(module(rows), module(rows))
    assert torch.allclose(module(rows[:1]), module(rows)[:1])
