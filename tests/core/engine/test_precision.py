"""bfloat16 is refused on a CPU, and on a GPU offered only where it is measured to agree with float32."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.engine.agreement import rank_correlation
from influence_core.engine.precision import check_ranks, converted, spread_over
from influence_core.engine.preflight import preflight
from influence_core.errors import InfluenceError
from tests.making.oracles import dataset, random_directions

COLUMNS = ("grad_norms", "grad_norms_l1", "products")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="bfloat16 is offered on GPUs alone")


def picture_net() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))


def pictures(n: int = 70) -> TensorDataset:
    """Contrast grows from picture to picture, so norms differ by more than rounding."""
    shape = dataset(3, 8, 8, n=n, classes=4, dtype=torch.float32)
    return TensorDataset(shape.tensors[0] * torch.linspace(0.2, 4, n)[:, None, None, None], shape.tensors[1])


def near_copies() -> TensorDataset:
    """Samples that differ by one part in ten thousand: bfloat16 cannot tell them apart."""
    near = torch.randn(1, 3, 8, 8) + 1e-4 * torch.randn(40, 3, 8, 8)
    return TensorDataset(near, torch.zeros(40, dtype=torch.int64))


def rounded(swept):
    """The same sweep, as if its numbers had been computed in three digits."""
    return replace(swept, **{name: getattr(swept, name).bfloat16().float() for name in COLUMNS})


@pytest.mark.parametrize("ask", [ic.sweep, preflight], ids=["sweep", "preflight"])
def test_it_is_refused_on_a_cpu_with_the_measured_reason(ask):
    with pytest.raises(InfluenceError, match=r"on a CPU.*1\.14 to 1\.22 .*'float32' or 'float64'.*GPU"):
        ask(picture_net(), pictures(), precision="bfloat16")


def test_ranks_that_agree_are_let_through_and_others_refused_with_the_number():
    model = picture_net()
    exact = ic.sweep(model, pictures(), directions=random_directions(model, 1), sketch=0)
    check_ranks(rounded(exact), exact)
    close = ic.sweep(model, near_copies(), directions=random_directions(model, 1), sketch=0)
    with pytest.raises(InfluenceError, match=r"rank agreement -?\d\.\d{3}, expected at least 0\.99.*float32"):
        check_ranks(rounded(close), close)


@pytest.mark.parametrize("column", COLUMNS)
def test_the_quantity_that_disagrees_is_named_and_nan_disagrees(column):
    says = {"grad_norms": "the gradient norm", "grad_norms_l1": "the L1 norm", "products": "direction 0"}[
        column
    ]
    model = picture_net()
    exact = ic.sweep(model, pictures(), directions=random_directions(model, 1), sketch=0)
    for wrong in (-getattr(exact, column), torch.nan * getattr(exact, column)):
        with pytest.raises(InfluenceError, match=says):
            check_ranks(replace(exact, **{column: wrong}), exact)


def test_pictures_run_with_channels_last_and_the_check_sees_the_whole_dataset():
    model = picture_net()
    scored = converted(model, "bfloat16")
    assert scored.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    assert next(model.parameters()).dtype == torch.float32, "the model handed over was converted"
    rows = list(spread_over(pictures(640)).indices)
    assert (len(rows), rows[0], rows[-1]) == (64, 0, 630), "the first rows alone were compared"


@on_a_gpu
def test_on_a_gpu_it_gives_float32_numbers_where_ranks_agree_and_is_refused_where_they_do_not():
    model, samples = picture_net().cuda(), pictures()
    exact = ic.sweep(model, samples, directions=random_directions(model, 1), sketch=64)
    coarse = ic.sweep(model, samples, directions=random_directions(model, 1), sketch=64, precision="bfloat16")
    for name in ("losses", "logits", "sketches", *COLUMNS):
        assert getattr(coarse, name).dtype == torch.float32, f"{name} is kept in three digits"
    assert rank_correlation(coarse.grad_norms, exact.grad_norms) >= 0.99
    assert not torch.equal(coarse.grad_norms, exact.grad_norms), "the passes did not run in bfloat16"
    with pytest.raises(InfluenceError, match="rank agreement"):
        ic.sweep(model, near_copies(), directions=random_directions(model, 1), precision="bfloat16")
