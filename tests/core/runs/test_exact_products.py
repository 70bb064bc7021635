"""Exact products of a few rows are those of autograd, whichever way was taken, and the model is studied once."""

import numpy as np
import pytest
import torch
from torch import nn

from influence_core.engine import study as looking
from influence_core.inputs.reopened import Inputs
from influence_core.runs import exact_products as module
from tests.making.oracles import dataset, flat_gradients, settled


class NoForward(torch.autograd.Function):
    """A doubling without a forward derivative."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[override]
        return x * 2

    @staticmethod
    def backward(ctx, g):  # type: ignore[override]
        return g * 2


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return NoForward.apply(x)  # type: ignore[return-value]


class Deciding(nn.Module):
    """Its batch decides: right only when every sample is a batch of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.mean() > 0 else 3 * x


def opened(middle: nn.Module) -> Inputs:
    torch.manual_seed(0)
    model = settled(nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), middle, nn.Linear(5, 3)))
    train, val = (dataset(2, 2, 2, n=n, classes=3, seed=n, dtype=torch.float32) for n in (30, 9))
    return Inputs(model, train, val, None, "cross_entropy")


@pytest.mark.parametrize(
    ("middle", "way"), [(nn.ReLU(), "forward"), (Doubled(), "sweep"), (Deciding(), "sweep")]
)
def test_products_are_those_of_autograd_and_the_way_is_the_one_the_model_allows(middle, way, monkeypatch):
    inputs, swept, studies = opened(middle), [], []
    sweep, study_model = module.sweep, looking.study_model
    monkeypatch.setattr(module, "sweep", lambda *a, **k: swept.append(1) or sweep(*a, **k))
    monkeypatch.setattr(module, "study_model", lambda *a: studies.append(1) or study_model(*a))
    named = dict(inputs.model.named_parameters())
    direction = {name: torch.randn_like(value) for name, value in named.items()}
    flat = torch.cat([value.flatten() for value in direction.values()])
    truth = (flat_gradients(inputs.model, inputs.train) @ flat).numpy()
    for rows in (np.array([3, 1, 28, 7, 11, 20]), np.array([5])):
        found = module.exact_products(inputs, "train", direction, rows)
        np.testing.assert_allclose(found, truth[rows], rtol=1e-4, atol=1e-5 * np.abs(truth).max())
    assert len(swept) == (0 if way == "forward" else 2), (
        "the way that is taken is not the one the model allows"
    )
    assert len(studies) == 1, "every round pays for another study of the same model"
