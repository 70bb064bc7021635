"""A batch fits, whatever the model; and when memory runs out all the same, halves give the same numbers."""

import importlib

import pytest
import torch
from torch import nn

import influence_core as ic
from influence_core.engine import batch_size
from influence_core.engine.losses import loss_by_name
from influence_core.engine.study import study_model
from tests.making.oracles import dataset

LOSS = loss_by_name("cross_entropy")


def chosen(model: nn.Module, samples) -> int:
    return batch_size.probed_batch_size(model, samples, LOSS, study_model(model, samples, LOSS).layouts)


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 3), nn.Flatten(), nn.LazyLinear(3)
    )


def test_a_larger_sample_gets_a_smaller_batch_within_the_budget(monkeypatch):
    samples = dataset(3, 32, 32, n=4, classes=3, dtype=torch.float32)
    model = network(64)
    model(samples.tensors[0])
    one_sample = 2 * 64 * 32 * 32 * 4  # two maps of 64 channels are kept for the backward pass
    monkeypatch.setattr(batch_size, "BUDGET", 64 * one_sample)
    rows = chosen(model, samples)
    assert 8 <= rows <= 64, (
        f"{rows} samples for a budget of 64 times what one keeps: bytes are counted wrongly"
    )
    monkeypatch.setattr(batch_size, "BUDGET", 1)
    assert chosen(model, samples) == 1, "at least one sample a pass"
    monkeypatch.setattr(batch_size, "BUDGET", 1 << 40)
    assert chosen(model, samples) <= batch_size.LARGEST


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory: you tried")]
)
def test_running_out_of_memory_halves_the_batch_and_changes_nothing(error, monkeypatch):
    engine = importlib.import_module("influence_core.engine.sweep")
    model, samples = nn.Linear(4, 3), dataset(4, n=21, classes=3, dtype=torch.float32)
    whole = ic.sweep(model, samples, batch_size=21)
    once = engine.one_batch

    def scarce(model, batch, plan):
        if len(batch) > 6:
            raise error
        return once(model, batch, plan)

    monkeypatch.setattr(engine, "one_batch", scarce)
    assert torch.allclose(ic.sweep(model, samples, batch_size=21).grad_norms, whole.grad_norms, rtol=1e-6)


def test_another_error_is_not_taken_for_lack_of_memory(monkeypatch):
    engine = importlib.import_module("influence_core.engine.sweep")

    def broken(model, batch, plan):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine, "one_batch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        ic.sweep(nn.Linear(4, 3), dataset(4, n=8, classes=3, dtype=torch.float32))
