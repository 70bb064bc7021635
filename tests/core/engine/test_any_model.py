"""Wherever a parameter is used, and however the batch lies, each sample's gradient is that of one-sample autograd.

Raw parameters, derived and shared weights, parts that are frozen, unused or chosen by sample, and axes in any order.
What must be refused instead: test_refusals.py. Inputs, losses and modes: test_any_input.py.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from tests.making.oracles import dataset
from tests.making.sweep_laws import Made, assert_exact, assert_exact_or_refused, ids, shaken

T, W = 4, 5


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def linear(width: int = W, out: int = W, **options) -> nn.Linear:
    return nn.Linear(width, out, **options)


def with_class_token(self, x):
    x = torch.cat([self.cls.expand(len(x), -1, -1), self.first(x)], 1)
    attention = (x @ x.transpose(1, 2)).softmax(-1)
    return self.head((attention @ x)[:, 0])


def in_place(self, x):
    x = self.first(x)
    x += self.places
    x.mul_(self.scale)
    return self.head(x.tanh().mean(1))


def written_into(self, x):
    x = self.first(x).tanh()
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, 1:] * self.scale
    y[:, 0] = self.cls
    return self.head(y.sin().mean(1))


class Biased(nn.Module):
    """Attention with a bias for each pair of places, looked up in a table by a constant index, as Swin does."""

    def __init__(self):
        super().__init__()
        self.table, self.qk, self.head = nn.Parameter(randn(2 * T - 1, 2)), linear(W, 2 * W), linear(W, 3)
        self.register_buffer("index", torch.arange(T)[:, None] - torch.arange(T) + T - 1)

    def forward(self, x):
        q, k = self.qk(x).chunk(2, -1)
        bias = self.table[self.index.view(-1)].view(T, T, 2).permute(2, 0, 1).contiguous()
        scores = (q @ k.transpose(1, 2))[:, None] + bias.unsqueeze(0)
        return self.head((scores.softmax(-1) @ x[:, None]).mean((1, 2)))


class Owner(nn.Module):
    """Has a parameter and children, in the middle of a model."""

    def __init__(self):
        super().__init__()
        self.gain, self.inner = nn.Parameter(randn(W)), linear()

    def forward(self, x):
        return x + self.gain * torch.tanh(self.inner(x))


def after(use, head: int = W, **parts) -> nn.Module:
    """`use(model, x)` on (b, t, w) after a linear layer, averaged over places, before a head."""
    work = lambda self, x: self.head(use(self, self.first(x).tanh()).tanh().mean(1))  # noqa: E731
    return Made(work, first=linear(), head=linear(head, 3), **parts)


def cosine_head(self, x):
    return 5 * functional.linear(
        functional.normalize(self.first(x).mean(1), dim=-1), functional.normalize(self.centres)
    )


RAW = {
    "class token": lambda: Made(with_class_token, cls=randn(1, 1, W), first=linear(), head=linear(W, 3)),
    "positions (1, t, w)": lambda: after(lambda m, x: x + m.places, places=randn(1, T, W)),
    "positions (t, w)": lambda: after(lambda m, x: x + m.places, places=randn(T, W)),
    "positions cut to length": lambda: after(
        lambda m, x: x + m.places[:, : x.shape[1]], places=randn(1, T + 3, W)
    ),
    "positions resized": lambda: after(
        lambda m, x: x + functional.interpolate(m.places, T, mode="linear").mT, places=randn(1, W, 7)
    ),
    "parameter first": lambda: after(lambda m, x: m.places - x, places=randn(T, W)),
    "layer scale": lambda: after(lambda m, x: x + m.scale * torch.sin(x), scale=randn(W)),
    "owner with children": lambda: after(lambda m, x: m.owner(x), owner=Owner()),
    "scalar temperature": lambda: after(lambda m, x: x / m.heat.exp(), heat=torch.tensor(0.3)),
    "temperature of one element": lambda: after(lambda m, x: x * m.heat, heat=torch.tensor([0.3])),
    "in-place adds": lambda: Made(
        in_place, first=linear(), places=randn(T, W), scale=randn(W), head=linear(W, 3)
    ),
    "written into a slice": lambda: Made(
        written_into, first=linear(), scale=randn(W), cls=randn(W), head=linear(W, 3)
    ),
    "relative bias by a buffer": Biased,
    "weight.T": lambda: after(lambda m, x: x @ m.other.weight.T + m.other.bias, other=linear()),
    "einsum": lambda: after(lambda m, x: torch.einsum("btw,hwv->btv", x, m.w), w=randn(2, W, W)),
    "einsum, parameter first": lambda: after(lambda m, x: torch.einsum("vw,btw->btv", m.w, x), w=randn(W, W)),
    "matmul": lambda: after(lambda m, x: torch.matmul(x, m.w), w=randn(W, W)),
    "x @ w": lambda: after(lambda m, x: x @ m.w, w=randn(W, W)),
    "w @ x over places": lambda: after(lambda m, x: m.w @ x, w=randn(T, T)),
    "baddbmm": lambda: after(
        lambda m, x: torch.baddbmm(m.b, x, m.w.expand(len(x), -1, -1)), b=randn(1, 1, W), w=randn(W, W)
    ),
    "addmm on rows": lambda: after(
        lambda m, x: torch.addmm(m.b, x.flatten(0, 1), m.w).unflatten(0, (-1, T)), b=randn(W), w=randn(W, W)
    ),
    "stack of parameters": lambda: after(
        lambda m, x: x @ torch.stack([*m.each]).sum(0),
        each=nn.ParameterList([nn.Parameter(randn(W, W)) for _ in range(2)]),
    ),
    "queries that attend to the batch": lambda: after(
        lambda m, x: (m.queries @ x.mT).softmax(-1) @ x, queries=randn(2, W)
    ),
    "convolution by functional": lambda: after(
        lambda m, x: functional.conv1d(x.mT, m.kernel, padding=1).mT, kernel=randn(W, W, 3)
    ),
    "padding by a parameter": lambda: after(
        lambda m, x: torch.where(x.abs() < 0.2, m.blank, x), blank=randn(W)
    ),
    "cosine head": lambda: Made(cosine_head, first=linear(), centres=randn(3, W)),
    "chosen by sample": lambda: after(
        lambda m, x: torch.where(x[:, :1, :1] > 0, x * m.yes, x + m.no), yes=randn(W), no=randn(W)
    ),
    "rows picked by sample": lambda: after(
        lambda m, x: x + m.rows[(x[:, 0, 0] > 0).long()][:, None], rows=randn(2, W)
    ),
    "a buffer": lambda: after(lambda m, x: x * m.mask * m.w, mask=nn.Buffer(randn(T, 1)), w=randn(W)),
    "never used": lambda: after(lambda m, x: x, spare=linear(), alone=randn(3)),
    "used, but without effect": lambda: after(lambda m, x: x + 0 * m.w, w=randn(W)),
}


@pytest.mark.parametrize("batch_size", [2, T, W])
@pytest.mark.parametrize("name", RAW)
def test_parameters_outside_layers(name, batch_size):
    """Batches as large as the time axis, or the width, leave nobody a shape to guess the sample axis by."""
    torch.manual_seed(0)
    model = shaken(RAW[name]().double())
    assert_exact(
        model, dataset(T, W, n=7, classes=3), batch_size=batch_size, bug="a parameter that no layer owns"
    )


def twice(self, x):
    return self.head(torch.tanh(self.first(torch.tanh(self.first(x)))).mean(1))


def two_layers_one_weight() -> nn.Module:
    model = nn.Sequential(linear(), nn.Tanh(), linear(), nn.Flatten(), linear(T * W, 3))
    model[2].weight = model[0].weight
    return model


def wrapped(change, *args, **options) -> nn.Module:
    model = nn.Sequential(linear(), nn.Tanh(), linear(), nn.Flatten(), linear(T * W, 3))
    change(model[2], *args, **options)
    return model


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).T


def frozen(*names: str) -> nn.Module:
    model = nn.Sequential(linear(), nn.LayerNorm(W), linear(), nn.Flatten(), linear(T * W, 3))
    for name in names:
        model.get_parameter(name).requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = wrapped(lambda layer: None)
    model[2].register_forward_hook(lambda module, inputs, output: 3 * output.tanh())
    return model


SHARED = {
    "a layer used twice": lambda: Made(twice, first=linear(), head=linear(W, 3)),
    "a weight of two layers": two_layers_one_weight,
    "a module under two names": lambda: Made(
        lambda m, x: m.head(m.b(m.a(x).tanh()).tanh().mean(1)),
        **dict.fromkeys("ab", linear()),
        head=linear(W, 3),
    ),
    "an autoencoder with a transposed weight": lambda: after(
        lambda m, x: functional.linear(m.code(x).tanh(), m.code.weight.T), code=linear(W, 3)
    ),
    "weight_norm": lambda: wrapped(parametrizations.weight_norm),
    "spectral_norm in evaluation mode": lambda: wrapped(parametrizations.spectral_norm),
    "orthogonal": lambda: wrapped(parametrizations.orthogonal, orthogonal_map="cayley"),
    "a parametrization of one's own": lambda: wrapped(
        parametrize.register_parametrization, "weight", Symmetric()
    ),
    "pruned": lambda: wrapped(prune.l1_unstructured, "weight", amount=0.5),
    "a hook that changes the output": hooked,
    "a frozen layer": lambda: frozen("0.weight", "0.bias"),
    "a frozen head": lambda: frozen("4.weight", "4.bias"),
    "a frozen weight with a trainable bias": lambda: frozen("2.weight", "1.weight"),
    "a trainable weight with a frozen bias": lambda: frozen("0.bias", "2.bias"),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_derived_and_frozen_weights(name):
    torch.manual_seed(0)
    model = shaken(SHARED[name]().double())
    assert_exact(
        model,
        dataset(T, W, n=5, classes=3),
        bug="uses of one weight add up before the norm; derived ones pull back",
    )


@pytest.mark.parametrize("batch_size", [2, 6])
def test_an_embedding_that_is_also_the_head(batch_size):
    torch.manual_seed(0)
    work = lambda self, x: functional.linear(self.words(x).sin().mean(1), self.words.weight)  # noqa: E731
    assert_exact(shaken(Made(work, words=nn.Embedding(7, W))), ids(6, T, 7, labels=7), batch_size=batch_size)


def folded(self, x):
    rows = self.first(x.reshape(-1, W)).tanh() + self.places.repeat(len(x), 1)
    return self.head(self.norm(rows).reshape(len(x), -1))


def time_first(self, x):
    x = self.norm(self.first(x.transpose(0, 1)).tanh() + self.places[:, None])
    return self.head(x.transpose(0, 1).flatten(1))


def time_major_rows(self, x):
    rows = self.norm(self.first(x.transpose(0, 1).reshape(-1, W)).tanh())
    return self.head(rows.reshape(T, -1, W).transpose(0, 1).flatten(1))


def batch_last(self, x):
    x = torch.einsum("vw,twb->tvb", self.first.weight, x.permute(1, 2, 0)).tanh() + self.places[..., None]
    return self.head(self.norm(x.permute(2, 0, 1)).flatten(1))


def by_turns(self, x):
    """Samples one after another in a Python list, as detection models do."""
    return torch.stack([self.head(self.norm(self.first(one).tanh() + self.places).flatten()) for one in x])


LAYOUTS = [folded, time_first, time_major_rows, batch_last, by_turns]


@pytest.mark.parametrize("batch_size", [2, T, W])
@pytest.mark.parametrize("work", LAYOUTS, ids=lambda work: work.__name__)
def test_the_batch_lies_on_any_axis(work, batch_size):
    torch.manual_seed(0)
    parts = dict(first=linear(bias=False), norm=nn.LayerNorm(W), places=randn(T, W), head=linear(T * W, 3))
    samples, model = dataset(T, W, n=7, classes=3), shaken(Made(work, **parts).double())
    bug = "the sample axis is not axis 0, or axis 0 counts several rows a sample"
    if work in (
        time_major_rows,
        by_turns,
    ):  # rows of one sample do not lie together: exact, or refused by name
        assert_exact_or_refused(model, samples, batch_size, bug)
    else:
        assert_exact(model, samples, batch_size=batch_size, bug=bug)
