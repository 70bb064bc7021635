"""bfloat16 is offered where it is measured to agree with float32, and refused with the number where it does not."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.engine.agreement import rank_correlation
from influence_core.engine.precision import in_precision, spread_over
from influence_core.errors import InfluenceError
from tests.making.oracles import dataset, random_directions


def picture_net() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))


def pictures(n: int = 70) -> TensorDataset:
    """Contrast grows from picture to picture, so norms differ by more than rounding."""
    shape = dataset(3, 8, 8, n=n, classes=4, dtype=torch.float32)
    return TensorDataset(shape.tensors[0] * torch.linspace(0.2, 4, n)[:, None, None, None], shape.tensors[1])


def test_it_is_offered_where_ranks_agree_and_gives_float32_numbers():
    model, samples = picture_net(), pictures()
    directions = [ic.objective_gradient(model, samples)]
    exact = ic.sweep(model, samples, directions=directions, sketch=64)
    coarse = ic.sweep(model, samples, directions=directions, sketch=64, precision="bfloat16")
    for name in ("losses", "logits", "grad_norms", "grad_norms_l1", "products", "sketches"):
        assert getattr(coarse, name).dtype == torch.float32, f"{name} is kept in three digits"
    assert rank_correlation(coarse.grad_norms, exact.grad_norms) >= 0.99
    assert not torch.equal(coarse.grad_norms, exact.grad_norms), "the passes did not run in bfloat16"
    assert torch.allclose(coarse.grad_norms, exact.grad_norms, rtol=0.1)
    assert next(model.parameters()).dtype == torch.float32, "the model handed over was converted"


def test_it_is_refused_with_the_number_where_ranks_differ():
    """Samples that differ by one part in ten thousand: bfloat16 cannot tell them apart."""
    model = picture_net()
    one = torch.randn(1, 3, 8, 8)
    near = one + 1e-4 * torch.randn(40, 3, 8, 8)
    samples = TensorDataset(near, torch.zeros(40, dtype=torch.int64))
    with pytest.raises(InfluenceError, match=r"rank agreement -?\d\.\d{3}, expected at least 0\.99.*float32"):
        ic.sweep(model, samples, directions=random_directions(model, 1), precision="bfloat16")


def test_pictures_run_with_channels_last_and_the_check_sees_the_whole_dataset():
    scored = in_precision(picture_net(), "bfloat16")
    assert scored.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    rows = list(spread_over(pictures(640)).indices)
    assert (len(rows), rows[0], rows[-1]) == (64, 0, 630), "the first rows alone were compared"
