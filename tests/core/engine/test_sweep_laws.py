"""The identities of docs/method.md: what a per-sample gradient score must satisfy, whatever the layer."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import Subset, TensorDataset

import influence_core as ic
from influence_core.engine.kernels import loops
from influence_core.engine.losses import loss_by_name
from influence_core.engine.readings import tiles
from influence_core.engine.readings.contract import Buffer, Wanted, contract
from influence_core.engine.readings.sketch import folding_map
from influence_core.engine.readings.tiles import read_tile, totals
from influence_core.engine.rules.factors import Outer
from tests.making.oracles import dataset, flat, flat_gradients, random_directions, settled
from tests.making.tiny import tiny_net

EXACT = 1e-9


def image_net(middle: nn.Module, channels: int, size: int = 8) -> nn.Module:
    """A layer between a convolution and a head, in float64, on pictures of 2 x size x size."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), middle)
    width = body.double()(torch.zeros(1, 2, size, size, dtype=torch.float64)).flatten(1).shape[1]
    return settled(nn.Sequential(body, nn.Flatten(), nn.Linear(width, 3)).double())


IMAGE_LAYERS = {
    "conv with stride and padding": nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "conv with groups": nn.Conv2d(4, 8, 3, groups=2, bias=False),
    "depthwise conv": nn.Conv2d(4, 4, 3, groups=4, padding=2, dilation=2),
    "conv, 'same' padding": nn.Conv2d(4, 5, (2, 3), padding="same"),
    "conv, reflected border": nn.Conv2d(4, 5, 3, padding=2, padding_mode="reflect"),
    "conv, circular border": nn.Conv2d(4, 5, (3, 1), padding=(1, 0), padding_mode="circular"),
    "batch norm": nn.BatchNorm2d(4),
    "group norm": nn.GroupNorm(2, 4),
    "layer norm over the picture": nn.LayerNorm([4, 8, 8]),
    "a leaf without a rule": nn.PReLU(4),
    "in-place activation after a layer": nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)
    ),
    "frozen batch norm affine": nn.BatchNorm2d(4, affine=False),
}


def assert_as_one_by_one(
    model: nn.Module, samples: TensorDataset, bound: float = EXACT, batch_size: int = 3
) -> None:
    """Norms, L1 norms and products of the sweep against one sample at a time."""
    truth = flat_gradients(model, samples)
    directions = random_directions(model, 2)
    found = ic.sweep(
        model, samples, directions=directions, sketch=8, precision="float64", batch_size=batch_size
    )
    products = truth @ torch.stack([flat(d, model) for d in directions]).T
    for name, got, expected in (
        ("L2 norm", found.grad_norms, truth.norm(dim=1)),
        ("L1 norm", found.grad_norms_l1, truth.abs().sum(1)),
        ("product", found.products, products),
    ):
        error = ((got - expected).abs().max() / expected.abs().max()).item()
        assert error <= bound, (
            f"{name} is off by {error:.2g} of the largest value. A factor of {batch_size}: a mean where a sum belongs; "
            "off for one layer only: its padding, groups or dilation; all zero: a hook that never fired."
        )


@pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel:UserWarning"
)  # torch, of our uneven border
@pytest.mark.parametrize("name", IMAGE_LAYERS)
def test_every_layer_equals_one_sample_autograd(name):
    model = image_net(IMAGE_LAYERS[name], 4)
    assert_as_one_by_one(model, dataset(2, 8, 8, n=7, classes=3))


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    dimensions=st.sampled_from([1, 2, 3]),
    n=st.integers(0, 4),
)
def test_convolutions_of_every_shape(kernel, stride, padding, dilation, groups, dimensions, n):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    torch.manual_seed(0)
    layer = kind(4, 4, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    size = (6,) * dimensions
    width = layer(torch.zeros(1, 4, *size)).flatten(1).shape[1]
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(width, 3)).double()
    samples = dataset(4, *size, n=n, classes=3)
    if n:
        assert_as_one_by_one(model, samples)
    else:
        assert ic.sweep(model, samples, precision="float64").grad_norms.shape == (0,)


def test_linear_layers_over_positions_and_embeddings():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(11, 6, padding_idx=0)
            self.mix = nn.Linear(6, 6)
            self.norm = nn.LayerNorm(6)
            self.head = nn.Linear(6, 3)

        def forward(self, ids):
            return self.head(self.norm(torch.tanh(self.mix(self.words(ids)))).mean(1))

    torch.manual_seed(0)
    ids = torch.randint(11, (6, 5))
    assert_as_one_by_one(Reader().double(), TensorDataset(ids, torch.randint(3, (6,))))


def test_a_layer_used_twice_and_a_weight_shared_by_two_layers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.other, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.other.weight = self.inner.weight

        def forward(self, x):
            x = torch.tanh(self.inner(torch.tanh(self.inner(x))))
            return self.head(torch.tanh(self.other(x)))

    torch.manual_seed(0)
    assert_as_one_by_one(Twice().double(), dataset(5, n=6, classes=3))


def test_frozen_parameters_are_left_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    model[0].weight.requires_grad_(False)
    assert_as_one_by_one(model, dataset(5, n=6, classes=3))


def test_resnet18_in_float32_agrees_to_1e_4():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = settled(resnet18(num_classes=10))
    samples = dataset(3, 32, 32, n=4, classes=10, dtype=torch.float32)
    truth = flat_gradients(model, samples)
    directions = random_directions(model, 2)
    found = ic.sweep(model, samples, directions=directions, batch_size=4)
    relative = (found.grad_norms / truth.norm(dim=1) - 1).abs().max().item()
    assert relative <= 1e-4, f"norms are off by {relative:.1e} in float32"
    products = truth @ torch.stack([flat(d, model) for d in directions]).T
    assert ((found.products - products).abs().max() / products.abs().max()).item() <= 1e-4


@pytest.fixture
def tiny():
    return tiny_net(3, activation=nn.Tanh).double(), dataset(2, 6, 6, n=11, classes=3)


def test_products_of_a_batch_sum_to_the_gradient_of_the_summed_loss(tiny):
    """Identity 1: sum_i <g_i, v> = <gradient of sum_i l_i, v>; n times too small means that losses were averaged."""
    model, samples = tiny
    directions = random_directions(model, 1)
    found = ic.sweep(model, samples, directions=directions, precision="float64")
    model.eval()
    inputs, labels = samples.tensors
    nn.functional.cross_entropy(model(inputs), labels, reduction="sum").backward()
    whole = sum((p.grad * directions[0][n]).sum() for n, p in model.named_parameters() if p.grad is not None)
    assert found.products.sum().item() == pytest.approx(float(whole), rel=1e-9)


def test_products_are_directional_derivatives(tiny):
    """Identity 2: <g_i, v> is the central difference of l_i along v."""
    model, samples = tiny
    direction = random_directions(model, 1)[0]
    found = ic.sweep(model, samples, directions=[direction], precision="float64").products[:, 0]
    model.eval()
    inputs, labels = samples.tensors
    step = 1e-5

    def losses(sign):
        moved = {n: p + sign * step * direction[n] for n, p in model.named_parameters()}
        outputs = torch.func.functional_call(model, moved, (inputs,))
        return nn.functional.cross_entropy(outputs, labels, reduction="none")

    difference = ((losses(1) - losses(-1)) / (2 * step)).detach()
    assert torch.allclose(found, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("row", [0, 5, 10])
def test_influence_predicts_what_one_training_step_does(tiny, row):
    """Identity 3: decrease of the validation loss / learning rate -> influence. Ratio -1: the sign is flipped."""
    model, samples = tiny
    val = dataset(2, 6, 6, n=9, classes=3, seed=5)
    direction = ic.objective_gradient(model, val, "utility")
    score = ic.sweep(model, samples, directions=[direction], precision="float64").products[row, 0].item()
    model.eval()
    x, y = samples[row]
    rate = 1e-6
    gradients = torch.autograd.grad(
        nn.functional.cross_entropy(model(x[None]), y[None]), list(model.parameters())
    )

    def validation_loss():
        with torch.no_grad():
            return nn.functional.cross_entropy(model(val.tensors[0]), val.tensors[1]).item()

    before = validation_loss()
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= rate * gradient
    ratio = score * rate / (before - validation_loss())
    assert ratio == pytest.approx(1.0, rel=1e-2), (
        f"the score explains {ratio:.3f} of the true decrease; -1: the sign is flipped; 9 or 1/9: a mean/sum mix-up"
    )


def test_last_layer_closed_forms():
    """Identity 5: |g|_2 = |r| |(h, 1)|, |g|_1 = 2 (1 - p_y) |(h, 1)|_1, <g_i, g_j> = <r_i, r_j> (1 + <h_i, h_j>)."""
    torch.manual_seed(0)
    head = nn.Linear(6, 4).double()
    samples = dataset(6, n=5, classes=4)
    found = ic.sweep(head, samples, precision="float64")
    h, y = samples.tensors
    p = torch.softmax(head(h), 1).detach()
    r = p - nn.functional.one_hot(y, 4)
    assert torch.allclose(found.grad_norms, r.norm(dim=1) * (h.square().sum(1) + 1).sqrt())
    given = p[torch.arange(5), y]
    assert torch.allclose(found.grad_norms_l1, 2 * (1 - given) * (h.abs().sum(1) + 1))
    assert torch.allclose(found.last_norm_l1, found.grad_norms_l1), "the only layer is the last layer"
    truth = flat_gradients(head, samples)
    assert torch.allclose(truth @ truth.T, (r @ r.T) * (1 + h @ h.T))


@settings(max_examples=10, deadline=None)
@given(batch_size=st.integers(1, 13), seed=st.integers(0, 99))
def test_batch_size_and_order_do_not_change_a_score(batch_size, seed):
    """Identity 6: a score belongs to one sample, not to its companions."""
    torch.manual_seed(3)
    model = settled(
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))
    ).double()
    samples = dataset(2, 6, 6, n=11, classes=3)
    first = ic.sweep(model, samples, precision="float64", batch_size=11, sketch=16)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(seed))
    again = ic.sweep(
        model, Subset(samples, order.tolist()), precision="float64", batch_size=batch_size, sketch=16
    )
    assert torch.allclose(again.grad_norms, first.grad_norms[order], rtol=1e-10)
    assert torch.allclose(again.sketches, first.sketches[order], rtol=1e-8, atol=1e-10)


def test_float32_and_float64_agree(tiny):
    model, samples = tiny
    single = TensorDataset(samples.tensors[0].float(), samples.tensors[1])
    low = ic.sweep(model.float(), single)
    high = ic.sweep(model, samples, precision="float64")
    assert next(model.parameters()).dtype == torch.float32, "float64 must score a copy, not convert the model"
    assert torch.allclose(low.grad_norms.double(), high.grad_norms, rtol=1e-4)


def test_sketches_estimate_inner_products_without_bias_and_ever_better():
    """Identity 7: the mean over seeds is the truth, the error falls as 1/sqrt(q)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 15), nn.Tanh(), nn.Linear(15, 4)).double()
    samples = dataset(20, n=6, classes=4)
    truth = flat_gradients(model, samples)
    gram, sizes = truth @ truth.T, truth.norm(dim=1)[:, None] * truth.norm(dim=1)
    errors = {}
    for q in (32, 512):
        estimates = []
        for seed in range(60):
            rows = ic.sweep(model, samples, sketch=q, seed=seed, precision="float64").sketches
            estimates.append(rows @ rows.T)
        stacked = torch.stack(estimates)
        errors[q] = ((stacked - gram) / sizes).square().mean().sqrt().item()
        bias = ((stacked.mean(0) - gram) / sizes).abs().max().item()
        assert bias < 4 * errors[q] / 60**0.5, (
            f"q={q}: off by {bias:.3f} on average; signs or buckets are not random"
        )
    ratio = errors[32] / errors[512]
    assert 2.5 < ratio < 6.5, f"16 times the length divides the error by {ratio:.1f}; expected about 4"


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 6), columns=st.integers(1, 40), q=st.sampled_from([4, 8, 16]))
def test_both_forms_of_the_sketch_are_the_same_numbers(rows, columns, q):
    """Folding the written-out gradient = convolving the folded factors; else train and validation do not compare."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    d = torch.randn(3, rows, generator=generator, dtype=torch.float64)
    a = torch.randn(3, columns, generator=generator, dtype=torch.float64)
    folding = folding_map("w", (rows, columns), q, 0, d)
    g = (d[:, :, None] * a[:, None]).flatten(1)
    assert torch.allclose(folding.fold(g, 0), folding.fold_outer(d, a, 0), atol=1e-10)
    if rows > 1:
        parts = folding.fold(g[:, :columns], 0) + folding.fold(g[:, columns:], 1)
        assert torch.allclose(folding.fold(g, 0), parts, atol=1e-10), "a sketch depends on how G was cut"


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 5),
    rows=st.integers(1, 5),
    columns=st.integers(1, 700),
    k=st.integers(0, 10),
    q=st.sampled_from([0, 4, 16, 300]),
    row=st.integers(0, 3),
    threads=st.integers(1, 3),
)
def test_the_compiled_reader_finds_what_separate_operations_find(n, rows, columns, k, q, row, threads):
    """Edges of chunks, rows and maps, more directions than one look takes, more threads than samples."""
    generator = torch.Generator().manual_seed(columns)
    g = torch.randn(n, rows * columns, generator=generator, dtype=torch.float64)
    directions = [torch.randn(rows, columns, generator=generator, dtype=torch.float64) for _ in range(k)]
    folding = folding_map("w", (rows + row, columns), q, 0, g) if q else None
    found, expected = totals(g, n, k, folding), totals(g, n, k, folding)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        tiles._read_compiled(g, row, directions, folding, found)
    finally:
        torch.set_num_threads(before)
    tiles._read_plainly(g, row, directions, folding, expected)
    assert torch.allclose(found.sums[0, :, :2], expected.sums[0, :, :2]), "a norm missed numbers at an edge"
    assert torch.allclose(found.products(k), expected.products(k)), (
        "a product met another direction's numbers"
    )
    assert torch.allclose(found.folded, expected.folded, atol=1e-12), (
        "the sketch put numbers into other buckets"
    )


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 5),
    rows=st.integers(1, 110),
    columns=st.integers(1, 300),
    t=st.integers(1, 70),
    k=st.integers(0, 10),
    q=st.sampled_from([0, 4, 300]),
    row=st.integers(0, 3),
    by_position=st.booleans(),
    double=st.booleans(),
)
def test_a_gradient_made_and_read_at_once_is_the_one_written_out(
    n, rows, columns, t, k, q, row, by_position, double
):
    """Edges of blocks and bands, odd rows, positions that are not a multiple of four, as columns or as rows, both
    formats, more directions than one look takes."""
    generator = torch.Generator().manual_seed(columns)
    dtype, rounding = (torch.float64, 1e-11) if double else (torch.float32, 1e-3)
    near = {"rtol": 1e-9, "atol": rounding} if double else {"rtol": 1e-4, "atol": rounding * rows}
    exact = [torch.randn(n, size, t, generator=generator, dtype=torch.float64) for size in (rows, columns)]
    d, a = ((x.movedim(1, 2).contiguous().movedim(2, 1) if by_position else x).to(dtype) for x in exact)
    directions = [torch.randn(rows, columns, generator=generator, dtype=torch.float64) for _ in range(k)]
    folding = folding_map("w", (rows + row, columns), q, 0, d) if q else None
    wide = folding_map("w", (rows + row, columns), q, 0, exact[0]) if q else None
    found, expected = totals(d, n, k, folding), totals(exact[0], n, k, wide)
    given = [v.to(dtype) for v in directions] or [torch.zeros(rows, columns, dtype=dtype)]
    tiles.read_made(d, a, row, given, folding, found, lambda shape, like: like.new_empty(shape))
    tiles._read_plainly((exact[0] @ exact[1].transpose(1, 2)).flatten(1), row, directions, wide, expected)
    assert torch.allclose(found.sums[0, :, :2], expected.sums[0, :, :2], **near), (
        "a row or column of G is missing"
    )
    assert torch.allclose(found.products(k), expected.products(k), **near), (
        "a product met other rows of its direction"
    )
    assert torch.allclose(found.folded, expected.folded, **near), "the sketch put numbers into other buckets"


FAR = """
import torch
from influence_core.engine.readings.tiles import read_rows, totals

g, ids = torch.ones(2, 3, 4), torch.full((2, 3), 2**40)
found = totals(g, 2, 0, None)
read_rows(ids, g, 2**41, [], None, found)
print(found.sums[0, :, :2].tolist())
"""


def test_without_directions_a_table_is_read_nowhere_but_at_its_gradient():
    """The place of a missing direction held the few rows of g, and was read at the ids of a whole table: now and then a
    sweep of a model with an embedding ended the process. So this one has a process of its own."""
    told = subprocess.run([sys.executable, "-c", FAR], capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"ended by signal {-told.returncode}: read beyond the rows of the gradient"
    assert told.stdout.strip() == "[[12.0, 12.0], [12.0, 12.0]]"


def test_processors_with_few_registers_read_the_same():
    """The loop for the other kind of processor is compiled nowhere else here: users would see a fault first."""
    law = f"{__file__}::{test_a_gradient_made_and_read_at_once_is_the_one_written_out.__name__}"
    other = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", law]
    done = subprocess.run(command, env=other, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 3),
    t=st.integers(1, 5),
    columns=st.integers(1, 40),
    kernel=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    edges=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    double=st.booleans(),
)
def test_compiled_sums_over_positions_are_those_of_autograd(n, t, columns, kernel, edges, double):
    """No sample, one column, kernels as wide as the vectors, pictures smaller than the kernel, both formats."""
    dtype = torch.float64 if double else torch.float32
    near = {"rtol": 1e-9, "atol": 1e-11} if double else {"rtol": 1e-4, "atol": 1e-4}
    generator = torch.Generator().manual_seed(columns)
    x = torch.randn(n, 2, t + 7, columns + 7, generator=generator, dtype=dtype)
    padded = functional.pad(x, (edges[1], edges[1], edges[0], edges[0]))
    d = torch.randn(n, 2, padded.shape[2] - kernel[0] + 1, padded.shape[3] - kernel[1] + 1, dtype=dtype)
    windows = padded.unfold(2, d.shape[2], 1).unfold(3, d.shape[3], 1)
    expected = (windows * d[:, :, None, None]).sum((4, 5))
    found = loops.depthwise(d, x, edges, kernel)
    assert torch.allclose(found, expected, **near), (
        "a tap met pixels of another place, or of the picture before"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_compiled_reader_hands_on_what_is_not_finite(bad):
    g = torch.zeros(2, 9)
    g[1, 4] = bad
    into = totals(g, 2, 1, None)
    read_tile(g, 0, [torch.ones(1, 9)], None, into)
    assert into.sums[0, 0].isfinite().all(), "another sample's gradient leaked in"
    assert not into.sums[0, 1].isfinite().any(), "NaN was optimised away: the scores would look fine"


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(1, 3), rows=st.integers(1, 5), columns=st.integers(1, 6), t=st.integers(1, 9))
def test_norms_from_factors_equal_written_out_norms(groups, rows, columns, t):
    generator = torch.Generator().manual_seed(groups * 1000 + rows * 100 + columns * 10 + t)
    d = torch.randn(4, groups, rows, t, generator=generator, dtype=torch.float64)
    a = torch.randn(4, groups, columns, t, generator=generator, dtype=torch.float64)
    written = (d @ a.transpose(2, 3)).square().sum((1, 2, 3))
    found = contract(Outer(d, a), Wanted((groups * rows, columns), (), None), Buffer())
    assert torch.allclose(found.sums[:, 0], written)
    assert torch.allclose(found.sums[:, 1], (d @ a.transpose(2, 3)).abs().sum((1, 2, 3)))


def test_the_slow_truth_is_public():
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    rows = ic.per_sample_gradients(model, dataset(3, n=4, classes=2), loss_by_name("cross_entropy"))
    assert {name: tuple(value.shape) for name, value in rows.items()} == {"weight": (4, 2, 3), "bias": (4, 2)}


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, (3, 1), padding=(2, 0), dilation=(2, 1)),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, 3, padding=(0, 1)),
        nn.Conv2d(4, 6, 2, padding=2, dilation=4),
        nn.ConvTranspose2d(4, 6, 3, padding=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_window_that_hangs_over_the_border(layer, side):
    """On one pixel most taps see padding alone: they get no gradient, and the others must keep their places."""
    torch.manual_seed(2)
    try:
        width = layer(torch.zeros(1, 4, side, side)).numel()
    except RuntimeError:
        return  # the kernel does not fit
    first = nn.Conv2d(2, 4, 1)
    model = settled(nn.Sequential(first, nn.Tanh(), copy.deepcopy(layer), nn.Flatten(), nn.Linear(width, 3)))
    assert_as_one_by_one(model.double(), dataset(2, side, side, n=5, classes=3))
