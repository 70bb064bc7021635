"""Layer-aware influence against its definition, written out sample by sample and token by token."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from influence_core.engine.batches import Batch
from influence_core.engine.losses import IGNORED, loss_by_name
from influence_core.errors import DataError, InfluenceError, LayerError
from influence_core.scores.influence import layer_inputs
from influence_core.scores.influence.layer_aware import (
    folded,
    layer_aware_influence,
    leave_one_out,
    output_gradient,
    pairs,
)
from influence_core.scores.influence.layer_inputs import LayerInputs, mean_window
from tests.making.layer_inputs import Deep, Language, assert_close
from tests.making.oracles import dataset, flat_gradients, products, settled


def batch_of(labels: Tensor) -> Batch:
    """A batch of labels as in a training loop, where positions may be left out."""
    return Batch(0, len(labels), None, labels)


class AveragedConvolution(nn.Module):
    """A convolution whose positions are averaged to logits: layer-aware influence is exact here too."""

    def __init__(self, **settings):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, dtype=torch.float64, **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


@pytest.mark.parametrize("bias", [True, False])
def test_one_linear_layer_is_exact(bias):
    model = nn.Linear(6, 4, bias=bias, dtype=torch.float64)
    train, val = dataset(6, n=9, classes=4), dataset(6, n=5, classes=4, seed=1)
    assert_close(
        layer_aware_influence(model, train, val, batch_size=4),
        products(model, train, val),
        "for one linear layer the surrogate gradient is the gradient",
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"padding": 1},
        {"stride": 2, "padding": 2, "bias": False},
        {"dilation": 2},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "circular"},
    ],
)
def test_an_averaged_convolution_is_exact(settings):
    model = AveragedConvolution(**settings)
    train, val = dataset(3, 8, 7, n=6, classes=4), dataset(3, 8, 7, n=5, classes=4, seed=1)
    assert_close(
        layer_aware_influence(model, train, val),
        products(model, train, val),
        "the mean window missed padding, stride or dilation",
    )


@pytest.mark.parametrize("at_once", [0, 2048], ids=["axis by axis", "at once"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_mean_window_is_the_mean_of_all_windows(dimensions, at_once, monkeypatch):
    monkeypatch.setattr(layer_inputs, "AT_ONCE", at_once)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    layer = kind(4, 6, 3, stride=2, padding=1, groups=2, bias=False, dtype=torch.float64)
    x = torch.randn(2, 4, *(5, 6, 7)[:dimensions], dtype=torch.float64)
    # a filter that copies one tap of one channel shows the mean of that tap over all positions
    copying = kind(1, 3**dimensions, 3, stride=2, padding=1, bias=False, dtype=torch.float64)
    copying.weight.data = torch.eye(3**dimensions, dtype=torch.float64).reshape(copying.weight.shape)
    taps = copying(x.flatten(0, 1).unsqueeze(1)).detach().flatten(2).mean(2).reshape(2, 4, -1)
    assert_close(mean_window(layer, x), taps.flatten(1), "a tap was averaged over the wrong pixels")


def slow_scores(model: Deep, train: TensorDataset, val: TensorDataset) -> Tensor:
    model.eval()
    with torch.no_grad():
        d = [model(s.tensors[0]).softmax(1) - functional.one_hot(s.tensors[1], 3) for s in (train, val)]
        a = [model.slow_inputs(s.tensors[0]) for s in (train, val)]
    likeness = sum(mine @ theirs.T for mine, theirs in zip(*a, strict=True))
    return ((d[0] @ d[1].T) * likeness).mean(1)


def test_deep_models_follow_the_definition_and_come_back_untouched():
    model = Deep().double().train()
    settled(model)
    train, val = dataset(2, 6, 6, n=11, classes=3), dataset(2, 6, 6, n=7, classes=3, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = layer_aware_influence(model, train, val, batch_size=4)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules()), "a hook was left behind"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert_close(found, slow_scores(model, train, val), "a layer, the second use or the batch cut was lost")


def test_sequences_multiply_over_all_pairs_of_tokens():
    model = Language().double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 7, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (6, 7), generator=generator)
    train, val = TensorDataset(x[:4], y[:4]), TensorDataset(x[4:], y[4:])
    h = model.inner(x).tanh()
    head_in = h + model.shared(h.mean(1)).unsqueeze(1)
    d = ((model.head(head_in).softmax(2) - functional.one_hot(y, 4)) / 7).detach()

    def one(i: int, j: int) -> float:
        total = 0.0
        for a in (x, head_in.detach()):
            for t in range(7):
                for s in range(7):
                    total += float((d[i, t] @ d[j, s]) * (a[i, t] @ a[j, s] + 1))
        pooled = h.detach().mean(1)
        return total + float(d[i].sum(0) @ d[j].sum(0) * (pooled[i] @ pooled[j] + 1))

    truth = torch.tensor([(one(i, 4) + one(i, 5)) / 2 for i in range(4)], dtype=torch.float64)
    assert_close(
        layer_aware_influence(model, train, val),
        truth,
        "tokens were matched one to one or flattened instead of paired with all others",
    )


def test_the_gradient_at_the_outputs_is_that_of_autograd():
    """Also where a position is left out, and for one row a sample."""
    loss = loss_by_name("cross_entropy")
    for shape in ((5, 4), (5, 3, 4)):
        outputs = torch.randn(shape, dtype=torch.float64)
        labels = torch.randint(4, shape[:-1])
        labels[0] = IGNORED
        found = output_gradient(outputs, batch_of(labels), loss)
        expected = output_gradient(outputs, batch_of(labels), lambda z, y: loss(z, y))
        assert_close(
            found, expected, "an ignored position was counted, or the mean over positions was not taken"
        )
    with pytest.raises(InfluenceError, match="NaN or infinite"):
        output_gradient(torch.full((2, 3), torch.nan), batch_of(torch.tensor([0, 1])), loss)
    with pytest.raises(InfluenceError, match="do not fit"):
        output_gradient(torch.randn(4, 5, 9), batch_of(torch.zeros(4, 3, dtype=torch.long)), loss)


def test_folded_inputs_keep_their_products_without_bias():
    """One map is off by its noise; over many the products are those of all layers' inputs, and none of one layer's."""
    torch.manual_seed(0)
    tokens = {f"layer {n}": torch.randn(2, 6, f, dtype=torch.float64) for n, f in enumerate((40, 9, 65))}
    true = sum(rows.flatten(0, 1) @ rows.flatten(0, 1).T for rows in tokens.values())
    errors = []
    for turn in range(200):
        flat = folded({f"{turn} {path}": rows for path, rows in tokens.items()}, 16).flatten(0, 1)
        errors.append(flat @ flat.T - true)
    off = torch.stack(errors)
    spread = off.std(0) / len(off) ** 0.5
    assert float((off.mean(0).abs() / spread.clamp_min(1e-9)).max()) < 5, "a bias: signs are not independent"
    assert float(off.std()) < 1.5 * float(true.diagonal().mean()) / 16**0.5, "noise beyond that of 16 buckets"


def test_a_sequence_is_folded_where_that_is_cheaper_and_exact_on_request():
    torch.manual_seed(0)
    seen = {"one": torch.randn(3, 5, 200), "pooled": torch.randn(3, 7)}
    d = torch.randn(3, 5, 4)
    assert [pair.a.shape[2] for pair in pairs(d, seen)] == [7, 200]
    assert [pair.a.shape[2] for pair in pairs(d, seen, fold=64)] == [7, 64]
    assert [pair.a.shape[2] for pair in pairs(d, seen, fold=150)] == [7, 200], "folding would not pay"


def test_leave_one_out_drops_exactly_the_self_term():
    """docs/method.md, identity 8: b/(b-1) (LAI - self/b)."""
    model, b = nn.Linear(5, 3, dtype=torch.float64), 8
    train = dataset(5, n=b, classes=3)
    gradients = flat_gradients(model, train)
    gram = gradients @ gradients.T
    with_self, own = gram.mean(1), gram.diagonal()
    truth = b / (b - 1) * (with_self - own / b)
    inputs = LayerInputs(model)
    d = output_gradient(
        model(train.tensors[0]),
        batch_of(train.tensors[1]),
        lambda z, y: functional.cross_entropy(z, y, reduction="none"),
    )
    assert_close(leave_one_out(pairs(d, inputs.collect())), truth, "the self term was kept or scaled wrongly")
    assert_close(
        layer_aware_influence(model, train, None, batch_size=3),
        truth,
        "over the whole split: as in one batch",
    )


def test_what_cannot_be_told_apart_is_refused():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(x.transpose(0, 1)).mean(0))

    train = dataset(
        4, 3, n=4, classes=2, dtype=torch.float32
    )  # as many tokens as samples: shapes alone say nothing
    with pytest.raises(LayerError, match="batch_first"):
        layer_aware_influence(TimeFirst(), train, train)
    assert layer_aware_influence(TimeFirst(), train, train, layers=["head"]).shape == (4,)
    with pytest.raises(LayerError, match="no trainable linear"):
        layer_aware_influence(nn.Sequential(nn.Flatten(), nn.LayerNorm(12)), train, train)
    with pytest.raises(LayerError, match="no module of the model"):
        layer_aware_influence(TimeFirst(), train, train, layers=["nothing"])
    with pytest.raises(DataError, match="0 samples"):
        layer_aware_influence(TimeFirst(), train, dataset(4, 3, n=0, classes=2))
