"""Attention, recurrent layers and layers nobody has heard of: the sweep is one-sample autograd, in float64 to 1e-9.

Their parameters meet the batch inside functions (in_proj_weight, bias_k, a weight of an LSTM), often in a layout where
time stands before the samples. A rule that reads module inputs alone cannot be right here.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.making.oracles import dataset
from tests.making.sweep_laws import Made, assert_exact, assert_same_at_every_batch_size, shaken

pytestmark = pytest.mark.filterwarnings(
    "ignore:There is a performance drop:UserWarning"
)  # torch: slow, not wrong
LAW = settings(max_examples=25, deadline=None, derandomize=True)
FLAG = st.booleans()
N = st.integers(0, 4)
T, W = 5, 4


def series(n: int) -> torch.utils.data.TensorDataset:
    return dataset(T, W, n=n, classes=3)


def read_out(layer: nn.Module, work, width: int = W, before: bool = True) -> nn.Module:
    """Inputs (b, t, w) through a linear layer (or not), then `work(layer, x)` -> (b, width), then a head."""
    forward = lambda self, x: self.head(work(self.layer, torch.tanh(self.first(x))).tanh())  # noqa: E731
    first = nn.Linear(W, W) if before else nn.Identity()
    return shaken(Made(forward, first=first, layer=layer, head=nn.Linear(width, 3)).double())


def in_order(batch_first: bool, x: Tensor) -> Tensor:
    """(b, t, w), or (t, b, w) for layers that want time first; its own inverse."""
    return x if batch_first else x.transpose(0, 1)


MASKS = {
    "none": None,
    "bool": torch.ones(T, T).triu(1).bool(),
    "added": torch.linspace(-1, 1, T * T, dtype=torch.float64).reshape(T, T),
}


@LAW
@given(
    batch_first=FLAG,
    across=FLAG,
    mask=st.sampled_from(list(MASKS)),
    ignoring=FLAG,
    bias=FLAG,
    bias_kv=FLAG,
    zero=FLAG,
    sizes=st.sampled_from([(None, None), (3, 2)]),
    weights=FLAG,
    before=FLAG,
    n=N,
)
def test_multihead_attention(
    batch_first, across, mask, ignoring, bias, bias_kv, zero, sizes, weights, before, n
):
    """Self and cross attention; masks by position and by sample; keys and values of another width."""
    attention = nn.MultiheadAttention(
        W, 2, 0.1, bias, bias_kv, zero, *(sizes if across else ()), batch_first=batch_first
    )

    def work(layer, x):
        key = value = x
        if across:
            key, value = x.flip(1)[..., : sizes[0]], x.square()[..., : sizes[1]]
        padded = (x[..., 0] > 0.3).index_fill(1, torch.tensor([0]), False) if ignoring else None
        given = [in_order(batch_first, v) for v in (x, key, value)]
        if padded is not None and mask == "added":  # torch wants both masks of one kind
            padded = torch.zeros_like(padded, dtype=x.dtype).masked_fill(padded, -9.0)
        out, _ = layer(*given, key_padding_mask=padded, attn_mask=MASKS[mask], need_weights=weights)
        return in_order(batch_first, out).mean(1)

    assert_exact(
        read_out(attention, work),
        series(n),
        bug="in_proj_weight holds q, k and v; bias_k has a batch axis of 1",
    )


@LAW
@given(
    batch_first=FLAG,
    norm_first=FLAG,
    causal=FLAG,
    activation=st.sampled_from([functional.relu, functional.gelu]),
    depth=st.integers(0, 2),
    bias=FLAG,
    before=FLAG,
    n=N,
)
def test_transformer_encoders(batch_first, norm_first, causal, activation, depth, bias, before, n):
    """One layer (depth 0) and stacks with a final norm; torch's fused inference path must not be taken."""
    layer = nn.TransformerEncoderLayer(
        W, 2, 6, 0.1, activation, batch_first=batch_first, norm_first=norm_first, bias=bias
    )
    body = (
        nn.TransformerEncoder(layer, depth, nn.LayerNorm(W), enable_nested_tensor=False) if depth else layer
    )
    mask = MASKS["bool"] if causal else None
    work = lambda layer, x: in_order(batch_first, layer(in_order(batch_first, x), mask)).mean(1)  # noqa: E731
    assert_exact(
        read_out(body, work), series(n), bug="time first read as samples first, or the fused path was taken"
    )


@LAW
@given(batch_first=FLAG, norm_first=FLAG, n=N)
def test_a_transformer_with_encoder_and_decoder(batch_first, norm_first, n):
    body = nn.TransformerDecoderLayer(W, 2, 6, 0.1, batch_first=batch_first, norm_first=norm_first)
    work = lambda layer, x: in_order(  # noqa: E731
        batch_first, layer(in_order(batch_first, x), in_order(batch_first, x.flip(1)))
    ).mean(1)
    assert_exact(read_out(body, work), series(n))


@LAW
@given(causal=FLAG, heads=st.sampled_from([1, 2, 4]), one=FLAG, n=N)
def test_scaled_dot_product_attention(causal, heads, one, n):
    """Projections of one's own, fused or three."""

    def work(self, x):
        q, k, v = self.qkv(x).chunk(3, -1) if one else (self.q(x), self.k(x), self.v(x))
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.head(mixed.transpose(1, 2).flatten(2).mean(1).tanh())

    parts = dict(qkv=nn.Linear(W, 3 * W)) if one else {name: nn.Linear(W, W) for name in "qkv"}
    assert_exact(shaken(Made(work, **parts, head=nn.Linear(W, 3)).double()), series(n))


@LAW
@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]),
    batch_first=FLAG,
    both_ways=FLAG,
    layers=st.integers(1, 2),
    bias=FLAG,
    projected=FLAG,
    last=FLAG,
    before=FLAG,
    n=N,
)
def test_recurrent_layers(kind, batch_first, both_ways, layers, bias, projected, last, before, n):
    """Read at all times, or through the final hidden state, whose sample axis is 1 whatever batch_first says."""
    size = 2 if projected and kind is nn.LSTM else 3
    options = dict(proj_size=2) if size == 2 else {}
    layer = kind(W, 3, layers, bias=bias, batch_first=batch_first, bidirectional=both_ways, **options)

    def work(layer, x):
        out, hidden = layer(in_order(batch_first, x))
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return hidden.transpose(0, 1).flatten(1) if last else in_order(batch_first, out).mean(1)

    ways = 1 + both_ways
    model = read_out(layer, work, size * ways * (layers if last else 1), before)
    assert_exact(
        model,
        series(n),
        bug="a step in time, a direction or a layer of the stack is left out, or time is batch",
    )


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell], ids=lambda kind: kind.__name__)
def test_cells_called_once_a_step(kind):
    def work(cell, x):
        state = None
        for step in x.unbind(1):
            state = cell(step, state)
        return state[0] if isinstance(state, tuple) else state

    assert_exact(
        read_out(kind(W, 3), work, 3), series(4), bug="uses of a weight add up before the norm, not after"
    )


class Unheard(nn.Module):
    """A leaf no library knows: y = x A^T + sin(B) x."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(W, W)), nn.Parameter(torch.randn(W))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.T + torch.sin(self.b) * x


class Scaled(torch.autograd.Function):
    """y = x w^2 with a backward written by hand, which vmap cannot look into."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w**2

    @staticmethod
    def backward(ctx, d):
        x, w = ctx.saved_tensors
        return d * w**2, (2 * d * x * w).sum(tuple(range(d.ndim - 1)))


class Routed(nn.Module):
    """The weight meets the batch in Scaled; `through` may hide it behind another function."""

    def __init__(self, through=lambda w: w):
        super().__init__()
        self.w, self.through = nn.Parameter(torch.randn(W)), through

    def forward(self, x: Tensor) -> Tensor:
        return Scaled.apply(x, self.through(self.w))


class Fourier(nn.Module):
    """Complex numbers on the way: a filter over frequencies."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(T // 2 + 1, W))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x, dim=1) * self.filter, n=T, dim=1)


class Routes(nn.Module):
    """A soft mixture of experts: one stack of weights, all samples, one einsum."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(W, 3), nn.Parameter(torch.randn(3, W, W) / math.sqrt(W))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bte,btw,ewv->btv", self.gate(x).softmax(-1), x, self.experts)


OWN = {
    "a leaf of one's own": Unheard,
    "a custom autograd function": Routed,
    "a custom autograd function of a derived weight": lambda: Routed(torch.tanh),
    "a filter over frequencies": Fourier,
    "a soft mixture of experts": Routes,
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_layers_nobody_has_heard_of(name, n):
    torch.manual_seed(0)
    model = read_out(OWN[name](), lambda layer, x: torch.tanh(layer(x)).mean(1))
    assert_exact(model, series(n), bug="an operation without a rule needs the general one, sample by sample")


SEVERAL = {
    "LSTM, time first": lambda: read_out(
        nn.LSTM(W, 3), lambda layer, x: layer(x.transpose(0, 1))[1][0][0], 3
    ),
    "encoder": lambda: read_out(
        nn.TransformerEncoderLayer(W, 2, 6, batch_first=True), lambda layer, x: layer(x).mean(1)
    ),
    "experts": lambda: read_out(Routes(), lambda layer, x: layer(x).mean(1)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_batch_size_changes_no_score(name):
    torch.manual_seed(0)
    assert_same_at_every_batch_size(SEVERAL[name](), series(9), torch.float64)
