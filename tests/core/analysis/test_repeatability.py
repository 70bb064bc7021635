"""A score that moves with its companions is caught, one that moves by rounding is told apart, and both are said."""

import dataclasses

import pytest
import torch
from torch import nn

import influence_core as ic
from influence_core.analysis import repeatability as module
from influence_core.analysis.repeatability import repeatability
from influence_core.engine.kernels import loops
from tests.making.oracles import random_directions
from tests.making.tiny import tiny_net, tiny_samples

KNOWN = {"loss": "cross_entropy", "seed": 0}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine must not decide whether float64 is cheap."""
    monkeypatch.setattr(module, "CHEAP", 1e9)


def checked(network: nn.Module, n: int = 90, precision: str = "float32", change=lambda swept: swept):
    data, directions = tiny_samples(n), random_directions(network, 2)
    swept = ic.sweep(network, data, directions=directions, precision=precision)
    return repeatability(network, data, change(swept), directions=directions, precision=precision, **KNOWN)


def test_what_repeats_agrees_also_in_float64():
    found = checked(tiny_net())
    assert found["state"] == "agreed" and found["samples"] == 64 and found["largest_difference"] <= 1e-4
    double = found["float64"]
    assert double["state"] == "checked" and double["samples"] == 16
    assert double["largest_difference"] < 1e-4 and double["rank_agreement"] > 0.99
    assert "In float64, 16 of them" in found["sentence"] and "agreed" in found["sentence"]


def test_few_samples_are_all_checked():
    assert checked(tiny_net(), n=3)["samples"] == 3
    assert checked(tiny_net(), n=1)["float64"]["rank_agreement"] == 1.0


def test_a_run_in_float64_is_checked_in_float64():
    found = checked(tiny_net(), precision="float64")
    assert found["state"] == "agreed" and found["largest_difference"] < 1e-9
    assert "not needed" in found["float64"]["state"]


@pytest.mark.parametrize("broken", [float("nan"), 5.0])
def test_a_wrong_number_of_the_run_is_caught(broken):
    def change(swept):
        return dataclasses.replace(swept, grad_norms=swept.grad_norms.clone().fill_(broken))

    found = checked(tiny_net(), change=change)
    assert found["state"] != "agreed", "a NaN must not pass as agreement"


def test_rounding_is_told_from_mixing(monkeypatch):
    """With a tolerance that float32 cannot hold, float64 must clear the model, and the sentence say why."""
    monkeypatch.setitem(module.WITHIN, "float32", -1.0)
    found = checked(tiny_net())
    assert found["state"] == "rounding" and found["float64"]["repeats"]
    assert "kink of a ReLU" in found["sentence"] and "samples do not mix" in found["sentence"]


def test_what_differs_in_float64_too_is_not_excused(monkeypatch):
    monkeypatch.setitem(module.WITHIN, "float32", -1.0)
    monkeypatch.setitem(module.WITHIN, "float64", -1.0)
    found = checked(tiny_net())
    assert found["state"] == "differed" and "do not trust single scores" in found["sentence"]


def test_what_would_take_long_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(module, "CHEAP", 0.0)
    found = checked(tiny_net())
    assert found["float64"]["state"].startswith("not checked: it would take about")
    assert found["state"] == "agreed"


def test_the_check_in_float64_compiles_nothing(monkeypatch):
    """A first analysis must not wait 15 s until the loops are compiled for 16 samples in float64."""
    compiled = loops.loop

    def only_float32(dtype, name):
        assert dtype != torch.float64, f"the check compiled the loop {name}"
        return compiled(dtype, name)

    monkeypatch.setattr(loops, "loop", only_float32)
    layers = [nn.Conv2d(2, 2, 3, groups=2), nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 3)]
    assert checked(nn.Sequential(*layers))["float64"]["state"] == "checked"
