"""Make this folder from the four IDX files of Fashion-MNIST: `python make_fashion.py FOLDER_WITH_THE_FILES`.

    fashion.parquet      6,000 pictures in three splits; one training label in ten is wrong
    truth.csv            the right label of every training sample: for judging, never for analysis
    model.safetensors    small_cnn trained on the faulty labels; model.json says what it expects

Everything is seeded. The tables come out byte for byte the same with the same versions of torch, Pillow and
PyArrow; the weights on the same machine with the training/train.py of version 0.1.0, which rounded in another order.
"""

import argparse
import gzip
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from influence_core.data import Dataset, Samples, open_dataset, samples_from_arrays
from influence_core.models import OpenedModel, Preprocessing, build_network, save_model
from influence_core.training.train import Recipe, accuracy, predict, train

SEED = 20260101
CLASSES = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
PER_CLASS = {"train": 400, "val": 100, "test": 100}
OTHERS = 16_000  # pictures outside the sample, from which the confusions are learned
FAULT_SHARE = 0.10
CONFUSED_SHARE = 2 / 3
PREPROCESSING = Preprocessing(channels=1, size=(28, 28), mean=(0.286,), std=(0.353,))
RECIPE = Recipe(batch_size=64, learning_rate=2e-3, weight_decay=1e-2, seed=SEED)
EPOCHS_TRIED = (4, 6, 8, 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", type=Path, help="folder with train-images-idx3-ubyte.gz and its three siblings"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: beside this script")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the number of threads changes the last bits of the weights
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_tables(arguments.source, arguments.out)
    dataset = open_dataset(arguments.out / "fashion.parquet")
    model, epochs = train_shipped(dataset)
    save_model(model, arguments.out / "model.safetensors")
    report(dataset, model, epochs, pd.read_csv(arguments.out / "truth.csv"))


def write_tables(source: Path, out: Path) -> None:
    """Draw the sample, plant the faults, write fashion.parquet and truth.csv."""
    images, labels = read_idx(source)
    generator = np.random.default_rng(SEED)
    splits, others = draw(labels, generator)
    rows = np.concatenate(list(splits.values()))
    split = [name for name, members in splits.items() for _ in members]
    ids = [f"{name}/{number:05d}.png" for name, members in splits.items() for number in range(len(members))]
    given = labels[rows].copy()
    n = len(splits["train"])
    probabilities = learn_confusions(images[others], labels[others], images[rows[:n]])
    given[:n] = plant(labels[rows[:n]], probabilities, generator)
    write_parquet(out / "fashion.parquet", images[rows], ids, given, split)
    truth = pd.DataFrame({"sample_id": ids[:n], "label": [CLASSES[label] for label in labels[rows[:n]]]})
    truth.to_csv(out / "truth.csv", index=False, lineterminator="\n")


def read_idx(source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all 70,000 pictures (n, 28, 28) uint8 and labels (n,), training files first."""
    images, labels = [], []
    for name in ("train", "t10k"):
        raw = gzip.decompress((source / f"{name}-images-idx3-ubyte.gz").read_bytes())
        images.append(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28))
        raw = gzip.decompress((source / f"{name}-labels-idx1-ubyte.gz").read_bytes())
        labels.append(np.frombuffer(raw, np.uint8, offset=8))
    return np.concatenate(images), np.concatenate(labels)


def draw(labels: np.ndarray, generator: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw each split with equally many pictures per class, in shuffled order, and others beside them."""
    members = [generator.permutation(np.flatnonzero(labels == label)) for label in range(len(CLASSES))]
    splits, start = {}, 0
    for name, count in PER_CLASS.items():
        chosen = np.concatenate([rows[start : start + count] for rows in members])
        splits[name] = generator.permutation(chosen)
        start += count
    rest = np.concatenate([rows[start:] for rows in members])
    return splits, generator.choice(rest, size=OTHERS, replace=False)


def learn_confusions(images: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return what a model trained on other, clean pictures thinks of the asked ones, (n, classes)."""
    others = samples_from_arrays(images, labels, classes=CLASSES)
    model = fresh_model(CLASSES)
    train(model, others, replace(RECIPE, epochs=3, batch_size=128))
    unknown = samples_from_arrays(asked, np.zeros(len(asked), dtype=int), classes=CLASSES)
    return predict(model, unknown).numpy()


def plant(labels: np.ndarray, probabilities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Make FAULT_SHARE of the labels wrong: most as a model confuses the very picture, the rest at random."""
    faulty = generator.permutation(len(labels))[: round(FAULT_SHARE * len(labels))]
    confused, random = np.split(faulty, [round(CONFUSED_SHARE * len(faulty))])
    given = labels.copy()
    wrong = probabilities.copy()
    wrong[np.arange(len(labels)), labels] = -1  # the most likely class that is not the right one
    given[confused] = wrong[confused].argmax(1)
    given[random] = (labels[random] + generator.integers(1, len(CLASSES), size=len(random))) % len(CLASSES)
    return given


def write_parquet(
    path: Path, images: np.ndarray, ids: list[str], labels: np.ndarray, split: list[str]
) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": png(image), "path": sample} for image, sample in zip(images, ids, strict=True)],
                picture,
            ),
            "label": pa.array([CLASSES[label] for label in labels]),
            "split": pa.array(split),
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=1000)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def fresh_model(classes: tuple[str, ...]) -> OpenedModel:
    torch.manual_seed(SEED)
    network = build_network("small_cnn", classes=len(classes), channels=1, size=(28, 28))
    return OpenedModel(network, classes=classes, preprocessing=PREPROCESSING, architecture="small_cnn")


def train_shipped(dataset: Dataset) -> tuple[OpenedModel, int]:
    """Train on the labels as given; the number of epochs is the one with the best validation accuracy."""
    tried = {epochs: trained(dataset.train, epochs) for epochs in EPOCHS_TRIED}
    scores = {epochs: accuracy(model, dataset.val) for epochs, model in tried.items()}
    print("validation accuracy by number of epochs:", scores)
    best = max(scores, key=lambda epochs: scores[epochs])
    return tried[best], best


def trained(samples: Samples, epochs: int) -> OpenedModel:
    model = fresh_model(samples.classes)
    train(model, samples, replace(RECIPE, epochs=epochs))
    return model


def report(dataset: Dataset, model: OpenedModel, epochs: int, truth: pd.DataFrame) -> None:
    """Print the numbers of the README: the shipped model beside one trained on the right labels."""
    right = np.array([dataset.classes.index(label) for label in truth["label"]])
    clean = dataset.train.relabelled(right)
    print(f"{(right != dataset.train.labels).sum()} of {len(right)} training labels are wrong")
    for name, each in (("shipped", model), ("clean labels", trained(clean, epochs))):
        scores = {
            split.split: accuracy(each, split) for split in (dataset.val, dataset.test) if split is not None
        }
        print(f"{name}: {epochs} epochs, accuracy {scores}, on training labels as given", end=" ")
        print(f"{accuracy(each, dataset.train):.4f}, on the right ones {accuracy(each, clean):.4f}")


if __name__ == "__main__":
    main()
