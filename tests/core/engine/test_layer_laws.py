"""Each layer alone, whatever its settings and shapes: the sweep is one-sample autograd, from zero samples on.

Law (docs/method.md, identity 4): norms, products and losses of every sample agree with autograd to 1e-9 in float64.
Attention, recurrent and home-made layers: test_sequence_laws.py.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

import influence_core as ic
from tests.making.oracles import dataset, flat_gradients
from tests.making.sweep_laws import Made, assert_exact, assert_same_at_every_batch_size, between, ids, shaken

pytestmark = pytest.mark.filterwarnings(
    "ignore:There is a performance drop:UserWarning"
)  # torch: slow, not wrong
LAW = settings(max_examples=25, deadline=None, derandomize=True)
FLAG = st.booleans()
N = st.integers(0, 5)
KINDS = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "transposed": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    "instance": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
}
CHANNELS = st.sampled_from([(3, 4, 1), (4, 6, 2), (3, 3, 3), (2, 6, 2), (9, 5, 1), (16, 6, 2)])
"""In, out, groups: plain, grouped, depthwise, depthwise with a multiplier, and wide (another way of contracting)."""


def three(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
    """One whole number an axis, so that no axis can be taken for another."""
    return st.tuples(*[st.integers(low, high)] * 3)


@LAW
@given(positions=st.sampled_from([(), (1,), (3,), (2, 3), (2, 1, 3)]), bias=FLAG, before=FLAG, n=N)
def test_linear(positions, bias, before, n):
    shape = (*positions, 4)
    assert_exact(between(nn.Linear(4, 5, bias=bias), *shape, before=before), dataset(*shape, n=n, classes=3))


@pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel:UserWarning"
)  # torch, of an uneven border
@LAW
@given(
    d=st.integers(1, 3),
    channels=CHANNELS,
    size=three(1, 5),
    kernel=three(1, 3),
    stride=three(1, 3),
    dilation=three(1, 2),
    padding=st.one_of(three(0, 2), st.sampled_from(["same", "valid"])),
    mode=st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]),
    bias=FLAG,
    before=FLAG,
    n=N,
)
def test_convolutions(d, channels, size, kernel, stride, dilation, padding, mode, bias, before, n):
    c, out, groups = channels
    size, kernel, dilation = size[:d], kernel[:d], dilation[:d]
    stride = (1,) * d if padding == "same" else stride[:d]
    reach = [w * (k - 1) for w, k in zip(dilation, kernel, strict=True)]
    if isinstance(padding, str):
        border = [0 if padding == "valid" else r - r // 2 for r in reach]
    else:
        padding = border = padding[:d]
        assume(all(s + 2 * p > r for s, p, r in zip(size, border, reach, strict=True)))
    assume(padding != "valid" or all(s > r for s, r in zip(size, reach, strict=True)))
    if mode in ("reflect", "circular"):  # cannot wrap around more than there is
        assume(all(p < s + (mode == "circular") for p, s in zip(border, size, strict=True)))
    layer = KINDS["conv"][d - 1](c, out, kernel, stride, padding, dilation, groups, bias, mode)
    assert_exact(
        between(layer, c, *size, before=before),
        dataset(c, *size, n=n, classes=3),
        bug=f"padding {padding!r} ({mode}), stride, groups or dilation of the windows",
    )


@pytest.mark.parametrize("channels", [(4, 6, 1), (4, 6, 2), (16, 12, 1), (32, 12, 2)], ids=str)
@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((1,), 3, dict(padding=1)),
        ((1, 1), 3, dict(padding=1)),
        ((1, 1, 1), 3, dict(padding=1)),
        ((2, 2), 7, dict(padding=3, stride=2)),
        ((1, 3), (5, 3), dict(padding=(2, 1), stride=(1, 2))),
        ((2, 1), 3, dict(padding=2, dilation=2)),
        ((3, 5), (1, 2), dict(stride=3)),
        ((1, 2, 2), (3, 3, 1), dict(padding=(1, 1, 0))),
    ],
    ids=str,
)
def test_kernel_taps_that_only_ever_see_padding(channels, size, kernel, options):
    c, out, groups = channels
    layer = KINDS["conv"][len(size) - 1](c, out, kernel, groups=groups, **options)
    model, samples = between(layer, c, *size), dataset(c, *size, n=5, classes=3)
    assert_exact(
        model, samples, bug="taps outside the picture: their gradient is zero, but their columns exist"
    )


@LAW
@given(
    d=st.integers(1, 3),
    channels=CHANNELS,
    size=three(1, 4),
    kernel=three(1, 3),
    stride=three(1, 3),
    dilation=three(1, 2),
    padding=three(0, 2),
    extra=three(0, 2),
    bias=FLAG,
    before=FLAG,
    n=N,
)
def test_transposed_convolutions(
    d, channels, size, kernel, stride, dilation, padding, extra, bias, before, n
):
    c, out, groups = channels
    each = list(zip(size, kernel, stride, dilation, padding, extra, strict=True))[:d]
    assume(all(e < max(s, w) for _, _, s, w, _, e in each))
    assume(all((x - 1) * s - 2 * p + w * (k - 1) + e + 1 > 0 for x, k, s, w, p, e in each))
    size, kernel, stride, dilation, padding, extra = (
        v[:d] for v in (size, kernel, stride, dilation, padding, extra)
    )
    layer = KINDS["transposed"][d - 1](c, out, kernel, stride, padding, extra, groups, bias, dilation)
    model, samples = between(layer, c, *size, before=before), dataset(c, *size, n=n, classes=3)
    assert_exact(
        model,
        samples,
        bug="weight is (in, out / groups, ...): roles of input and output gradient are exchanged",
    )


@LAW
@given(
    layout=st.sampled_from([(1, 6), (2, 4), (4, 4), (3, 6)]), sizes=st.sampled_from([(3,), (2, 3), ()]), n=N
)
def test_group_norm(layout, sizes, n):
    groups, c = layout
    assume(sizes or c // groups > 1)  # one value has no variance
    model = between(nn.GroupNorm(groups, c), c, *sizes)
    assert_exact(model, dataset(c, *sizes, n=n, classes=3), bug="statistics of a group, scale of a channel")


@LAW
@given(rms=FLAG, axes=st.integers(1, 3), shape=three(2, 4), affine=FLAG, bias=FLAG, before=FLAG, n=N)
def test_layer_norm_and_rms_norm(rms, axes, shape, affine, bias, before, n):
    own = shape[3 - axes :]
    layer = nn.RMSNorm(own, elementwise_affine=affine) if rms else nn.LayerNorm(own, 1e-5, affine, bias)
    model, samples = between(layer, *shape, before=before), dataset(*shape, n=n, classes=3)
    assert_exact(model, samples, bug="the normalised axes are the last ones; all others are positions")


@LAW
@given(d=st.integers(1, 3), affine=FLAG, tracked=FLAG, before=FLAG, n=N)
def test_instance_norm(d, affine, tracked, before, n):
    layer, size = KINDS["instance"][d - 1](4, affine=affine, track_running_stats=tracked), (3, 2, 2)[:d]
    model, samples = between(layer, 4, *size, before=before), dataset(4, *size, n=n, classes=3)
    assert_exact(
        model, samples, bug="running statistics are used in evaluation mode only if they are tracked"
    )


@LAW
@given(axes=st.integers(0, 3), affine=FLAG, before=FLAG, n=N)
def test_batch_norm_with_running_statistics(axes, affine, before, n):
    layer, size = KINDS["batch"][max(0, axes - 1)](4, affine=affine), (3, 2, 2)[:axes]
    model, samples = between(layer, 4, *size, before=before), dataset(4, *size, n=n, classes=3)
    before_sweep = layer.running_mean.clone()
    assert_exact(model, samples, bug="the input must be normalised by running_mean and running_var + eps")
    assert torch.equal(layer.running_mean, before_sweep), "scoring must not move running statistics"


@LAW
@given(shared=FLAG, sizes=st.sampled_from([(), (3,), (2, 3)]), before=FLAG, n=N)
def test_prelu(shared, sizes, before, n):
    layer = nn.PReLU(1 if shared else 4)
    model, samples = between(layer, 4, *sizes, before=before), dataset(4, *sizes, n=n, classes=3)
    assert_exact(model, samples, bug="channels lie on axis 1; only negative inputs count")


@LAW
@given(positions=st.integers(0, 3), bias=FLAG, n=N)
def test_bilinear(positions, bias, n):
    shape = (positions, 4) if positions else (4,)
    layer = Made(lambda self, x: self.both(x, (x.flip(-1) ** 2)[..., :3]), both=nn.Bilinear(4, 3, 2, bias))
    assert_exact(between(layer, *shape), dataset(*shape, n=n, classes=3))


@LAW
@given(t=st.integers(1, 6), padding=st.sampled_from([None, 0, 2, -1]), vocabulary=st.integers(3, 9), n=N)
def test_embedding(t, padding, vocabulary, n):
    words = nn.Embedding(vocabulary, 4, padding_idx=padding)
    model = shaken(
        Made(lambda self, x: self.head(self.words(x).sin().mean(1)), words=words, head=nn.Linear(4, 3))
    )
    assert_exact(
        model, ids(n, t, vocabulary), bug="rows of repeated ids add up before the norm; padding_idx has none"
    )


def test_a_large_vocabulary_of_which_few_words_occur():
    parts = dict(words=nn.Embedding(5000, 8), head=nn.Linear(8, 3))
    assert_exact(
        shaken(Made(lambda self, x: self.head(self.words(x).sin().mean(1)), **parts)), ids(4, 7, 5000)
    )


@LAW
@given(mode=st.sampled_from(["sum", "mean", "max"]), t=st.integers(1, 5), weighted=FLAG, padded=FLAG, n=N)
def test_embedding_bag(mode, t, weighted, padded, n):
    weighted = weighted and mode == "sum"
    bag = nn.EmbeddingBag(7, 4, mode=mode, padding_idx=1 if padded else None)
    work = lambda self, x, w=None: self.head(self.bag(x, per_sample_weights=w).sin())  # noqa: E731
    words, labels = ids(n, t, 7).tensors
    weights = torch.randn(n, t, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = [(x, w) if weighted else x for x, w in zip(words, weights, strict=True)]
    samples = list(zip(inputs, labels, strict=True))
    assert_exact(shaken(Made(work, bag=bag, head=nn.Linear(4, 3))), samples, bug=f"a bag of mode {mode}")


def mixed() -> nn.Module:
    """Smooth, with a convolution, norms and linear layers over positions."""
    torch.manual_seed(0)
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU(), nn.Linear(6, 5), nn.LayerNorm(5)]
    return shaken(nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_batch_size_changes_no_score(dtype):
    assert_same_at_every_batch_size(mixed(), dataset(2, 6, n=9, classes=3, dtype=dtype), dtype)


def test_float32_agrees_to_1e_4():
    assert_exact(mixed(), dataset(2, 6, n=5, classes=3, dtype=torch.float32), dtype=torch.float32)


def test_the_sketch_is_one_linear_map_for_all_samples():
    """With more samples than parameters, sketches = G S for one S; a rest means that batches or layers differ."""
    torch.manual_seed(0)
    body = [nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2, bias=False), nn.LayerNorm(2)]
    model, samples = shaken(nn.Sequential(*body).double()), dataset(1, 4, n=60, classes=2)
    g = flat_gradients(model, samples)
    found = ic.sweep(model, samples, sketch=32, precision="float64", batch_size=7).sketches
    rest = found - g @ torch.linalg.lstsq(g, found, driver="gelsd").solution
    assert float(rest.norm() / found.norm()) < 1e-9


def test_no_samples_at_all():
    empty = TensorDataset(torch.zeros(0, 2, 6), torch.zeros(0, dtype=torch.int64))
    found = ic.sweep(mixed(), empty, sketch=8)
    assert found.grad_norms.shape == (0,) and found.sketches.shape == (0, 8)
