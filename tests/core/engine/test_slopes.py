"""Laws of a loss's slope: the derivative of the loss along a change of the outputs, in closed form or by autograd."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import influence_core as ic
from influence_core.engine.losses import LOSSES
from influence_core.engine.one_direction.loss_slopes import PIECE, change, has_slope, slope
from influence_core.errors import InfluenceError
from tests.making.oracles import dataset, random_directions
from tests.making.sweep_laws import Made

ENTROPY, SQUARED = LOSSES["cross_entropy"], LOSSES["squared_error"]


def hinge(z, y):
    return (1 - z.gather(1, y[:, None])[:, 0]).relu()


def _labels(*shape):
    return torch.randint(5, shape)


CASES = {
    "classes": (ENTROPY, (7, 5), lambda: _labels(7)),
    "words": (ENTROPY, (7, 4, 5), lambda: _labels(7, 4)),
    "pixels": (ENTROPY, (7, 2, 3, 5), lambda: _labels(7, 2, 3)),
    "words, some left out": (
        ENTROPY,
        (7, 4, 5),
        lambda: _labels(7, 4).index_fill(1, torch.tensor([1]), -100),
    ),
    "shares of classes": (ENTROPY, (7, 5), lambda: torch.rand(7, 5, dtype=torch.float64).softmax(1)),
    "regression": (SQUARED, (7, 2, 3), lambda: torch.randn(7, 2, 3, dtype=torch.float64)),
    "regression of one number": (SQUARED, (7,), lambda: torch.randn(7, dtype=torch.float64)),
    "one's own": (hinge, (7, 5), lambda: _labels(7)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_slope_is_the_derivative_along_the_change(name):
    torch.manual_seed(0)
    loss, shape, labels = CASES[name]
    z, d, y = *torch.randn(2, *shape, dtype=torch.float64), labels()
    e = 1e-5
    expected = (loss(z + e * d, y) - loss(z - e * d, y)) / (2 * e)
    got = slope(loss, z, d, y)
    assert got.shape == (7,)
    assert torch.allclose(got, expected, rtol=1e-6, atol=1e-8), (
        f"{name}: a ratio of the positions is a sum where a mean is meant; an ignored label counted. {got}, {expected}"
    )


def test_pieces_of_a_large_output_are_put_together_in_order():
    """Seven samples of more than a piece each, and seven of which several make a piece."""
    torch.manual_seed(0)
    for positions in (2, PIECE // 20):
        z = torch.randn(7, positions, 5, dtype=torch.float64)
        after, y = z + 1e-4 * torch.randn_like(z), _labels(7, positions)
        expected = ENTROPY(after, y) - ENTROPY(z, y)
        middle, first = change(ENTROPY, z, after, y), change(ENTROPY, z, after, y, at=0)
        assert torch.allclose(middle, expected, rtol=1e-6, atol=1e-13), "the slope is not that of the middle"
        assert torch.allclose(first, slope(ENTROPY, z, after - z, y), rtol=1e-9), (
            "the slope is not that of `before`"
        )


def test_a_confident_sample_keeps_its_digits():
    """p_y - 1 in float32 of a sample with p_y = 1 - 1e-6 has no digit left."""
    z, d, y = torch.tensor([[15.0, 1.0, 0.5]]), torch.tensor([[1.0, 0.3, -0.7]]), torch.tensor([0])
    true = slope(ENTROPY, z.double(), d.double(), y)
    assert slope(ENTROPY, z, d, y).double().item() == pytest.approx(true.item(), rel=1e-5)


def test_positions_laid_end_to_end_are_those_of_moved_classes():
    """Losses of words and pixels, one left out, as torch has them with classes on the second axis."""
    torch.manual_seed(0)
    for shape in ((3, 4, 5), (3, 2, 4, 5)):
        z, y = torch.randn(*shape), torch.randint(5, shape[:-1])
        y.view(-1)[1] = -100
        moved = functional.cross_entropy(z.movedim(-1, 1), y, reduction="none").flatten(1).mean(1)
        assert torch.allclose(ENTROPY(z, y), moved), "positions were mixed with samples"


def test_labels_of_other_positions_are_refused():
    """(t, b, c) laid end to end has as many rows as labels (b, t), in another order."""
    with pytest.raises(InfluenceError, match=r"\(3, 4\).*\(4, 3, 5\).*\(4, 3\)"):
        ENTROPY(torch.randn(4, 3, 5), _labels(3, 4))


@pytest.mark.parametrize("steps", [5, 9, 16])
def test_outputs_with_steps_first_are_subtracted(steps):
    """Samples on the second axis, also as many as there are steps: row i of the outputs is not sample i."""

    def own(z, y):
        return ENTROPY(z.movedim(1, 0), y)

    torch.manual_seed(0)
    model = Made(lambda m, x: m.head(x.transpose(0, 1)).tanh(), head=nn.Linear(4, 5)).double()
    samples = TensorDataset(torch.randn(20, steps, 4, dtype=torch.float64), _labels(20, steps))
    (v,) = random_directions(model, 1)
    with torch.no_grad():
        few = samples.tensors[0][:16]
        assert not has_slope(own, model(few), samples.tensors[1][:16])
    got = ic.directional(model, samples, v, loss=own, precision="float64")
    expected = ic.directional(model, samples, v, loss=own, method="forward", precision="float64")
    assert torch.allclose(got, expected, rtol=1e-5, atol=1e-8)


def in_place(z, y):
    z *= 1.0
    return ENTROPY(z, y)


@dataclass
class Answer:
    """What a model may return instead of a tensor."""

    logits: torch.Tensor


def of_an_answer(answer, y):
    return ENTROPY(answer.logits, y)


@pytest.mark.parametrize("method", ["difference", "held", "auto"])
@pytest.mark.parametrize("own", [in_place, of_an_answer])
def test_a_loss_without_a_slope_is_subtracted(own, method):
    torch.manual_seed(0)
    parts = dict(first=nn.Linear(4, 6), head=nn.Linear(6, 3))
    plain = Made(lambda m, x: m.head(m.first(x).relu()), **parts).double()
    model = Made(lambda m, x: Answer(m.head(m.first(x).relu())), **parts) if own is of_an_answer else plain
    samples = dataset(4, n=9, classes=3)
    with torch.no_grad():
        assert not has_slope(own, model(samples.tensors[0]), samples.tensors[1])
    (v,) = random_directions(plain, 1)
    got = ic.directional(model, samples, v, loss=own, method=method, precision="float64")
    expected = ic.directional(plain, samples, v, method="forward", precision="float64")
    assert torch.allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_loss_that_ignores_the_outputs_has_no_slope_and_a_mean_is_refused():
    z, y = torch.randn(4, 3), torch.zeros(4, dtype=torch.long)
    assert torch.equal(slope(lambda z, y: torch.ones(len(z)), z, z, y), torch.zeros(4))
    with pytest.raises(InfluenceError, match="one loss a sample"):
        slope(lambda z, y: z.mean(), z, z, y)


def test_a_regression_of_several_outputs_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    samples = TensorDataset(torch.randn(40, 4), torch.randn(40, 2))
    (v,) = random_directions(model, 1)
    got = ic.directional(model, samples, v, loss="squared_error")
    true = ic.directional(model, samples, v, loss="squared_error", method="forward", precision="float64")
    assert (got - true).norm() <= 2e-3 * true.norm()
