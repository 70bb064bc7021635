"""Comparison of ensembles at equal cost: checkpoints, seeds, dropout masks and weight noise.

    python -m benchmarks.fidelity.ensembles [--fashion FOLDER] [--subsets 40] [--members 5]

Digits or Fashion-MNIST, 400 samples, one hidden layer. Every ensemble costs as many sweeps as it has members; its
trainings are counted in a column. LDS (lds.py): influence on the loss of 20 test samples against trainings on
half-subsets, clean labels. Detection: AUROC for 20 % flipped labels of minus influence on validation loss, of
self-influence and of loss.

Members made here from the weights of one model, w_k = 1/K:
    masks   a random share p ~ U(0, most) of the weights set to zero: Yang et al., TMLR 2026 (arXiv 2405.17490), with
            masks on weights, so that all samples meet the same member
    noise   plus N(0, (deviation * standard deviation of the tensor)^2)
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Subset, TensorDataset

from benchmarks.fidelity.lds import half_subsets, lds, measured, with_interval
from benchmarks.small_pictures import digits, fashion, flipped
from influence_core.scores.influence.ensembles import Member, Weights, checkpoints, ensemble_influence, seeds

N, TARGETS, EPOCHS, BATCH, RATE = 400, 20, 15, 40, 0.1


@dataclass(frozen=True)
class Training:
    """A finished model, its weights after every epoch, and the learning rates then."""

    model: nn.Module
    saved: list[dict[str, Tensor]]
    rates: list[float]


def trained(inputs: Tensor, labels: Tensor, seed: int) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.5)
    steps = max(1, len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, EPOCHS * steps)
    rng, saved, rates = np.random.default_rng(seed), [], []
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(labels)), steps):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
        saved.append({name: value.detach().clone() for name, value in model.state_dict().items()})
        rates.append(float(schedule.get_last_lr()[0]))
    return Training(model, saved, rates)


def masks(count: int, *, most: float = 0.01, seed: int = 0) -> list[Member]:
    """Members that each lack a random share p ~ U(0, most) of the weights; the rest is scaled by 1 / (1 - p)."""

    def masked(generator: torch.Generator, value: Tensor) -> Tensor:
        share = most * float(torch.rand((), generator=generator))
        kept = torch.rand(value.shape, generator=generator) >= share
        return value * kept.to(value) / (1 - share)

    return _changed(count, seed, masked)


def noise(count: int, *, deviation: float = 0.01, seed: int = 0) -> list[Member]:
    """Members with Gaussian noise on the weights: `deviation` times the standard deviation of each tensor."""

    def moved(generator: torch.Generator, value: Tensor) -> Tensor:
        spread = value.std() if value.numel() > 1 else value.abs().mean()
        return value + deviation * spread * torch.randn(value.shape, generator=generator).to(value)

    return _changed(count, seed, moved)


def _changed(count: int, seed: int, change: Callable[[torch.Generator, Tensor], Tensor]) -> list[Member]:
    """Members made from the model's weights, each with its own generator: more members leave the others unchanged."""

    def weights(model: nn.Module, number: int) -> Weights:
        generator = torch.Generator().manual_seed(1_000_003 * seed + number)
        return {name: change(generator, value.detach()) for name, value in model.named_parameters()}

    return [Member(lambda model, own=number: weights(model, own), 1 / count) for number in range(count)]


def kinds(inputs: Tensor, labels: Tensor, base: Training, count: int) -> dict[str, tuple[list[Member], int]]:
    """Ensembles by name: their members and the number of trainings they need."""
    others = [trained(inputs, labels, 100 + seed).model for seed in range(count - 1)]
    at = np.linspace(0, EPOCHS - 1, count).round().astype(int)
    return {
        "last weights": (seeds([base.model]), 1),
        f"{count} checkpoints": (checkpoints([base.saved[k] for k in at], [base.rates[k] for k in at]), 1),
        f"{count} seeds": (seeds([base.model, *others]), count),
        f"{count} masks, p up to 0.01": (masks(count), 1),
        f"{count} masks, p up to 0.3": (masks(count, most=0.3), 1),
        f"{count} noise, 0.01": (noise(count), 1),
        f"{count} noise, 0.3": (noise(count, deviation=0.3), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Ensembles at equal cost")
    parser.add_argument("--subsets", type=int, default=40)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--fashion", type=Path)
    arguments = parser.parse_args()
    found = fashion(arguments.fashion, n=1000) if arguments.fashion else digits()
    inputs, clean = found.train[0][:N], found.train[1][:N]
    test = found.test[0][:TARGETS], found.test[1][:TARGETS]
    subsets = half_subsets(N, arguments.subsets)

    def losses_without(rows: np.ndarray, seed: int) -> np.ndarray:
        model = trained(inputs[rows], clean[rows], seed).model
        with torch.no_grad():
            return functional.cross_entropy(model(test[0]), test[1], reduction="none").numpy()

    outputs = measured(subsets, losses_without, repeats=2)
    noisy = flipped(clean, 0.2, 0)
    wrong = (noisy != clean).numpy()
    targets = [("utility", Subset(TensorDataset(*test), [k])) for k in range(TARGETS)]
    held_out = [("utility", TensorDataset(*found.validation))]
    print("| ensemble | sweeps | trainings | LDS | influence AUROC | self-influence AUROC | loss AUROC |")
    print("|---|---|---|---|---|---|---|")
    rows = [_random_row(subsets, outputs, wrong)]
    both = [kinds(inputs, labels, trained(inputs, labels, 7), arguments.members) for labels in (clean, noisy)]
    base = trained(inputs, clean, 7).model
    for name in both[0]:
        (members, trainings), (of_noisy, _) = both[0][name], both[1][name]
        shared = trained(inputs, noisy, 7).model
        fidelity = ensemble_influence(base, TensorDataset(inputs, clean), targets, members)
        value, low, high = with_interval(lds(fidelity.products.numpy(), subsets, outputs))
        caught = ensemble_influence(shared, TensorDataset(inputs, noisy), held_out, of_noisy)
        areas = [
            roc_auc_score(wrong, s) for s in (-caught.products[:, 0], caught.self_influence, caught.losses)
        ]
        shown = " | ".join(f"{area:.3f}" for area in areas)
        rows.append(
            f"| {name} | {len(members)} | {trainings} | {value:.3f} [{low:.3f}, {high:.3f}] | {shown} |"
        )
        print(rows[-1], flush=True)
    print(rows[0])


def _random_row(subsets: np.ndarray, outputs: np.ndarray, wrong: np.ndarray) -> str:
    rng = np.random.default_rng(0)
    value, low, high = with_interval(lds(rng.normal(size=(N, TARGETS)), subsets, outputs))
    area = roc_auc_score(wrong, rng.random(N))
    return f"| random scores | 0 | 0 | {value:.3f} [{low:.3f}, {high:.3f}] | {area:.3f} | {area:.3f} | {area:.3f} |"


if __name__ == "__main__":
    main()
