"""The sweep leaves nothing behind, trusts nothing it should not, and says what is wrong in a sentence."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import influence_core as ic
from influence_core.engine import shards
from influence_core.errors import DataError, InfluenceError, LayerError
from tests.making.oracles import dataset, random_directions
from tests.making.tiny import tiny_net, tiny_samples


def net() -> nn.Sequential:
    return tiny_net(activation=partial(nn.ReLU, inplace=True))


def state(model: nn.Module) -> tuple:
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    return [m.training for m in model.modules()], flags, hooks, [p.grad for p in model.parameters()]


def test_a_model_handed_over_in_training_mode_comes_back_as_it_was():
    model = net().train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    before, statistics = state(model), model[1].running_mean.clone()
    ic.sweep(model, tiny_samples())
    ic.objective_gradient(model, tiny_samples())
    assert state(model) == before
    assert torch.equal(model[1].running_mean, statistics), "scoring must not move running statistics"


def test_also_after_an_error():
    model = net().train()
    before = state(model)
    with pytest.raises(InfluenceError, match="one loss a sample"):
        ic.sweep(
            model, tiny_samples(), loss=lambda outputs, labels: nn.functional.cross_entropy(outputs, labels)
        )
    assert state(model) == before


def test_a_loss_of_ones_own_and_regression():
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    data = TensorDataset(torch.randn(5, 4), torch.randn(5))
    by_name = ic.sweep(model, data, loss="squared_error")
    own = ic.sweep(model, data, loss=lambda outputs, labels: (outputs[:, 0] - labels) ** 2)
    assert torch.allclose(by_name.grad_norms, own.grad_norms)
    assert torch.allclose(by_name.losses, own.losses)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(directions=[{"nope": torch.zeros(1)}]), "'nope'"),
        (dict(directions=[{"4.bias": torch.zeros(7)}]), r"\(7,\).*\(3,\)"),
        (dict(loss="hinge"), "cross_entropy"),
        (dict(precision="float16"), "'float16'.*bfloat16"),
    ],
)
def test_what_does_not_fit_is_named(change, says):
    with pytest.raises(InfluenceError, match=says):
        ic.sweep(net(), tiny_samples(), **change)


def test_models_without_per_sample_gradients_are_refused_by_layer():
    torch.manual_seed(0)
    mixing = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    with pytest.raises(LayerError, match="'1' normalises with the statistics of the batch"):
        ic.sweep(mixing, dataset(4, n=4, classes=2, dtype=torch.float32))
    frozen = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(LayerError, match="no trainable parameter"):
        ic.sweep(frozen, dataset(4, n=4, classes=2, dtype=torch.float32))


def test_an_input_overwritten_after_its_layer_is_refused_not_misread():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = torch.tanh(self.first(x)).detach()
            out = self.second(h)
            h.add_(1)
            return self.head(out + h)

    with pytest.raises(LayerError, match=r"'second' \(linear\) was overwritten in place"):
        ic.sweep(Overwrites(), dataset(4, n=4, classes=2, dtype=torch.float32))


def test_nan_weights_and_unsized_or_odd_datasets_are_sentences():
    model = net()
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    with pytest.raises(InfluenceError, match="NaN or infinite"):
        ic.sweep(model, tiny_samples())

    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(DataError, match="IterableDataset"):
        ic.sweep(net(), Stream())
    with pytest.raises(DataError, match="expected a pair"):
        ic.sweep(net(), [torch.zeros(2, 6, 6)])
    uneven = [(torch.zeros(2, 6, 6), 0), (torch.zeros(2, 7, 7), 0)]
    with pytest.raises(DataError, match="do not stack"):
        ic.sweep(net(), uneven)


def test_shards_continue_a_pass_and_doubtful_ones_are_computed_again(tmp_path):
    model, data = net(), tiny_samples(40)
    directions = random_directions(model, 1)

    def swept(**changes):
        options = {
            "directions": directions,
            "batch_size": 16,
            "shards": tmp_path,
            "fingerprint": "a",
        } | changes
        seen = []
        found = ic.sweep(model, data, on_progress=lambda stage, done, total: seen.append(done), **options)
        return found, seen

    whole, _ = swept(shards=None)
    first, _ = swept()
    again, seen = swept()
    assert seen == [40], "a finished pass must be read, not computed"
    assert torch.equal(first.products, whole.products) and torch.equal(again.products, whole.products)

    file = next(tmp_path.glob("*.safetensors"))
    original = file.read_bytes()
    for damage in (original[:-20], original[:-1] + bytes([original[-1] ^ 1]), b""):
        file.write_bytes(damage)
        assert torch.equal(swept()[0].products, whole.products), "a damaged shard was trusted"
    for change in ({"fingerprint": "b"}, {"seed": 1}, {"directions": random_directions(model, 1, seed=9)}):
        assert len(swept(**change)[1]) > 1, f"shards of another pass were used for {change}"
    with torch.no_grad():
        model[4].bias += 1
    assert len(swept()[1]) > 1, "shards of other weights were used"


def scaled_loss(by: float, wrap=lambda function: function):
    def loss(outputs, labels):
        return by * wrap(nn.functional.cross_entropy)(outputs, labels, reduction="none")

    return loss


def documented_loss(text: str):
    scope: dict = {}
    exec(f"def loss(outputs, labels):\n    {text!r}\n    return (outputs ** 2).sum(1)", scope)
    return scope["loss"]


def key(loss, model: nn.Module | None = None) -> str:
    torch.manual_seed(0)
    return shards.key_of(model or nn.Linear(2, 2), (), loss, (), "a")


def test_shards_of_another_loss_or_another_forward_are_not_used():
    """The likely bug: losses of one source differ in a value they close over; the rows of one serve the other."""
    assert key(scaled_loss(1.0)) == key(scaled_loss(1.0)), "the same loss is computed again after every stop"
    assert key(scaled_loss(1.0)) != key(scaled_loss(2.0)), "a value that the loss closes over"
    assert key(scaled_loss(1.0)) != key(scaled_loss(1.0, lambda f: lambda *a, **k: -f(*a, **k))), (
        "an inner function"
    )
    smooth = [partial(nn.functional.cross_entropy, reduction="none", label_smoothing=by) for by in (0.0, 0.1)]
    assert key(smooth[0]) != key(smooth[1]), "an argument of functools.partial"
    modules = [nn.CrossEntropyLoss(reduction="none", label_smoothing=by) for by in (0.0, 0.1, 0.1)]
    assert key(modules[0]) != key(modules[1]) == key(modules[2]), "a setting of a loss that is a module"
    assert key(documented_loss("one")) == key(documented_loss("two")), "a reworded docstring costs a pass"

    class Net(nn.Linear):
        def forward(self, x):
            return super().forward(x)

    once = Net(2, 2)
    before = key("x", once)
    assert before == key("x", once)
    Net.forward = lambda self, x: 2 * nn.Linear.forward(self, x)
    assert key("x", once) != before, "the model's code changed, its weights and its names did not"


def test_features_of_a_module_that_is_never_called_are_refused_by_name():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0].mean(1))

    samples = TensorDataset(torch.randn(3, 5, 4), torch.arange(3))
    assert ic.sweep(Attention(), samples, features=["head"]).features["head"].shape == (3, 4)
    with pytest.raises(LayerError, match=r"never called attention\.out_proj.*Expected modules that"):
        ic.sweep(Attention(), samples, features=["head", "attention.out_proj"])


def test_what_is_kept_of_a_sample_is_small():
    """What a sweep keeps of one sample is a few hundred numbers, never a gradient."""
    model = nn.Linear(2000, 3)
    found = ic.sweep(model, dataset(2000, n=32, classes=3, dtype=torch.float32), sketch=16)
    kept = sum(
        t.numel() for t in (found.losses, found.logits, found.grad_norms, found.sketches, found.products)
    )
    assert kept / 32 < 30 < sum(p.numel() for p in model.parameters())


SCALE = 1.0


def helper(outputs):
    return SCALE * outputs


def helped_loss(outputs, labels):
    return helper(outputs).sum(1)


class Base(nn.Module):
    def scaled(self, x):
        return x

    def forward(self, x, labels=None):
        return self.scaled(x).sum(1)


class Derived(Base):
    pass


@pytest.mark.parametrize(
    "what, name, value",
    [
        ("a constant that the loss reads", "SCALE", 2.0),
        ("a helper that the loss calls", "helper", lambda outputs: -outputs),
        ("a method that the model's or the loss's forward calls", "Base.scaled", lambda self, x: -x),
    ],
)
def test_shards_of_other_helpers_are_not_used(what, name, value, monkeypatch):
    """The likely bug: only the function that is handed over is read, not what it calls."""
    before = [key(helped_loss), key(Derived()), key("x", Derived())]
    assert before == [key(helped_loss), key(Derived()), key("x", Derived())], (
        "the same pass is computed again"
    )
    monkeypatch.setattr(f"{__name__}.{name}", value)
    changed = [
        old != new
        for old, new in zip(before, [key(helped_loss), key(Derived()), key("x", Derived())], strict=True)
    ]
    assert changed == ([False, True, True] if name == "Base.scaled" else [True, False, False]), what


class Own:
    weight = torch.tensor([1.0, 2.0])

    def loss(self, outputs, labels):
        return (outputs * self.weight).sum(1)


def losses_that_hold() -> dict[str, Any]:
    """Losses of the same numbers in every process, by what makes them hard to recognise again."""
    weight, known = torch.tensor([1.0, 2.0]), {"plain", "weighted", "smooth"}
    own = Own()
    own.weight = weight.clone()
    return {
        "a tensor": lambda outputs, labels: (outputs * weight).sum(1),
        "a tensor in a module": nn.CrossEntropyLoss(weight=weight, reduction="none"),
        "a tensor in an argument": partial(nn.functional.cross_entropy, weight=weight, reduction="none"),
        "a set": lambda outputs, labels: outputs.sum(1) * ("plain" in known),
        "a set that is a constant": lambda outputs, labels: (
            outputs.sum(1) * (labels in {"plain", "weighted"})
        ),
        "a function inside": lambda outputs, labels: (lambda z: z)(outputs).sum(1),
        "a function in an argument": partial(lambda f, outputs, labels: f(outputs).sum(1), lambda z: z),
        "a method": own.loss,
    }


def test_a_loss_is_recognised_in_another_process():
    """The likely bugs: addresses, the order of sets and what torch pickles differ from process to process."""
    ours = {name: key(loss) for name, loss in losses_that_hold().items()}
    code = (
        f"from {__name__} import *\n"
        "print(json.dumps({name: key(loss) for name, loss in losses_that_hold().items()}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(answer.stdout)
    assert [name for name in ours if ours[name] != theirs[name]] == [], "computed again after every stop"
    assert len(set(ours.values())) == len(ours), "different losses have one key"


def test_another_body_of_a_method_is_another_loss(monkeypatch):
    before = key(Own().loss)
    monkeypatch.setattr(Own, "loss", lambda self, outputs, labels: -outputs.sum(1))
    assert key(Own().loss) != before


def test_a_loss_that_cannot_be_read_is_computed_again():
    iterator, lock = iter(DataLoader(TensorDataset(torch.zeros(2)))), threading.Lock()
    for loss in (
        lambda outputs, labels: next(iterator) * outputs,
        lambda outputs, labels: outputs * lock.locked(),
    ):
        assert key(loss) != key(loss)


def test_a_loss_that_closes_over_something_not_yet_there_has_a_key():
    def loss(outputs, labels):
        return later(outputs)

    assert key(loss) == key(loss)
    later = helper
    assert later is helper


class Asked(TorchDispatchMode):
    """Counts how often a number leaves its tensor: on a GPU each time is a wait."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.times += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_more_batches_ask_the_device_for_no_more_numbers():
    """One `.item()` or `if tensor` in the loop would make a GPU wait for Python in every batch."""
    times = []
    for n in (4, 12):
        with Asked() as asked:
            ic.sweep(net(), tiny_samples(n), directions=random_directions(net(), 2), sketch=8, batch_size=2)
        times.append(asked.times)
    assert times[0] == times[1], f"2 batches asked {times[0]} times, 6 batches {times[1]}"
