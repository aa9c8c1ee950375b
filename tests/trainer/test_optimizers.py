"""Every optimizer goes downhill, remembers only its state, and matches its source."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.components.optimizer import optimizers, restore
from trainer.components.optimizer.adamw import AdamW
from trainer.components.optimizer.muon import orthogonalize

every_optimizer = pytest.mark.parametrize("kind", list(optimizers))


def parameters(seed=0):
    """A matrix of a layer, an embedding and a norm, by name."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"layers.0.mlp.up.weight": (6, 4), "embedding.weight": (5, 4), "norm.weight": (4,)}
    return {
        name: nn.Parameter(torch.randn(*shape, generator=random)) for name, shape in shapes.items()
    }


def loss_of(named):
    """A quadratic of its own steepness for every parameter, lowest at one."""
    terms = [
        (k + 1) * (parameter - 1).square().mean() for k, parameter in enumerate(named.values())
    ]
    return torch.stack(terms).sum()


def step(updater, named, factor=1.0):
    for parameter in named.values():
        parameter.grad = None
    loss = loss_of(named)
    loss.backward()
    updater.step(factor)
    return loss.item()


@every_optimizer
def test_a_quadratic_is_brought_down(kind):
    named = parameters()
    updater = optimizers.parse({"kind": kind, "learning_rate": 0.05}).build(named.items())
    losses = [step(updater, named) for _ in range(300)]
    assert losses[-1] < 0.05 * losses[0]


@every_optimizer
def test_every_parameter_moves_and_a_factor_of_zero_moves_none(kind):
    named = parameters()
    updater = optimizers.parse(kind).build(named.items())
    before = copy.deepcopy(named)
    step(updater, named, factor=0.0)
    assert all(torch.equal(named[name], before[name]) for name in named)
    step(updater, named)
    assert not any(torch.equal(named[name], before[name]) for name in named)


@every_optimizer
def test_a_restored_optimizer_goes_on_to_the_last_bit(kind):
    named = parameters()
    updater = optimizers.parse(kind).build(named.items())
    for _ in range(3):
        step(updater, named)
    saved = {name: tensor.clone() for name, tensor in updater.state().items()}
    twin = copy.deepcopy(named)
    other = optimizers.parse(kind).build(twin.items())
    restore(other, saved)
    for _ in range(3):
        step(updater, named), step(other, twin)
    assert all(torch.equal(named[name], twin[name]) for name in named)


@every_optimizer
def test_a_parameter_without_a_gradient_stays(kind):
    named = parameters()
    updater = optimizers.parse(kind).build(named.items())
    before = copy.deepcopy(named)
    named["norm.weight"].grad = torch.ones(4)
    updater.step(1.0)
    assert torch.equal(named["embedding.weight"], before["embedding.weight"])
    assert torch.equal(named["layers.0.mlp.up.weight"], before["layers.0.mlp.up.weight"])
    assert not torch.equal(named["norm.weight"], before["norm.weight"])


def test_adamw_is_torchs_adamw_with_decay_on_matrices_only():
    config = AdamW(learning_rate=0.01, weight_decay=0.3, beta2=0.9)
    ours, theirs = parameters(), parameters()
    updater = config.build(ours.items())
    groups = [
        {"params": [p for p in theirs.values() if p.ndim >= 2], "weight_decay": 0.3},
        {"params": [p for p in theirs.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.9), eps=1e-8, fused=True)
    for _ in range(5):
        step(updater, ours)
        reference.zero_grad()
        loss_of(theirs).backward()
        reference.step()
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=1e-7)


@given(rows=st.integers(1, 24), columns=st.integers(1, 24), count=st.integers(1, 3))
def test_orthogonalized_matrices_have_singular_values_near_one(rows, columns, count):
    random = torch.Generator().manual_seed(rows * 100 + columns)
    # Gradients are never this well conditioned; square random matrices may have a tiny singular
    # value that five iterations cannot lift, so lift all of them a little first.
    u, s, v = torch.linalg.svd(
        torch.randn(count, rows, columns, generator=random), full_matrices=False
    )
    matrices = u @ torch.diag_embed(s + 0.1 * s.amax(-1, keepdim=True)) @ v
    found = orthogonalize(matrices, steps=5).float()
    assert found.shape == matrices.shape
    singular = torch.linalg.svdvals(found)
    assert singular.min() > 0.6
    assert singular.max() < 1.3


def test_muon_turns_layers_matrices_by_an_orthogonal_step_and_leaves_the_rest_to_adamw():
    named = parameters()
    twin = copy.deepcopy(named)
    options = {"learning_rate": 0.1, "weight_decay": 0.0, "adamw_ratio": 0.5}
    muon = optimizers.parse({"kind": "muon", **options})
    step(muon.build(named.items()), named)
    step(AdamW(learning_rate=0.05).build(twin.items()), twin)
    for name in ("embedding.weight", "norm.weight"):
        assert torch.equal(named[name], twin[name])
    change = (parameters()["layers.0.mlp.up.weight"] - named["layers.0.mlp.up.weight"]) / 0.1
    singular = torch.linalg.svdvals(change.detach()) / (6 / 4) ** 0.5
    assert 0.6 < singular.min() < singular.max() < 1.3


def test_muon_treats_a_stack_of_matrices_as_so_many_matrices():
    stack = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    one_by_one = torch.stack([orthogonalize(matrix, 5) for matrix in stack])
    assert torch.allclose(orthogonalize(stack, 5).float(), one_by_one.float(), atol=2e-2)
