"""Tables that are hard without being wrong: small ones that come with scikit-learn, and classes that overlap.

    python -m benchmarks.detection.run --cells CACHE --tables

The mlp learns each table twice with clean labels and four times with errors. Features are standardised; the only wrong
labels are those of noise.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn import datasets

from benchmarks.detection.data import Data


def table(name: str, inputs: Any, labels: Any, count: int) -> Data:
    """At most `count` rows in a seeded order, standardised, all of a class."""
    order = np.random.default_rng(0).permutation(len(labels))[:count]
    rows = ((inputs - inputs.mean(0)) / (inputs.std(0) + 1e-9)).astype(np.float32)[order]
    return Data(name, rows, np.asarray(labels, np.int64)[order], rows[:0])


def drawn(name: str, **settings: object) -> Callable[[int], Data]:
    """Clusters on a hypercube's corners, no label flipped."""

    def made(count: int) -> Data:
        found: Any = datasets.make_classification(n_samples=count, random_state=7, flip_y=0.0, **settings)  # pyright: ignore
        return table(name, *found, count)

    return made


def kept(name: str, load: Callable[..., Any]) -> Callable[[int], Data]:
    return lambda count: table(name, *load(return_X_y=True), count)


def thirds_of_diabetes(count: int) -> Data:
    """A number cut into three classes, so that rows near a cut cannot be told apart."""
    found: Any = datasets.load_diabetes()
    cuts = np.quantile(found.target, [1 / 3, 2 / 3])
    return table("diabetes", found.data, np.digitize(found.target, cuts), count)


def blobs(count: int) -> Data:
    found: Any = datasets.make_blobs(
        n_samples=count, centers=5, n_features=6, cluster_std=4.0, random_state=3
    )
    return table("blobs", found[0], found[1], count)


TABLES: dict[str, Callable[[int], Data]] = {
    "wine": kept("wine", datasets.load_wine),
    "iris": kept("iris", datasets.load_iris),
    "cancer": kept("cancer", datasets.load_breast_cancer),
    "digits64": kept("digits64", datasets.load_digits),
    "diabetes": thirds_of_diabetes,
    "overlap": drawn("overlap", n_features=12, n_informative=6, n_classes=4, class_sep=0.6),
    "clusters": drawn("clusters", n_features=20, n_informative=10, n_classes=5, class_sep=1.2),
    "imbalanced": drawn(
        "imbalanced",
        n_features=10,
        n_informative=5,
        n_classes=3,
        n_clusters_per_class=1,
        weights=[0.75, 0.18, 0.07],
    ),
    "blobs": blobs,
    "moons": lambda count: table("moons", *datasets.make_moons(count, noise=0.35, random_state=1)[:2], count),
}
NOISES = (
    ("uniform", 0.0),
    ("uniform", 0.0),
    ("uniform", 0.2),
    ("confusable", 0.1),
    ("asymmetric", 0.2),
    ("uniform", 0.05),
)


def table_settings() -> Iterator[tuple[str, str, float, str, str, str, int]]:
    """The fields of a Cell for every table and noise, regimes and validation labels in turn."""
    regimes, checks = ("early", "converged", "memorised"), ("clean", "none", "noisy")
    for place, (name, (noise, rate)) in enumerate((n, kind) for n in TABLES for kind in NOISES):
        seed = place % 2 + (0 if rate else 5)
        yield name, noise, rate, "mlp", regimes[place % 3], checks[(place // 3 + place) % 3], seed
