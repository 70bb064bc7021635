"""Cells of the detection benchmark: data x noise x network x regime, each trained once and kept on disk.

The name and the seed of a cell decide everything else, so a cell in the cache folder need not be trained again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.detection.data import MADE, Data, adult, fashion
from benchmarks.detection.networks import belief, fresh, learned
from benchmarks.detection.noise import KINDS, plant
from benchmarks.detection.tables import TABLES, table_settings
from benchmarks.detection.unseen import unseen_settings
from benchmarks.detection.unseen_pictures import PICTURES as UNSEEN_PICTURES
from benchmarks.detection.unseen_tables import TABLES as UNSEEN_TABLES
from influence_core.data import samples_from_arrays
from influence_core.models import OpenedModel

TRAIN, HELD_OUT = 800, 200
REGIMES = ("early", "converged", "memorised")
NETWORKS = ("small_cnn", "resnet18", "vit_tiny")
UNSEEN = UNSEEN_PICTURES | UNSEEN_TABLES
PICTURES = ("digits", "fashion", "photos", "textures", "shapes", "fields", "pairs")


@dataclass(frozen=True)
class Cell:
    """The settings of a cell. validation: "clean", "noisy" (as the training labels, uniformly) or "none"."""

    data: str
    noise: str
    rate: float
    network: str
    regime: str
    validation: str
    seed: int

    @property
    def name(self) -> str:
        what = f"{self.data}, {self.noise} {self.rate:.0%}, {self.network}, {self.regime}"
        return f"{what}, {self.validation} validation, seed {self.seed}"


@dataclass(frozen=True)
class Trained:
    """Everything that a method may read, and `wrong`, which only the evaluation may read."""

    cell: Cell
    model: OpenedModel
    inputs: np.ndarray
    given: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray
    aum: np.ndarray
    wrong: np.ndarray
    truth: np.ndarray


def cells(seed: int = 0) -> Iterator[Cell]:
    """Every noise with every network in every regime once, on pictures in turn; then Adult; then clean labels."""
    rates, checks = (0.2, 0.1, 0.3, 0.15), ("clean", "none", "noisy")
    grid = list(product(KINDS, NETWORKS, REGIMES))
    order = np.random.default_rng(11).permutation(len(grid))
    for place, index in enumerate(order):
        noise, network, regime = grid[index]
        data, rate, check = PICTURES[place % 7], rates[place % 4], checks[(place // 7 + place) % 3]
        yield Cell(data, noise, rate, network, regime, check, seed + place % 2)
        if place % 10 == 9:
            kind, regime = KINDS[place // 10], REGIMES[place // 10 % 3]
            yield Cell("adult", kind, 0.2, "mlp", regime, checks[(place // 10 + place // 30) % 3], seed)
        if place % 7 == 6:
            turn = place // 7
            clean = PICTURES[turn % 7], "uniform", 0.0, NETWORKS[(turn + 1) % 3]
            yield Cell(*clean, REGIMES[turn % 3], checks[turn // 3], seed + 2)


def table_cells() -> Iterator[Cell]:
    """Small tables, clean and with errors."""
    return (Cell(*settings) for settings in table_settings())


def unseen_cells() -> Iterator[Cell]:
    """Pictures, tables and networks that played no part in any choice about suspicion."""
    return (Cell(*settings) for settings in unseen_settings())


def is_kept(cell: Cell, cache: Path) -> bool:
    return _stem(cell, cache).with_suffix(".pt").exists()


def _stem(cell: Cell, cache: Path) -> Path:
    return cache / hashlib.sha256(repr(cell).encode()).hexdigest()[:16]


def data_of(name: str, sources: dict[str, Path]) -> Data:
    count = TRAIN + HELD_OUT
    if name == "fashion":
        return fashion(count, sources["fashion"])
    if name == "adult":
        return adult(count, sources["adult"])
    if name in UNSEEN:
        return UNSEEN[name](sources["unseen"])
    return (MADE | TABLES)[name](count)


def opened(cell: Cell, cache: Path, sources: dict[str, Path]) -> Trained:
    """Open a cell from the cache folder, or train it and store it there."""
    stem = _stem(cell, cache)
    arrays, weights = stem.with_suffix(".npz"), stem.with_suffix(".pt")
    if not weights.exists():
        made = _made(cell, sources)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(arrays, **_arrays(made))
        torch.save(made.model.network.state_dict(), weights)
        return made
    with np.load(arrays) as found:
        kept = dict(found)
    model = fresh(cell.network, kept["inputs"], int(kept["classes"]), seed=cell.seed)
    model.network.load_state_dict(torch.load(weights, weights_only=True))
    return Trained(cell, model, **{name: kept[name] for name in ARRAYS})


ARRAYS = ("inputs", "given", "held_out", "held_out_labels", "aum", "wrong", "truth")


def _arrays(made: Trained) -> dict[str, np.ndarray]:
    return {name: getattr(made, name) for name in ARRAYS} | {"classes": np.array(len(made.model.classes))}


def _made(cell: Cell, sources: dict[str, Path]) -> Trained:
    data = data_of(cell.data, sources)
    n = len(data.labels) * TRAIN // (TRAIN + HELD_OUT)
    need = cell.noise in ("confusable", "asymmetric", "instance-dependent")
    sure = (
        belief(data.inputs[:n], data.labels[:n], data.classes)
        if need
        else np.ones((n, data.classes)) / data.classes
    )
    planted = plant(data, n, cell.noise, cell.rate, sure, seed=100 + cell.seed)
    inputs = planted.inputs.astype(np.float32)
    model = fresh(cell.network, inputs, data.classes, seed=cell.seed)
    samples = samples_from_arrays(inputs, planted.given, classes=model.classes)
    aum = learned(model, samples, cell.network, cell.regime)
    model.eval()
    truth = np.where(planted.wrong & (cell.noise == "out-of-class"), -1, data.labels[:n])
    return Trained(
        cell,
        model,
        inputs,
        planted.given,
        data.inputs[n:].astype(np.float32),
        _held_out_labels(cell, data, n),
        aum,
        planted.wrong,
        truth,
    )


def _held_out_labels(cell: Cell, data: Data, n: int) -> np.ndarray:
    labels = data.labels[n:].copy()
    if cell.validation == "noisy":
        rng = np.random.default_rng(200 + cell.seed)
        rows = rng.choice(len(labels), int(cell.rate * len(labels)), replace=False)
        labels[rows] = (labels[rows] + rng.integers(1, data.classes, len(rows))) % data.classes
    return labels
