"""Fidelity of influence to retraining: linear datamodeling score, and trim-and-retrain curves with controls.

    python -m benchmarks.fidelity.fidelity lds  >= 50 random half-subsets; single, ensembles, TRAK, kronfluence
    python -m benchmarks.fidelity.fidelity trim  2.5 to 40 % removed by each score, random of the same class mix

Data: scikit-learn's digits (8 x 8 pictures), 20 % of the training labels wrong for `trim`; an mlp of 26,000
parameters, so that hundreds of trainings take minutes. LDS (Park et al., ICML 2023): for each test sample the rank
correlation, over subsets, of sum_{i in S} tau_i with the measured loss of a model trained on S (mean over seeds, sign
reversed so that 1 is perfect). Reported: the mean over test samples with a bootstrap interval over them. Every score is
computed on models trained on ALL samples, never on the models of the subsets. Null: random scores.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.datasets import load_digits

from benchmarks.fidelity.peers import PEERS
from influence_core.data import Samples, samples_from_arrays
from influence_core.engine import per_sample_gradients
from influence_core.engine.losses import loss_by_name
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.training.recipe import Recipe, starting_model
from influence_core.training.train import accuracy, predict, train

RECIPE = Recipe(epochs=15, batch_size=32, learning_rate=4e-3, weight_decay=1e-2)
TRAIN, TEST, MEMBERS = 500, 100, 5
SHARES = (0.025, 0.05, 0.1, 0.2, 0.4)
PROJECTED, RIDGE = 512, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("lds", "trim"))
    parser.add_argument("--subsets", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    lds(chosen.subsets, chosen.seeds) if chosen.what == "lds" else trim(chosen.seeds)
    print(f"{time.perf_counter() - began:.0f} s, torch {torch.__version__}, one thread")


def digits(noise: float) -> tuple[Samples, Samples, Samples, np.ndarray]:
    """Training samples with a share of wrong labels, validation, test, and which training labels are wrong."""
    bunch = load_digits()
    generator = np.random.default_rng(0)
    order = generator.permutation(len(bunch.target))
    images = (bunch.images * 15).clip(0, 255).astype(np.uint8)[order]
    right = bunch.target[order]
    given = right.copy()
    wrong = generator.random(len(right)) < noise
    wrong[TRAIN:] = False
    given[wrong] = (right[wrong] + generator.integers(1, 10, wrong.sum())) % 10
    ends = (0, TRAIN, TRAIN + 400, len(right))
    names = tuple("0123456789")
    parts = [samples_from_arrays(images[a:b], given[a:b], classes=names) for a, b in pairwise(ends)]
    return parts[0], parts[1], parts[2], wrong[:TRAIN]


def trained(
    samples: Samples, seed: int, weights: np.ndarray | None = None, on_epoch: Callable | None = None
) -> OpenedModel:
    network = build_network("mlp", classes=10, channels=1, size=(8, 8))
    plain = Preprocessing(channels=1, size=(8, 8), mean=(0.3,), std=(0.35,))
    base = OpenedModel(network, classes=samples.classes, preprocessing=plain, architecture="mlp")
    recipe = replace(RECIPE, seed=seed)
    model = starting_model(base, recipe)
    train(
        model, samples, recipe, weights=weights, on_epoch=on_epoch and (lambda epoch: on_epoch(model, epoch))
    )  # type: ignore[arg-type]
    return model.eval()  # type: ignore[return-value]


def losses(model: OpenedModel, samples: Samples) -> np.ndarray:
    given = predict(model, samples).numpy()[np.arange(len(samples)), samples.labels]
    return -np.log(np.maximum(given, 1e-12))


# ------------------------------------------------------------------------------------------------ scores (n, m)


def gradients(model: OpenedModel, samples: Samples) -> torch.Tensor:
    """(n, p) flat gradients of each sample's own loss."""
    rows = per_sample_gradients(model, samples.resized(1, (8, 8)), loss_by_name("cross_entropy"))
    return torch.cat([part.flatten(1) for part in rows.values()], dim=1)


def inner(model: OpenedModel, train_: Samples, test: Samples) -> np.ndarray:
    return (gradients(model, train_) @ gradients(model, test).T).numpy()


def dropped(model: OpenedModel, seed: int) -> OpenedModel:
    """A member of the dropout ensemble of the paper: every weight is kept with probability 1 - p, p ~ U(0, 0.01)."""
    from copy import deepcopy

    member, generator = deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in member.parameters():
            rate = 0.01 * torch.rand(1, generator=generator).item()
            value.mul_((torch.rand(value.shape, generator=generator) >= rate) / (1 - rate))
    return member


def trak(models: list[OpenedModel], train_: Samples, test: Samples) -> np.ndarray:
    """TRAK, implemented here: projected gradients of the margin, whitened, times (1 - p of the label).

    tau = mean_k [phi_train (Phi^T Phi + ridge)^-1 phi_test] * mean_k (1 - p): two means over members, as in the paper.
    """
    kernel, residual = 0.0, 0.0
    for seed, model in enumerate(models):
        generator = torch.Generator().manual_seed(seed)
        both, gone = [], []
        for part in (train_, test):
            p = torch.from_numpy(np.exp(-losses(model, part)))
            flat = gradients(model, part) / (p - 1).clamp(max=-1e-6)[:, None]  # d margin = d loss / (p - 1)
            both.append(flat.float())
            gone.append(1 - p)
        sketch = torch.randn(both[0].shape[1], PROJECTED, generator=generator) / PROJECTED**0.5
        first, second = (flat @ sketch for flat in both)
        whitened = torch.linalg.solve(first.T @ first + RIDGE * torch.eye(PROJECTED), second.T)
        kernel = kernel + (first @ whitened) / len(models)
        residual = residual + gone[0][:, None] / len(models)
    return (kernel * residual).numpy()  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ LDS


def lds(subsets: int, seeds: int) -> None:
    train_, _, rest, _ = digits(0.1)
    test = rest.select(np.arange(TEST))
    generator = np.random.default_rng(1)
    masks = np.stack([generator.permutation(TRAIN) < TRAIN // 2 for _ in range(subsets)])
    measured = np.stack(
        [
            np.mean(
                [losses(trained(train_, 100 + s, mask.astype(np.float32)), test) for s in range(seeds)],
                axis=0,
            )
            for mask in masks
        ]
    )
    checkpoints: list[np.ndarray] = []

    def keep(model: OpenedModel, epoch) -> None:
        if epoch.number % (RECIPE.epochs // MEMBERS) == 0:
            checkpoints.append(epoch.learning_rate * inner(model.eval(), train_, test))
            model.train()

    first = trained(train_, 0, on_epoch=keep)
    members = [first] + [trained(train_, seed) for seed in range(1, MEMBERS)]
    scores = {
        "random scores (null)": generator.normal(size=(TRAIN, TEST)),
        "inner product, one model": inner(first, train_, test),
        f"inner product, {MEMBERS} checkpoints": np.sum(checkpoints, axis=0),
        f"inner product, {MEMBERS} dropout masks": np.mean(
            [inner(dropped(first, s), train_, test) for s in range(MEMBERS)], axis=0
        ),
        f"inner product, {MEMBERS} seeds": np.mean([inner(m, train_, test) for m in members], axis=0),
        "TRAK formula, one model": trak(members[:1], train_, test),
        f"TRAK formula, {MEMBERS} seeds": trak(members, train_, test),
    }
    print(f"digits, {TRAIN} samples, mlp, {subsets} half-subsets x {seeds} seeds, {TEST} test samples\n")
    print("| score | LDS | 95 % |\n|---|---|---|")
    for name, tau in scores.items():
        value, low, high = mean_rank_correlation(masks @ tau, -measured)
        print(f"| {name} | {value:.3f} | [{low:.3f}, {high:.3f}] |")
    for name, (package, score) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"| {name}, the package | not measured | not installed |")
            continue
        for words, part in (("one model", members[:1]), (f"{MEMBERS} seeds", members)):
            value, low, high = mean_rank_correlation(masks @ score(part, train_, test), -measured)
            print(f"| {name}, the package, {words} | {value:.3f} | [{low:.3f}, {high:.3f}] |", flush=True)


def mean_rank_correlation(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float, float]:
    """Spearman over subsets for each test sample (subsets, m); mean with a bootstrap interval over samples."""
    ranks = [rankdata(table, axis=0) for table in (predicted, measured)]
    centred = [(table - table.mean(0)) / np.maximum(table.std(0), 1e-12) for table in ranks]
    each = (centred[0] * centred[1]).mean(axis=0)
    generator = np.random.default_rng(0)
    drawn = [each[generator.integers(len(each), size=len(each))].mean() for _ in range(1000)]
    return float(each.mean()), *map(float, np.quantile(drawn, [0.025, 0.975]))


# ------------------------------------------------------------------------------------------------ trim


def trim(seeds: int) -> None:
    train_, val, test, wrong = digits(0.2)
    model = trained(train_, 0)
    tau = inner(model, train_, val).mean(axis=1)
    norm = gradients(model, train_).norm(dim=1).numpy()
    orders = {
        "true errors first (oracle)": np.argsort(~wrong, kind="stable"),
        "loss": np.argsort(-losses(model, train_), kind="stable"),
        "gradient norm": np.argsort(-norm, kind="stable"),
        "hurts validation loss most": np.argsort(tau, kind="stable"),
        "helps validation loss most": np.argsort(-tau, kind="stable"),
    }
    base = np.array([accuracy(trained(train_, s), test) for s in range(seeds)])
    print(
        f"digits, {TRAIN} samples, 20 % wrong labels, mlp, {seeds} paired seeds; accuracy without trimming "
        f"{base.mean():.3f}"
    )
    print(
        "Change of test accuracy in points (standard error over seeds); random: same size and given-label mix\n"
    )
    print(
        "| removed first | "
        + " | ".join(f"{100 * s:g} %" for s in SHARES)
        + " |\n|---" * 1
        + "|---" * len(SHARES)
        + "|"
    )
    for name, order in orders.items():
        cells = []
        for share in SHARES:
            gone = order[: round(share * TRAIN)]
            cells.append((change(train_, test, gone, base), change(train_, test, None, base, like=gone)))
        print(
            f"| {name} | " + " | ".join(f"{ours} (random {control})" for ours, control in cells) + " |",
            flush=True,
        )


def change(
    train_: Samples, test: Samples, gone: np.ndarray | None, base: np.ndarray, like: np.ndarray | None = None
) -> str:
    effects = []
    for seed, before in enumerate(base):
        removed = gone if gone is not None else same_mix(train_.labels, like, seed)
        weights = np.ones(TRAIN, np.float32)
        weights[removed] = 0
        effects.append(accuracy(trained(train_, seed, weights), test) - before)
    error = np.std(effects, ddof=1) / len(effects) ** 0.5 if len(effects) > 1 else float("nan")
    return f"{100 * np.mean(effects):+.1f} ± {100 * error:.1f}"


def same_mix(labels: np.ndarray, like: np.ndarray | None, seed: int) -> np.ndarray:
    assert like is not None
    generator = np.random.default_rng((seed, 5))
    parts = [
        generator.choice(np.flatnonzero(labels == label), (labels[like] == label).sum(), replace=False)
        for label in np.unique(labels[like])
    ]
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
