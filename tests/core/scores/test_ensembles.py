"""Ensembles: one member is the plain score, both gradients are one member's, the model comes back bit for bit."""

import pytest
import torch
from torch import nn

from influence_core.errors import InfluenceError
from influence_core.scores.influence.ensembles import (
    Member,
    as_member,
    checkpoints,
    ensemble_influence,
    seeds,
)
from tests.making.oracles import dataset, flat_gradients, products


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def first_weight(model: nn.Sequential) -> torch.Tensor:
    return dict(model.named_parameters())["0.weight"].detach()


TRAIN = dataset(5, n=20, classes=3, dtype=torch.float32)
VAL = dataset(5, n=6, classes=3, seed=1, dtype=torch.float32)


def product(model: nn.Module) -> torch.Tensor:
    return products(model, TRAIN, VAL)


def test_tracin_is_the_sum_of_products_under_each_checkpoint():
    models, rates = [net(k) for k in range(3)], [0.1, 0.05, 0.01]
    members = checkpoints([m.state_dict() for m in models], rates)
    found = ensemble_influence(net(9), TRAIN, [("utility", VAL)], members)
    truth = torch.stack([rate * product(model) for rate, model in zip(rates, models, strict=True)]).sum(0)
    assert torch.allclose(found.products[:, 0], truth, rtol=1e-4, atol=1e-7), (
        "a checkpoint's gradients were mixed with another's, or a learning rate was lost"
    )
    own = [r * flat_gradients(m, TRAIN).square().sum(1) for r, m in zip(rates, models, strict=True)]
    squares = torch.stack(own).sum(0)
    assert torch.allclose(found.self_influence, squares, rtol=1e-4)


def test_one_member_of_the_models_own_weights_is_the_plain_score():
    model = net()
    found = ensemble_influence(model, TRAIN, [("utility", VAL)], seeds([model]))
    assert torch.allclose(found.products[:, 0], product(model), rtol=1e-4, atol=1e-7)


def test_a_members_weights_leave_the_model_bit_for_bit_also_after_an_error():
    model, other = net(), net(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (member,) = seeds([other])
    with as_member(model, member):
        assert torch.equal(first_weight(model), first_weight(other)), "the member's weights were not used"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ZeroDivisionError), as_member(model, member):
        _ = 1 / 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), (
        "lost after an error"
    )


def test_misuse_is_a_sentence():
    with pytest.raises(InfluenceError, match="learning rates"):
        checkpoints([net().state_dict()], [0.1, 0.2])
    with pytest.raises(InfluenceError, match="same network"):
        ensemble_influence(net(), TRAIN, [("utility", VAL)], [Member(lambda _: {"x": torch.zeros(1)}, 1.0)])
    with pytest.raises(InfluenceError, match="without members"):
        ensemble_influence(net(), TRAIN, [("utility", VAL)], [])
