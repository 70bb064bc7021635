"""Laws that every number of a sweep is that of one-sample autograd (`assert_exact`), and small models to try them on.

For each sample i alone: g_i = d loss_i / d parameters (engine.per_sample_gradients, model in evaluation mode). Then
|g_i|, |g_i|_1, |g_i| by layer, <g_i, v> for random v. Error of a norm: |difference| / norm. Error of a product:
|difference| / (|g_i| |v|). A norm that is rounding noise beside the whole gradient (a bias before an instance norm) is
measured by the rounding of the whole: its scale is at least 16 eps / bound of |g_i|.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import register_random
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

import influence_core as ic
from influence_core.engine import batches as loop
from influence_core.engine import per_sample_gradients
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.errors import LayerError
from tests.making.oracles import random_directions


class TorchRandom:
    """Lets hypothesis seed torch before every example, so that a failure can be replayed."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # hypothesis holds it weakly
register_random(TORCH_RANDOM)

BOUND = {torch.float32: 1e-4, torch.float64: 1e-9}
SKETCH = 64


@dataclass(frozen=True, slots=True)
class Truth:
    """What one-sample autograd says: losses, l2, l1 (n,), layers {path: (n,)}, products (n, k), lengths |v| (k,)."""

    losses: Tensor
    l2: Tensor
    l1: Tensor
    layers: dict[str, Tensor]
    products: Tensor
    lengths: Tensor


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode each module had: the oracle runs a model as it is."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def one_by_one(model: nn.Module, samples: Dataset, loss: str | Loss, directions: Sequence[Any]) -> Truth:
    """The slow truth, one sample's gradient in memory at a time, so that whole models fit."""
    function = loss_by_name(loss)
    paths = dict.fromkeys(path_of(name) for name, p in model.named_parameters() if p.requires_grad)
    losses, l1, layers, products = [], [], {path: [] for path in paths}, []
    with evaluated(model):
        for row in range(loop.count(samples)):
            alone = Subset(samples, [row])
            (batch,) = loop.batches(alone, 1, like=model)
            losses.append(function(loop.forward(model, batch.inputs), batch.labels).detach().sum())
            g = per_sample_gradients(model, alone, function)
            l1.append(torch.stack([value.abs().sum() for value in g.values()]).sum())
            for path in paths:
                own = [value.square().sum() for name, value in g.items() if path_of(name) == path]
                layers[path].append(torch.stack(own).sum().sqrt())
            dots = [sum((value[0] * v[name]).sum() for name, value in g.items()) for v in directions]
            products.append(torch.stack(dots))
    by_layer = {path: _stacked(values) for path, values in layers.items()}
    l2 = torch.stack([value.square() for value in by_layer.values()]).sum(0).sqrt()
    lengths = [torch.stack([value.norm() for value in v.values()]).norm() for v in directions]
    return Truth(
        _stacked(losses), l2, _stacked(l1), by_layer, _stacked(products, len(directions)), _stacked(lengths)
    )


def _stacked(values: Sequence[Tensor], *shape: int) -> Tensor:
    return torch.stack(list(values)) if values else torch.zeros(0, *shape)


def assert_exact(
    model: nn.Module,
    samples: Dataset,
    loss: str | Loss = "cross_entropy",
    dtype: torch.dtype = torch.float64,
    *,
    batch_size: int = 2,
    bug: str = "an operand, an axis or a setting of this layer is misread",
) -> ic.Sweep:
    """Sweep with 3 random directions and compare every number; an error names layer, shape and the likely bug."""
    model = model.to(dtype)
    directions = random_directions(model, 3)
    truth = one_by_one(model, samples, loss, directions)
    found = ic.sweep(
        model,
        samples,
        directions=directions,
        sketch=SKETCH,
        loss=loss,
        precision=str(dtype).removeprefix("torch."),
        batch_size=batch_size,
    )
    bound, floor = BOUND[dtype], 16 * torch.finfo(dtype).eps / BOUND[dtype]
    missing = sorted(set(truth.layers) - set(found.layer_norms))
    assert not missing, f"layers {missing} own trainable parameters but have no norms: nobody looked at them"
    for path, expected in truth.layers.items():
        scale = torch.maximum(expected, floor * truth.l2)
        _assert_close(
            described(model, path), found.layer_norms[path], expected, scale, bound, batch_size, bug
        )
    whole, b = f"the whole {type(model).__name__}", batch_size
    shared = "each layer's norm is right, so a parameter is counted twice, or the sum over layers is wrong"
    _assert_close(f"L2 norm of {whole}", found.grad_norms, truth.l2, truth.l2, bound, b, shared)
    _assert_close(
        f"L1 norm of {whole}", found.grad_norms_l1, truth.l1, truth.l1, bound, b, "|sum| taken for sum of |.|"
    )
    scale = truth.l2[:, None] * truth.lengths
    order = (
        "norms are right, so a direction is read in another order (groups, taps, transpose) than the gradient"
    )
    _assert_close(f"products of {whole}", found.products, truth.products, scale, bound, b, order)
    scale = truth.losses.abs().clamp_min(1e-3)
    _assert_close(
        "losses", found.losses, truth.losses, scale, bound, b, "not in evaluation mode, or samples meet"
    )
    assert found.sketches.shape == (len(truth.losses), SKETCH) and found.sketches.isfinite().all()
    assert (found.sketches.norm(dim=1) > 0).eq(truth.l2 > 0).all(), "a sketch of a gradient is zero"
    return found


def _assert_close(
    what: str, got: Tensor, expected: Tensor, scale: Tensor, bound: float, b: int, bug: str
) -> None:
    assert got.shape == expected.shape, (
        f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    got, expected = got.double(), expected.double()
    error = (got - expected).abs() / scale.double().clamp_min(torch.finfo(torch.float64).tiny)
    worst = float(error.max()) if error.numel() else 0.0
    assert worst <= bound, (  # written so that NaN fails
        f"{what} is off by {worst:.2g}, allowed {bound:.0e}. Likely bug: {_symptom(got, expected, b) or bug}. "
        f"Got {got.flatten()[:6].tolist()}, expected {expected.flatten()[:6].tolist()}"
    )


def _symptom(got: Tensor, expected: Tensor, b: int) -> str:
    """What a wrong number looks like says more than where it stands."""
    keep = expected.abs() > 0
    if not got.any():
        return "all zero: no operation on these parameters was seen"
    if not got.isfinite().all():
        return "NaN or infinite: an empty sum or a division by a zero norm"
    ratio = (got[keep] / expected[keep]).abs()
    for factor, says in (
        (1 / b, "a mean over the batch where a sum belongs"),
        (b, "the batch is summed twice"),
    ):
        if b > 1 and ratio.numel() and (ratio - factor).abs().max() < 1e-3:
            return f"a factor {factor:g}: {says}"
    return "a row is another sample's: the sample axis is misread" if _permuted(got, expected) else ""


def _permuted(got: Tensor, expected: Tensor) -> bool:
    a, e = got.flatten().sort().values, expected.flatten().sort().values
    return torch.allclose(a, e, rtol=1e-6) and not torch.allclose(got, expected, rtol=1e-3)


def path_of(name: str) -> str:
    """The layer a parameter belongs to: its name without the last part."""
    return name.rpartition(".")[0]


def described(model: nn.Module, path: str) -> str:
    """A layer as an error names it: path, kind, parameter shapes, settings."""
    shapes = {n.rpartition(".")[2]: tuple(p.shape) for n, p in model.named_parameters() if path_of(n) == path}
    layer = model.get_submodule(path)
    return f"norm of layer '{path}' {type(layer).__name__}({layer.extra_repr()}) {shapes}"


def assert_exact_or_refused(model: nn.Module, samples: Dataset, batch_size: int, bug: str) -> None:
    """Some models may be too odd to be scored, but none may be scored wrongly: exact, or a LayerError by name."""
    try:
        assert_exact(model, samples, batch_size=batch_size, bug=bug)
    except LayerError as error:
        assert names_a_part(str(error), model), f"the refusal names no layer or parameter: {error}"


def names_a_part(message: str, model: nn.Module) -> bool:
    """Whether a message quotes a layer's path, a parameter's name, or says which module it was."""
    parts = [*dict(model.named_modules()), *dict(model.named_parameters())]
    quoted = [f"'{part}'" for part in parts if part]
    return any(part in message for part in [*quoted, type(model).__name__]) or "batch_size=1" in message


def assert_same_at_every_batch_size(
    model: nn.Module, samples: Dataset, dtype: torch.dtype, loss: str | Loss = "cross_entropy"
) -> None:
    """One, two and seven samples a batch, and twice two: a score belongs to a sample, not to its neighbours.

    Beyond that it may move as far as torch's own gradient of the sample does (2e-6 of its norm in float32 where a
    convolution and a GroupNorm choose other kernels for one sample): no engine can be steadier than the model.
    """
    model, bound = model.to(dtype), {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    alone = autograd_in_batches(model, samples, loss, 1)
    directions = random_directions(model, 3)
    precision = str(dtype).removeprefix("torch.")
    runs = [
        ic.sweep(
            model, samples, directions=directions, sketch=SKETCH, loss=loss, precision=precision, batch_size=b
        )
        for b in (1, 2, 7, 2)
    ]
    assert torch.equal(runs[1].products, runs[3].products), "the same sweep twice gave other bits"
    lengths = torch.stack([torch.stack([v.norm() for v in d.values()]).norm() for d in directions])
    for b, run in zip((2, 7), runs[1:3], strict=True):
        norm = runs[0].grad_norms
        moved = (autograd_in_batches(model, samples, loss, b) - alone).norm(dim=1) / alone.norm(dim=1)
        for what, scale in (
            ("grad_norms", norm),
            ("grad_norms_l1", runs[0].grad_norms_l1),
            ("products", norm[:, None] * lengths),
            ("sketches", norm[:, None]),
            ("losses", runs[0].losses.abs()),
        ):
            error = float(((getattr(run, what) - getattr(runs[0], what)).abs() / scale).max())
            assert error <= bound + float(moved.max()), (
                f"{what} with batches of {b} differ by {error:.1e} from those of 1: samples meet"
            )


def autograd_in_batches(model: nn.Module, samples: Dataset, loss: str | Loss, b: int) -> Tensor:
    """(n, p): the gradient of each sample's own loss, by autograd through a batch of b samples."""
    rows, parameters = [], [value for value in model.parameters() if value.requires_grad]
    with evaluated(model):
        for batch in loop.batches(samples, b, like=model):
            for own in loss_by_name(loss)(loop.forward(model, batch.inputs), batch.labels):
                found = torch.autograd.grad(
                    own, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                rows.append(torch.cat([value.flatten() for value in found]))
    return torch.stack(rows)


class Made(nn.Module):
    """A model in one line: parts (modules, parameters as tensors) and what to do with them, work(self, *inputs)."""

    def __init__(self, work: Callable[..., Any], **parts: Any):
        super().__init__()
        for name, part in parts.items():
            raw = isinstance(part, Tensor) and not isinstance(part, nn.Buffer)
            setattr(self, name, nn.Parameter(part) if raw else part)
        self.work = work

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.work(self, *inputs, **named)


def between(layer: nn.Module, *shape: int, before: bool = True, classes: int = 3) -> nn.Module:
    """A layer on inputs of `shape`, after a linear layer (or first of all) and before a head."""
    first = nn.Sequential(nn.Linear(shape[-1], shape[-1]), nn.Tanh()) if before else nn.Identity()
    with evaluated(layer), torch.no_grad():
        dtype = next((p.dtype for p in layer.parameters()), torch.float32)
        width = layer(torch.zeros(1, *shape, dtype=dtype)).flatten(1).shape[1]
    body = nn.Sequential(first, layer, nn.Flatten(), nn.Tanh(), nn.Linear(width, classes))
    return shaken(body.double())


def shaken(model: nn.Module, seed: int = 0, by: float = 0.2) -> nn.Module:
    """Move every parameter and running statistic, so that no gradient is zero by initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value += torch.randn(value.shape, generator=generator, dtype=value.dtype)
            elif name.endswith("running_var"):
                value += torch.rand(value.shape, generator=generator, dtype=value.dtype) - 0.5
    return model


def ids(n: int, t: int, vocabulary: int, *, labels: int = 3, seed: int = 0) -> TensorDataset:
    """n sentences of t token ids with one label each."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(vocabulary, (n, t), generator=generator)
    return TensorDataset(words, torch.randint(labels, (n,), generator=generator))


def snapshot(model: nn.Module) -> Any:
    """All that a sweep must leave as it was: modes, flags, hooks, gradients, parameters and buffers, to the bit."""
    hooks = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()
    ]
    parameters = [(id(p), p.requires_grad, p.grad is None) for p in model.parameters()]
    values = {name: copy.deepcopy(value).tolist() for name, value in model.state_dict().items()}
    return [m.training for m in model.modules()], hooks, parameters, values
