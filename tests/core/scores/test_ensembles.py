"""Ensembles: one member is the plain score, both gradients are one member's, members never decide what is trimmed."""

import pytest
import torch
from torch import nn

from influence_core.errors import InfluenceError
from influence_core.scores.influence.ensembles import (
    Member,
    as_member,
    checkpoints,
    ensemble_influence,
    masks,
    most_harmful,
    noise,
    seeds,
)
from tests.making.oracles import dataset, flat_gradients


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def first_weight(model: nn.Sequential) -> torch.Tensor:
    return dict(model.named_parameters())["0.weight"].detach()


TRAIN = dataset(5, n=20, classes=3, dtype=torch.float32)
VAL = dataset(5, n=6, classes=3, seed=1, dtype=torch.float32)


def product(model: nn.Module) -> torch.Tensor:
    return flat_gradients(model, TRAIN) @ flat_gradients(model, VAL).mean(0)


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


@pytest.mark.parametrize("make", [masks, noise])
def test_members_are_seeded_differ_and_leave_the_model_bit_for_bit(make):
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = make(2)
    with as_member(model, first):
        one = first_weight(model).clone()
        assert not torch.equal(one, before["0.weight"])
    with as_member(model, second):
        assert not torch.equal(first_weight(model), one), "all members are the same"
    with as_member(model, make(5)[0]):
        assert torch.equal(first_weight(model), one), "more members must not change the first one"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ZeroDivisionError), as_member(model, first):
        _ = 1 / 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), (
        "lost after an error"
    )


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_the_share_that_is_trimmed_does_not_depend_on_the_number_of_members(share):
    """The published code compares a threshold on the sum with the last member's scores."""
    sizes = set()
    for count in (1, 2, 5):
        scores = ensemble_influence(net(), TRAIN, [("utility", VAL)], noise(count, deviation=0.3)).products[
            :, 0
        ]
        chosen = most_harmful(scores, share)
        sizes.add(len(chosen))
        assert set(chosen) == set(torch.argsort(scores, stable=True)[: len(chosen)].tolist())
    assert sizes == {round(share * 20)}, f"members decided how many are trimmed: {sizes}"


def test_misuse_is_a_sentence():
    with pytest.raises(InfluenceError, match="learning rates"):
        checkpoints([net().state_dict()], [0.1, 0.2])
    with pytest.raises(InfluenceError, match="same network"):
        ensemble_influence(net(), TRAIN, [("utility", VAL)], [Member(lambda _: {"x": torch.zeros(1)}, 1.0)])
    with pytest.raises(InfluenceError, match="without members"):
        ensemble_influence(net(), TRAIN, [("utility", VAL)], [])
    with pytest.raises(InfluenceError, match="0 to 1"):
        most_harmful(torch.zeros(3), 5)
