"""How well are planted label errors found, on several datasets, noise kinds and training regimes?

    python benchmarks/detection.py [--fashion FOLDER_WITH_IDX_FILES] [--adult adult.data]

One row a cell, printed as a Markdown table: AUROC of suspicion, its parts, the plain signals, gradient norms and a
random order; calibration error (ECE, ten bins) of suspicion, the errors it expects beside the real number, and what
it flags. Digits (scikit-learn) need no file. Validation labels are clean, training labels carry the noise; a model is
trained on them for few epochs (early) or many (memorised). No cell was left out of the choice of methods.
"""

import argparse
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import influence_core as ic
from influence_core.analysis import evidence_layers
from influence_core.data import samples_from_arrays
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.tables import CUT, sample_table
from influence_core.training import Recipe, predict, train

SHOWN = (
    "suspicion",
    "suspicion_probe",
    "suspicion_neighbours",
    "loss",
    "margin",
    "el2n",
    "grad_norm",
    "outlier_forest",
)


@dataclass(frozen=True)
class Data:
    """Inputs (n, ...) in [0, 1] or standardised, labels (n,), the first `n_train` rows for training."""

    name: str
    inputs: np.ndarray
    labels: np.ndarray
    n_train: int


def digits() -> Data:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pictures = (found.images / 16.0)[order].repeat(3, 1).repeat(3, 2)[:, None]
    return Data("digits", pictures.astype(np.float32), found.target[order].astype(np.int64), 1400)


def fashion(folder: Path) -> Data:
    packed = (folder / f"train-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
    contents = [gzip.decompress(path.read_bytes()) for path in packed]
    pictures, labels = (
        np.frombuffer(contents[0], np.uint8, offset=16),
        np.frombuffer(contents[1], np.uint8, offset=8),
    )
    order = np.random.default_rng(0).permutation(len(labels))[:5000]
    return Data(
        "fashion",
        (pictures.reshape(-1, 1, 28, 28)[order] / 255).astype(np.float32),
        labels[order].astype(np.int64),
        4000,
    )


def adult(file: Path) -> Data:
    names = (
        "age work weight school years married job relation race sex gain loss hours country income".split()
    )
    table = pd.read_csv(file, names=names, skipinitialspace=True).sample(6000, random_state=0)
    labels = (table.pop("income") == ">50K").to_numpy(np.int64)
    numbers = ["age", "years", "gain", "loss", "hours"]
    wide = pd.get_dummies(
        table.drop(columns="weight"), columns=[n for n in table if n not in (*numbers, "weight")]
    )
    wide = wide.astype(float)
    wide[numbers] = (wide[numbers] - wide[numbers].mean()) / wide[numbers].std()
    return Data("adult", wide.to_numpy(np.float32), labels, 5000)


def fresh(data: Data, seed: int) -> OpenedModel:
    classes = int(data.labels.max()) + 1
    picture = data.inputs.ndim == 4
    size = (data.inputs.shape[2], data.inputs.shape[3]) if picture else None
    channels = data.inputs.shape[1]
    torch.manual_seed(seed)
    network = build_network("small_cnn" if picture else "mlp", classes=classes, channels=channels, size=size)
    preprocessing = Preprocessing(channels=channels, size=size, mean=(0.0,), std=(1.0,))
    names = [str(c) for c in range(classes)]
    return OpenedModel(network, classes=names, preprocessing=preprocessing, architecture="benchmark")


def noisy(data: Data, kind: str, rate: float) -> np.ndarray:
    """Training labels with planted errors: uniform, or to a class that a model confuses with this one."""
    rng, classes = np.random.default_rng(7), int(data.labels.max()) + 1
    labels = data.labels[: data.n_train].copy()
    chosen = rng.permutation(data.n_train)[: int(rate * data.n_train)]
    confusion = np.ones((classes, classes)) if kind == "uniform" else _confusion(data, classes)
    for row in chosen:
        odds = confusion[labels[row]].copy()
        odds[labels[row]] = 0
        labels[row] = rng.choice(classes, p=odds / odds.sum())
    return labels


def _confusion(data: Data, classes: int) -> np.ndarray:
    half = data.n_train // 2
    model = fresh(data, seed=1)
    train(
        model,
        samples_from_arrays(data.inputs[:half], data.labels[:half], classes=model.classes),
        Recipe(epochs=4),
    )
    rest = samples_from_arrays(
        data.inputs[half : data.n_train], data.labels[half : data.n_train], classes=model.classes
    )
    shares = torch.softmax(predict(model, rest), 1).numpy()
    labels = data.labels[half : data.n_train]
    return np.stack([shares[labels == c].mean(0) + 1e-4 for c in range(classes)])


def calibration_error(stated: np.ndarray, wrong: np.ndarray) -> float:
    bins = np.minimum((stated * 10).astype(int), 9)
    gaps = [
        abs(stated[bins == b].mean() - wrong[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)
    ]
    return float(sum(gaps))


def cell(data: Data, kind: str, rate: float, epochs: int) -> dict[str, object]:
    given, n = noisy(data, kind, rate), data.n_train
    model = fresh(data, seed=2)
    trained = samples_from_arrays(data.inputs[:n], given, classes=model.classes)
    held_out = samples_from_arrays(data.inputs[n:], data.labels[n:], classes=model.classes, split="val")
    train(model, trained, Recipe(epochs=epochs))
    layers = evidence_layers(model)
    direction = ic.objective_gradient(model, held_out)
    swept = ic.sweep(model, trained, directions=[direction], features=layers)
    found = sample_table(
        swept,
        ic.sweep(model, held_out, features=layers, sketch=0),
        ids=trained.ids,
        labels=given,
        held_out_labels=data.labels[n:],
        classes=model.classes,
        objectives=["utility"],
        groups=None,
        seed=0,
        on_progress=lambda stage, done, total: None,
    ).table.set_index("sample_id")
    wrong = pd.Series(given != data.labels[:n], index=found.index)
    stated = found["suspicion"].to_numpy()
    row: dict[str, object] = {
        "cell": f"{data.name}, {kind} {rate:.0%}, {epochs} epochs",
        "train accuracy": f"{(swept.logits.argmax(1).numpy() == given).mean():.2f}",
    }
    if wrong.any():
        quality = ic.detection_table(found, wrong)["auroc"]
        row |= {name: f"{quality[name]:.3f}" for name in (*SHOWN, "influence_utility", "random")}
    return row | {
        "ECE": f"{calibration_error(stated, wrong.to_numpy()):.3f}",
        "expected / real errors": f"{stated.sum():.0f} / {int(wrong.sum())}",
        "flagged": f"{(stated >= CUT).mean():.1%}",
    }


def cells(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    plans = [(digits(), ((("uniform", 0.1, 8)), ("confusable", 0.2, 60), ("uniform", 0.0, 8)))]
    if arguments.fashion:
        plans.append(
            (
                fashion(arguments.fashion),
                (("uniform", 0.2, 8), ("confusable", 0.2, 8), ("confusable", 0.2, 40), ("uniform", 0.0, 8)),
            )
        )
    if arguments.adult:
        plans.append((adult(arguments.adult), (("uniform", 0.1, 6), ("uniform", 0.1, 80))))
    for data, settings in plans:
        for kind, rate, epochs in settings:
            yield cell(data, kind, rate, epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Detection of planted label errors")
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--adult", type=Path)
    columns = [
        "cell",
        "train accuracy",
        *SHOWN,
        "influence_utility",
        "random",
        "ECE",
        "expected / real errors",
        "flagged",
    ]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in cells(parser.parse_args()):
        print("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |", flush=True)


if __name__ == "__main__":
    main()
