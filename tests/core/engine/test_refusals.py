"""Where one sample's gradient does not exist, or cannot be told apart, a sentence with a name; never a wrong number.

And after every error, as after every success, the model is as it was, to the bit.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

import influence_core as ic
from influence_core.errors import InfluenceError, LayerError, ModelError
from tests.making.oracles import dataset, random_directions
from tests.making.sweep_laws import (
    Made,
    assert_exact,
    assert_exact_or_refused,
    ids,
    names_a_part,
    shaken,
    snapshot,
)

W = 4


class ForcedBatchNorm(nn.BatchNorm1d):
    """Training behaviour whatever the mode: `training=True` written by hand."""

    def forward(self, input):
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=True
        )


def mean_removed(self, x):
    x = self.body(x).tanh()
    return self.head(x - x.mean(0))


def inputs_mean_removed(self, x):
    return self.head(self.body(x - x.mean(0)).tanh())


def attention_over_the_batch(self, x):
    x = self.body(x).tanh()
    return self.head((x @ x.T).softmax(-1) @ x)


def neighbours(self, x):
    """Each sample is paired with the next one of its batch, as contrastive and mixup code does."""
    x = self.body(x).tanh()
    return self.head(x + x.roll(1, 0))


def batch_maximum(self, x):
    """Sums over the batch through a parameter: the scale of all depends on the largest of all."""
    x = self.body(x).tanh()
    return self.head(x / x.abs().amax())


def made(work) -> nn.Module:
    return Made(work, body=nn.Linear(W, W), head=nn.Linear(W, 3))


def around(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(W, W), layer, nn.Linear(W, 3))


MIXING = {
    "batch norm without running statistics": lambda: around(nn.BatchNorm1d(W, track_running_stats=False)),
    "the same without parameters": lambda: around(nn.BatchNorm1d(W, affine=False, track_running_stats=False)),
    "forced training mode": lambda: around(ForcedBatchNorm(W)),
    "forced training mode without parameters": lambda: around(ForcedBatchNorm(W, affine=False)),
    "the mean of the batch removed": lambda: made(mean_removed),
    "the mean of the inputs removed": lambda: made(inputs_mean_removed),
    "attention over the batch": lambda: made(attention_over_the_batch),
    "the neighbour added": lambda: made(neighbours),
    "divided by the largest": lambda: made(batch_maximum),
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", MIXING)
def test_models_that_mix_samples_are_refused_by_name(name, precision):
    torch.manual_seed(0)
    model = shaken(MIXING[name]().to(getattr(torch, precision)))
    before, samples = snapshot(model), dataset(W, n=6, classes=3)
    with pytest.raises(LayerError) as refused:
        ic.sweep(model, samples, directions=random_directions(model, 1), precision=precision, batch_size=4)
    assert names_a_part(str(refused.value), model), f"no layer is named in: {refused.value}"
    if "norm" in name or "forced" in name:
        assert "'1" in str(refused.value), f"the batch norm is layer '1', but: {refused.value}"
    assert snapshot(model) == before, "a refused model comes back as it was, running statistics too"


def branch_on_the_batch(self, x):
    x = self.body(x)
    return self.head(x.tanh() if x.mean() > 0 else self.other(x).tanh())


def branch_on_any(self, x):
    x = self.body(x).tanh()
    if (x[:, 0] > 0).any():
        x = self.other(x)
    return self.head(x)


def steps_by_value(self, x):
    x = self.body(x)
    for _ in range(int(x.abs().sum().item()) % 3):
        x = self.other(x).tanh()
    return self.head(x)


def rows_taken_out(self, x):
    """Only the rows that need it go through a layer: a varying number of them, in no fixed place."""
    x = self.body(x).tanh()
    chosen = x[:, 0] > 0
    y = x.clone()
    y[chosen] = self.other(x[chosen])
    return self.head(y)


def shuffled(self, x):
    order = torch.arange(len(x)).flip(0)
    return self.head(self.other(self.body(x)[order].tanh())[order])


class CountsRows(nn.Module):
    """Behaves differently when it sees 2 or 3 rows, the sizes a probe may use."""

    def __init__(self):
        super().__init__()
        self.body, self.other, self.head = nn.Linear(W, W), nn.Linear(W, W), nn.Linear(W, 3)

    def forward(self, x):
        x = self.body(x).tanh()
        return self.head(x if len(x) in (1, 2, 3) else self.other(x))


BRANCHES = [branch_on_the_batch, branch_on_any, steps_by_value, rows_taken_out, shuffled]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("work", BRANCHES, ids=lambda work: work.__name__)
def test_ways_that_depend_on_the_data_are_exact_or_refused(work, seed):
    torch.manual_seed(seed)
    parts = dict(body=nn.Linear(W, W), other=nn.Linear(W, W), head=nn.Linear(W, 3))
    model = shaken(Made(work, **parts).double(), seed=seed)
    assert_exact_or_refused(
        model, dataset(W, n=9, classes=3, seed=seed), 4, "a branch taken for one batch was used for all"
    )


def test_a_way_that_depends_on_the_number_of_rows_is_refused():
    torch.manual_seed(0)
    with pytest.raises(LayerError):
        assert_exact(CountsRows().double(), dataset(W, n=8, classes=3), batch_size=4)


def test_gradients_scaled_by_counts_in_the_batch_are_exact_or_refused():
    """scale_grad_by_freq divides by how often an id occurs in the batch: alone, in the sample."""
    torch.manual_seed(0)
    words = nn.Embedding(5, W, scale_grad_by_freq=True)
    model = shaken(
        Made(lambda m, x: m.head(m.words(x).tanh().mean(1)), words=words, head=nn.Linear(W, 3)).double()
    )
    assert_exact_or_refused(model, ids(6, 5, 5), 3, "counts of the batch used for one sample")


def mean_loss(outputs, labels):
    return functional.cross_entropy(outputs, labels)


def column_loss(outputs, labels):
    return functional.cross_entropy(outputs, labels, reduction="none")[:, None]


def relative_loss(outputs, labels):
    values = functional.cross_entropy(outputs, labels, reduction="none")
    return values * values.mean()


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("loss", [mean_loss, column_loss], ids=lambda loss: loss.__name__)
def test_a_loss_that_is_not_one_number_a_sample_is_a_sentence(loss, n):
    model = shaken(around(nn.Tanh()))
    before = snapshot(model)
    with pytest.raises(InfluenceError, match="one loss a sample"):
        ic.sweep(model, dataset(W, n=n, classes=3, dtype=torch.float32), loss=loss)
    assert snapshot(model) == before


def test_a_loss_that_compares_samples_is_refused():
    torch.manual_seed(0)
    with pytest.raises(InfluenceError):
        ic.sweep(
            shaken(around(nn.Tanh())), dataset(W, n=6, classes=3, dtype=torch.float32), loss=relative_loss
        )


class Fails(nn.Module):
    """Raises in its k-th forward pass, or in its k-th backward pass."""

    def __init__(self, at: int, backward: bool):
        super().__init__()
        self.calls, self.at, self.backward_too = 0, at, backward

    def forward(self, x):
        if not self.backward_too:
            self.count()
        elif x.requires_grad:
            x.register_hook(self.count)
        return torch.tanh(x)

    def count(self, gradient=None):
        self.calls += 1
        if self.calls == self.at:
            raise ValueError("broken layer")


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_the_model_is_restored_after_an_error_of_its_own(at, backward):
    """Whether the probe, the check or a batch fails: no mode, flag, hook or watch stays behind."""
    torch.manual_seed(0)
    failing = Fails(at, backward)
    first = [nn.Linear(W, W), nn.BatchNorm1d(W), nn.ReLU(inplace=True), nn.Dropout()]
    layers = [*first, failing, nn.Linear(W, 3)]
    model, samples = shaken(nn.Sequential(*layers)).train(), dataset(W, n=40, classes=3, dtype=torch.float32)
    model[0].bias.requires_grad_(False)
    before = snapshot(model)
    with pytest.raises((ValueError, ModelError), match="broken layer"):
        ic.sweep(model, samples, batch_size=4)
    assert snapshot(model) == before
    failing.at = 0
    assert torch.equal(ic.sweep(model, samples).losses, ic.sweep(model, samples).losses), (
        "the model still works"
    )
    x = torch.randn(2, W, requires_grad=True)
    model(x).sum().backward()
    assert model[0].weight.grad is not None and model[0].bias.grad is None, "training goes on as before"
