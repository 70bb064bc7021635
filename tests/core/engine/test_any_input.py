"""Any inputs, outputs, losses, modes and precisions: what the model is fed and asked does not change what is exact."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import influence_core as ic
from tests.making.oracles import dataset, random_directions
from tests.making.sweep_laws import Made, assert_exact, ids, shaken, snapshot

W = 4


def two_inputs(n: int = 5):
    first, second = torch.randn(n, W), torch.randn(n, 3, W)
    return first, second, torch.randint(3, (n,))


def join(self, a, b):
    return self.head(torch.tanh(self.left(a)[:, None] + self.right(b)).mean(1))


def joined() -> nn.Module:
    torch.manual_seed(0)
    return shaken(Made(join, left=nn.Linear(W, W), right=nn.Linear(W, W), head=nn.Linear(W, 3)))


@pytest.mark.parametrize("kind", ["tuple", "list", "dict"])
def test_inputs_of_several_tensors(kind):
    make = {"tuple": lambda a, b: (a, b), "list": lambda a, b: [a, b], "dict": lambda a, b: {"b": b, "a": a}}[
        kind
    ]
    model = joined()
    samples = [(make(a, b), y) for a, b, y in zip(*two_inputs(), strict=True)]
    assert_exact(model, samples, bug="a dictionary goes by name, not by order")


def test_token_ids_that_double_as_a_mask():
    """Integers and floats in one input; the mask is made from the ids, so ids must not become floats."""

    def work(self, words, weights):
        real = (words != 0)[..., None] * weights[..., None]
        return self.head((self.words(words).tanh() * real).sum(1) / (1 + real.sum(1)))

    torch.manual_seed(0)
    words, labels = ids(5, 6, 7).tensors
    samples = [((w, v), y) for w, v, y in zip(words, torch.rand(5, 6), labels, strict=True)]
    assert_exact(shaken(Made(work, words=nn.Embedding(7, W, padding_idx=0), head=nn.Linear(W, 3))), samples)


def heads(outputs, labels):
    """Classification and regression at once, one loss a sample."""
    kind, size = (outputs["kind"], outputs["size"]) if isinstance(outputs, dict) else outputs
    return functional.cross_entropy(kind, labels, reduction="none") + 0.5 * (size[:, 0] - labels) ** 2


@pytest.mark.parametrize(
    "pack", [lambda k, s: (k, s), lambda k, s: {"size": s, "kind": k}], ids=["tuple", "dict"]
)
def test_outputs_of_several_heads(pack):
    torch.manual_seed(0)

    def work(self, x):
        x = torch.tanh(self.body(x))
        return pack(self.kind(x), self.size(x))

    model = shaken(Made(work, body=nn.Linear(W, W), kind=nn.Linear(W, 3), size=nn.Linear(W, 1)))
    assert_exact(model, dataset(W, n=5, classes=3), heads, bug="a head's output never reached the loss")


def test_labels_of_several_numbers_and_a_head_without_loss():
    """Only one of two heads is in the loss: the other one's gradient is zero, not missing."""
    torch.manual_seed(0)
    work = lambda self, x: (self.used(x), self.idle(x))  # noqa: E731
    samples = TensorDataset(torch.randn(5, W), torch.randn(5, 3))
    squared = lambda outputs, labels: (outputs[0] - labels).square().mean(1)  # noqa: E731
    found = assert_exact(shaken(Made(work, used=nn.Linear(W, 3), idle=nn.Linear(W, 2))), samples, squared)
    assert (found.layer_norms["idle"] == 0).all()


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)], ids=str)
def test_regression_to_any_shape(shape):
    torch.manual_seed(0)
    out = torch.Size(shape).numel()
    model = nn.Sequential(nn.Linear(W, 6), nn.Tanh(), nn.Linear(6, out), nn.Unflatten(1, shape or (1,)))
    assert_exact(shaken(model), TensorDataset(torch.randn(5, W), torch.randn(5, *shape)), "squared_error")


OWN_LOSSES = {
    "focal": lambda o, y: (1 - (p := o.softmax(1).gather(1, y[:, None])[:, 0])) ** 2 * -p.log(),
    "margin": lambda o, y: functional.multi_margin_loss(o, y, reduction="none"),
    "weighted": lambda o, y: functional.cross_entropy(
        o, y, torch.tensor([1.0, 2, 3]).to(o), reduction="none"
    ),
    "smoothed": lambda o, y: functional.cross_entropy(o, y, reduction="none", label_smoothing=0.1),
    "of some samples only": lambda o, y: functional.cross_entropy(o, y, reduction="none") * (y != 1),
}


@pytest.mark.parametrize("name", OWN_LOSSES)
def test_a_loss_of_ones_own(name):
    torch.manual_seed(0)
    model = shaken(nn.Sequential(nn.Linear(W, 6), nn.Tanh(), nn.Linear(6, 3)))
    assert_exact(model, dataset(W, n=7, classes=3), OWN_LOSSES[name], batch_size=3)


def tokens(outputs, labels):
    """Mean over the tokens that count; -100 marks the others, a different number in each sample."""
    values = functional.cross_entropy(outputs.movedim(-1, 1), labels, reduction="none", ignore_index=-100)
    return values.sum(1) / (labels != -100).sum(1)


def test_tokens_that_do_not_count():
    torch.manual_seed(0)
    words, labels = torch.randint(7, (5, 6)), torch.randint(3, (5, 6))
    labels[0, 2:], labels[3, :5] = -100, -100
    model = shaken(nn.Sequential(nn.Embedding(7, W), nn.Tanh(), nn.Linear(W, 3)))
    assert_exact(model, TensorDataset(words, labels), tokens)


def trained(inplace: bool = True) -> nn.Module:
    """Handed over in training mode, with all that behaves differently there."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Dropout2d(0.5), nn.Conv2d(4, 4, 1)]
    ends = [nn.BatchNorm2d(4), nn.SiLU(inplace), nn.Flatten(), nn.Dropout(0.5, inplace), nn.Linear(64, 3)]
    return shaken(nn.Sequential(*layers, *ends)).train()


@pytest.mark.parametrize("inplace", [False, True], ids=["out of place", "in place"])
def test_a_model_in_training_mode_is_scored_in_evaluation_mode_and_comes_back(inplace):
    model = trained(inplace).double()
    model[5].eval()
    before = snapshot(model)
    assert_exact(model, dataset(2, 6, 6, n=5, classes=3), bug="dropout or batch statistics were active")
    assert snapshot(model) == before, "modes, flags, hooks, weights or running statistics were left changed"


def test_a_float32_model_scored_in_float64_stays_float32():
    model = trained().eval()
    samples = dataset(2, 6, 6, n=5, classes=3, dtype=torch.float32)
    before = snapshot(model)
    directions = random_directions(model, 1)
    found = ic.sweep(model, samples, directions=directions, precision="float64", batch_size=2)
    exact = assert_exact(copy.deepcopy(model), samples)
    assert snapshot(model) == before and next(model.parameters()).dtype == torch.float32
    assert found.grad_norms.dtype == torch.float64 and torch.allclose(
        found.grad_norms, exact.grad_norms, rtol=1e-12
    )


def test_a_float64_model_scored_in_float32():
    torch.manual_seed(0)
    model = shaken(nn.Sequential(nn.Linear(W, 6), nn.Tanh(), nn.Linear(6, 3)).double())
    samples = dataset(W, n=5, classes=3)
    low, high = ic.sweep(model, samples, precision="float32"), ic.sweep(model, samples, precision="float64")
    assert torch.allclose(low.grad_norms.double(), high.grad_norms, rtol=1e-4)
    assert next(model.parameters()).dtype == torch.float64


class Pictures(Dataset):
    """Numbers as labels, inputs made on the fly in another precision than the model's."""

    def __len__(self):
        return 5

    def __getitem__(self, row):
        return torch.full((W,), row / 3, dtype=torch.float64).sin().roll(row), row % 3


def test_a_map_style_dataset_with_plain_numbers_as_labels():
    torch.manual_seed(0)
    assert_exact(
        shaken(nn.Sequential(nn.Linear(W, 6), nn.Tanh(), nn.Linear(6, 3))), Pictures(), dtype=torch.float32
    )


def test_a_sweep_inside_no_grad_is_the_same():
    model, samples = trained(), dataset(2, 6, 6, n=5, classes=3, dtype=torch.float32)
    outside = ic.sweep(model, samples)
    with torch.no_grad():
        inside = ic.sweep(model, samples)
    assert torch.equal(outside.grad_norms, inside.grad_norms)
