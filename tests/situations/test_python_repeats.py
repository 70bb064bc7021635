"""Data and models that draw random numbers are told from samples that depend on each other; float64 stays float64."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset

import influence_core as ic
from influence_core.errors import DataError, LayerError
from tests.making.maps import NoMap
from tests.making.oracles import flat_gradients, random_directions
from tests.making.refusals import assert_refused
from tests.making.sweep_laws import Made

N = 60
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
DRAWS = {
    "torch": lambda: float(torch.rand(())),
    "random": random.random,
    "numpy": np.random.random,
    "own generator": np.random.default_rng(0).random,
}


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


class Jittered(Dataset):
    """Reads of some samples are moved by chance, as by a random transform; `n` rows, over and over the same 60."""

    def __init__(self, odds: float = 0.0, draw=DRAWS["torch"], moved=range(N), n: int = N) -> None:
        self.odds, self.draw, self.moved, self.n = odds, draw, moved, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int):
        jitter = self.odds > 0 and self.draw() < self.odds and row in self.moved
        return X[row % N] + (2.0 if jitter else 0.0), int(Y[row % N])


FIXED = Jittered()


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("odds", [0.5, 0.2, 0.1, 0.05])
def test_a_random_transform_is_found_at_low_odds(odds, draw):
    """40 seeds at each odds: none may pass, and none may be taken for dependence between samples."""
    model, silent = net(), 0
    for seed in range(40):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            ic.sweep(model, Jittered(odds, DRAWS[draw]), sketch=0)
            silent += 1
        except DataError as error:
            assert "differs when it is read twice" in str(error)
    assert silent == 0, f"at odds {odds} {silent} of 40 random datasets were scored as if they were fixed"


def test_an_analysis_compares_every_read_of_every_sample(tmp_path):
    """One sample of 60 is random: it is found because the pass for the fingerprint is each sample's first read."""
    data = Jittered(0.5, np.random.default_rng(3).random, moved=[41])
    with assert_refused(DataError, "Sample 41 differs", "random transform"):
        ic.analyze(net(), data, FIXED, out=tmp_path / "run", drawing=NoMap())


def test_how_many_samples_were_compared_is_stated(monkeypatch):
    assert ic.sweep(net(), Jittered(n=1000), sketch=0).compared == 1000, (
        "cheap reads, and yet not all are compared"
    )
    assert ic.sweep(net(), [FIXED[row] for row in range(N)], sketch=0).compared == N
    monkeypatch.setattr("influence_core.engine.repeats.SECONDS", 0.0)
    few = ic.sweep(net(), Jittered(n=1000), sketch=0).compared
    assert 3 <= few < 10, (
        f"{few} of 1,000 count as compared, but reading is too slow here for more than a handful"
    )


def test_the_random_transform_is_named():
    data = Jittered(0.5)
    data.transform = "Compose(RandomHorizontalFlip(p=0.5), ToTensor())"
    with assert_refused(DataError, "RandomHorizontalFlip", "dataset.transform"):
        ic.sweep(net(), data)
    with assert_refused(DataError, "Sample 40", "RandomHorizontalFlip"):
        ic.sweep(net(), Subset(data, range(40, 60)))


def dropped(self, x, p=0.1):
    return self.head(functional.dropout(self.body(x).relu(), p))


def one_unit_dropped(self, x):
    return self.head(self.body(x).relu() * (torch.rand(len(x), 1) > 0.1))


def whole_layer_dropped(self, x):
    return self.head(self.body(x).relu() if float(torch.rand(())) > 0.1 else self.body(x))


def noise_of_its_own(self, x):
    return self.head(self.body(x) * (1 + 0.1 * torch.randn(16, generator=self.generator)))


def made(work) -> nn.Module:
    torch.manual_seed(1)
    model = Made(work, body=nn.Linear(6, 16), head=nn.Linear(16, 3)).eval()
    model.generator = torch.Generator().manual_seed(0)
    return model


DOORS = {
    "sweep": lambda model: ic.sweep(model, FIXED, sketch=0),
    "directional": lambda model: ic.directional(model, FIXED, random_directions(model, 1)[0]),
    "objective_gradient": lambda model: ic.objective_gradient(model, FIXED),
    "layer_aware_influence": lambda model: ic.layer_aware_influence(model, FIXED, FIXED),
}


@pytest.mark.parametrize("work", [dropped, one_unit_dropped, whole_layer_dropped])
@pytest.mark.parametrize("door", DOORS)
def test_dropout_that_ignores_eval_is_not_taken_for_dependence(door, work):
    for seed in range(10):
        torch.manual_seed(seed)
        with assert_refused(LayerError, "the same batch is run twice", "self.training"):
            DOORS[door](made(work))


def test_a_generator_of_the_model_s_own_is_noticed():
    model = made(noise_of_its_own)
    model.generator = torch.Generator().manual_seed(0)
    with assert_refused(LayerError, "the same batch is run twice"):
        ic.sweep(model, FIXED)


def test_dropout_called_as_a_function_is_named():
    with assert_refused(LayerError, "by dropout", "nn.Dropout"):
        ic.sweep(made(dropped), FIXED)


def test_random_numbers_without_effect_are_no_reason_to_refuse():
    """Layers that draw whether to skip themselves, also in evaluation mode, and then do not."""

    def draws(self, x):
        torch.rand(())
        return self.head(self.body(x).relu())

    def calm(self, x):
        return self.head(self.body(x).relu())

    assert torch.equal(ic.sweep(made(draws), FIXED).grad_norms, ic.sweep(made(calm), FIXED).grad_norms)


def test_dependence_between_samples_is_still_called_so():
    def mixing(self, x):
        x = self.body(x).relu()
        return self.head(x - x.mean(0))

    with assert_refused(LayerError, "depends on the other samples of its batch"):
        ic.sweep(made(mixing), FIXED)


def test_a_float64_model_is_scored_in_float64(tmp_path):
    model = net().double()
    swept = ic.sweep(model, FIXED, sketch=0)
    assert swept.grad_norms.dtype == torch.float64, "a float64 model was scored in float32 without a word"
    assert torch.allclose(swept.grad_norms, flat_gradients(model, FIXED).norm(dim=1), rtol=1e-9)
    assert ic.sweep(model, FIXED, sketch=0, precision="float32").grad_norms.dtype == torch.float32, (
        "asked for"
    )
    run = ic.analyze(model, FIXED, FIXED, out=tmp_path / "run", drawing=NoMap())
    assert run.description["settings"]["precision"] == "float64"


def test_a_loader_is_read_in_the_order_of_its_dataset():
    straight = ic.sweep(net(), FIXED, sketch=0).grad_norms
    for loader in (
        DataLoader(FIXED, 8),
        DataLoader(FIXED, 8, shuffle=True),
        DataLoader(FIXED, 7, drop_last=True),
    ):
        assert torch.equal(ic.sweep(net(), loader, sketch=0).grad_norms, straight)
