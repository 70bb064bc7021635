"""Planted truth: training pictures that teach a feature nobody sees. Robustness influence must find them, utility not.

Every picture has a broad shape, whose strength varies so much that it tells the class only 9 times in 10. Validation
and test pictures also carry a fine pattern of 3 % of the pixel range that always tells the class; among the training
pictures 15 % carry it, and no shape. They raise clean accuracy and make the model fragile: an attack of 6 % turns the
pattern round. No robust model uses it.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import influence_core as ic
from influence_core.analysis.robustness_curve import robustness
from influence_core.data import Samples, samples_from_arrays
from influence_core.models import build_network
from influence_core.training.train import Recipe, train

SIDE, ATTACK = 10, 0.06
SHAPE, FINE = 0.12, 0.03


def drawn(n: int, seed: int, *, planted: float | None) -> tuple[Samples, np.ndarray]:
    """n pictures of two classes, and which of them are planted; None: all carry both features."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    shape, fine = np.where(x < SIDE // 2, 1.0, -1.0), np.where((x + y) % 2 == 0, 1.0, -1.0)
    labels = rng.integers(0, 2, n)
    sign = 2 * labels - 1
    fragile = rng.random(n) < (planted or 0)
    strength = np.where(fragile, 0, SHAPE) * sign + rng.normal(0, 0.1, n)
    carries = fragile if planted is not None else np.ones(n, bool)
    pixels = 0.5 + rng.normal(0, 0.06, (n, SIDE, SIDE)) + strength[:, None, None] * shape
    pixels += (carries * FINE * sign)[:, None, None] * fine
    encoded = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
    return samples_from_arrays(encoded, labels, classes=("a", "b")), fragile


def trained(samples: Samples, seed: int) -> ic.OpenedModel:
    torch.manual_seed(seed)
    model = ic.OpenedModel(
        build_network("mlp", classes=2, channels=1, size=(SIDE, SIDE)),
        classes=("a", "b"),
        preprocessing=ic.Preprocessing(1, (SIDE, SIDE), (0.5,), (0.25,)),
        architecture="mlp",
    )
    train(model, samples, Recipe(epochs=20, seed=seed, learning_rate=1e-3))
    return model.eval()


def influences(
    model: ic.OpenedModel, samples: Samples, val: Samples
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """On utility and on robustness, and each sample's loss, (n,) each."""
    names = ("utility", f"robustness:pgd:{ATTACK}")
    directions = [ic.objective_gradient(model, val, name) for name in names]
    swept = ic.sweep(model, samples, directions=directions, sketch=0)
    return swept.products[:, 0].numpy(), swept.products[:, 1].numpy(), swept.losses.numpy()


def test_robustness_influence_ranks_fragile_samples_above_utility_influence():
    samples, fragile = drawn(600, 0, planted=0.15)
    model = trained(samples, 0)
    utility, robust, losses = influences(model, samples, drawn(300, 100, planted=None)[0])
    found = {
        name: roc_auc_score(fragile, score)
        for name, score in (("utility", -utility), ("robustness", -robust), ("loss", losses))
    }
    assert found["robustness"] >= 0.8, found
    assert found["robustness"] > found["utility"] + 0.2, (
        f"they HELP clean accuracy, so utility must not name them: {found}"
    )
    assert found["robustness"] > found["loss"] + 0.2, found


@pytest.mark.slow
def test_removing_what_robustness_influence_names_makes_the_retrained_model_robust_to_fresh_attacks():
    """Each retrained model is attacked anew, on the test split; control: random, of the same size and class mix."""
    gains: dict[str, list[float]] = {"robustness": [], "utility": [], "random": []}
    for seed in range(5):
        samples, fragile = drawn(600, seed, planted=0.15)
        test, labels = drawn(400, seed + 200, planted=None)[0], samples.labels
        base = trained(samples, seed)
        utility, robust, _ = influences(base, samples, drawn(300, seed + 100, planted=None)[0])
        k, rng = int(fragile.sum()), np.random.default_rng(seed)
        worst = np.argsort(robust)[:k]
        same_mix = [
            rng.choice(np.flatnonzero(labels == c), int((labels[worst] == c).sum()), False) for c in (0, 1)
        ]
        removed = {
            "robustness": worst,
            "utility": np.argsort(utility)[:k],
            "random": np.concatenate(same_mix),
        }
        before = accuracy_under_attack(base, test)
        for name, rows in removed.items():
            kept = samples.select(np.setdiff1d(np.arange(len(samples)), rows))
            gains[name].append(accuracy_under_attack(trained(kept, seed), test) - before)
    means = {name: float(np.mean(values)) for name, values in gains.items()}
    assert min(gains["robustness"]) > 0.2, gains
    assert means["robustness"] > means["random"] + 0.2 and means["robustness"] > means["utility"] + 0.2, means


def accuracy_under_attack(model: ic.OpenedModel, samples: Samples) -> float:
    facts, _ = robustness(model, samples, strengths=(ATTACK,))
    return facts["attacks"]["pgd"][0]["value"]
