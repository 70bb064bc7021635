"""Laws of device independence: what a batch needs is made where the model lies, and nothing waits for its numbers.

Torch's `meta` device stands for any other: a tensor there has a shape and no numbers, so asking for one (item, bool,
cpu, nonzero) raises, as it would make CUDA wait; and what is made on the CPU meanwhile is caught by its device.
"""

import importlib

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset

from influence_core.engine import batches as loop
from influence_core.engine.losses import loss_by_name
from influence_core.engine.one_batch import one_batch
from influence_core.engine.study import study_model
from influence_core.engine.watching.nested import tensors_in
from influence_core.engine.watching.watch import scoring
from influence_core.errors import InfluenceError

sweeping = importlib.import_module("influence_core.engine.sweep")


class Elsewhere(TorchDispatchMode):
    """Raises when an operation makes a tensor on the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [value for value in tensors_in(out) if value.device.type == "cpu"]
        assert not made, (
            f"{func} made a tensor of shape {tuple(made[0].shape)} on the CPU: device= is missing"
        )
        return out


class Words(nn.Module):
    """Embedding, positions as a raw parameter, attention, normalisation, tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(9, 8), nn.Parameter(torch.randn(5, 8))
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0]) * self.scale
        return (x @ self.words.weight.T).mean(1)


def pictures() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 3, stride=2),
        nn.ConvTranspose2d(4, 4, 2), nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip


CASES = {
    "pictures": (pictures, torch.randn(6, 3, 12, 12)),
    "words": (Words, torch.randint(9, (6, 5))),
}


def prepared(name, loss="cross_entropy"):
    """A model on the meta device, six samples, and the plan of a sweep with two directions and a sketch."""
    build, inputs = CASES[name]
    torch.manual_seed(0)
    model = build().eval()
    model(inputs[:2])  # lazy layers
    samples = TensorDataset(inputs, torch.randint(5, (6,)))
    study = study_model(model, samples, loss_by_name("cross_entropy"))
    assert not study.alone, "a pass for each sample would hide the path of the batch"
    model = model.to("meta")
    directions = [{path: value.detach() for path, value in model.named_parameters()}] * 2
    return model, samples, sweeping._planned(model, study, directions, 16, loss_by_name(loss), 0, ())


def scored(name, loss="cross_entropy"):
    model, samples, plan = prepared(name, loss)
    (batch,) = loop.batches(samples, 6, like=model)
    with scoring(model), Elsewhere():
        return one_batch(model, batch, plan)


@pytest.mark.parametrize("name", CASES)
def test_a_batch_makes_no_tensor_on_the_cpu_and_asks_for_no_number(name):
    found = scored(name)
    assert {value.device.type for value in found.values()} == {"meta"}
    assert found["products"].shape == (6, 2) and found["sketches"].shape == (6, 16)


@pytest.mark.parametrize("name", CASES)
def test_the_loop_over_batches_hands_on_what_it_found_without_fetching_it(name):
    model, samples, plan = prepared(name)
    with scoring(model):
        parts = list(sweeping._swept(model, samples, plan, 2, 0, 6, None, 6))
    assert len(parts) == 3 and parts[0]["square"].device.type == "meta", (
        "fetched batch by batch: a wait in each"
    )


def on_the_cpu(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none") + torch.zeros(len(labels))


def asked(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, reduction="none") * outputs.sum().item()


def decided(outputs: Tensor, labels: Tensor) -> Tensor:
    losses = functional.cross_entropy(outputs, labels, reduction="none")
    return losses if losses.sum() > 0 else losses * 2


@pytest.mark.parametrize("culprit", [on_the_cpu, asked, decided])
def test_these_laws_notice_a_missing_device_and_a_hidden_wait(culprit):
    with pytest.raises(
        (AssertionError, RuntimeError, InfluenceError), match=r"device= is missing|meta tensor"
    ):
        scored("pictures", culprit)
