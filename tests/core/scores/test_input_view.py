"""The inputs' own view knows no label: it must exist for any tensor of numbers, and tell its samples apart"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from influence_core.scores.suspicion.input_view import HALF, input_view, series_features
from influence_core.scores.views import WIDEST, View, scaled


def seen(inputs: torch.Tensor) -> np.ndarray | None:
    view = input_view(nn.Flatten(), TensorDataset(inputs, torch.zeros(len(inputs), dtype=torch.long)), None)
    return None if view is None else view.train


@pytest.mark.parametrize(
    "shape",
    [
        (7,),
        (9, 9),
        (1, 2000),
        (3, 40),
        (150, 6),
        (1, 12, 12),
        (3, 32, 20),
        (1, 1, 300),
        (1, 4, 90),
        (2, 5, 6, 7),
    ],
    ids=str,
)
def test_every_tensor_of_numbers_has_a_view_that_tells_samples_apart(shape):
    found = seen(torch.randn(12, *shape, generator=torch.Generator().manual_seed(0)))
    assert found is not None, (
        f"samples of {shape} leave suspicion to layers that may have memorised their labels"
    )
    assert len(found) == 12 and found.shape[1] <= max(WIDEST, *shape) and np.isfinite(found).all()
    assert np.linalg.matrix_rank(found - found.mean(0)) > 3, (
        f"{shape}: samples look alike; patches of one grey pixel have no contrast and are all zero"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_model_in_half_precision_has_a_view(dtype):
    inputs = torch.randn(9, 1, 12, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 2)).to(dtype)
    view = input_view(model, TensorDataset(inputs, torch.zeros(9, dtype=torch.long)), None)
    assert view is not None and view.train.dtype == np.float32 and np.isfinite(view.train).all()


def test_token_ids_have_none():
    assert seen(torch.zeros(4, 9, dtype=torch.long)) is None


def test_what_happens_in_a_series_is_seen_wherever_it_happens():
    """The spectrum's half of the view is the same for a series moved in a circle; the values' half is not."""
    series = torch.randn(5, 2, 600, generator=torch.Generator().manual_seed(1))
    before, after = series_features(series), series_features(series.roll(170, 2))
    cut = before.shape[1] - min(HALF, 2 * (HALF // 2))
    assert torch.allclose(before[:, cut:], after[:, cut:], atol=1e-4), (
        "the spectrum depends on where things happen"
    )
    assert not torch.allclose(before[:, :cut], after[:, :cut], atol=0.1), (
        "the values ignore where things happen"
    )


def test_the_longest_axis_is_time_whichever_place_it_has():
    series = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(series_features(series), series_features(series.transpose(1, 2)))


def test_constant_series_make_no_nan():
    found = seen(torch.ones(30, 2, 64))
    assert found is not None
    assert np.isfinite(scaled(View("v", found, found[:0]), 0).train).all()
