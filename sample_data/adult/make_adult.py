"""Make this folder from the two UCI files of Adult: `python make_adult.py FOLDER_WITH_ADULT.DATA_AND_ADULT.TEST`.

    adult.parquet        10,000 people in three splits, as the census has them; no fault is planted
    model.safetensors    mlp trained on them; model.json names the columns and what it expects

Everything is seeded. The table comes out the same with the same versions of pandas and PyArrow, the weights on the same
kind of processor.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from influence_core.data import Dataset, Samples, open_dataset
from influence_core.models import OpenedModel, build_network, save_model, table_preprocessing
from influence_core.training.train import Recipe, accuracy, train

SEED = 20260102
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "label",
)  # fmt: skip
DROPPED = ["fnlwgt", "education-num"]
"""fnlwgt is a sampling weight of the census, education-num the same as education."""
COUNTS = {"train": 6000, "val": 2000, "test": 2000}
RECIPE = Recipe(batch_size=64, learning_rate=1e-3, weight_decay=1e-2, seed=SEED)
EPOCHS_TRIED = (4, 6, 8, 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder with adult.data and adult.test")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="default: beside this script")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the number of threads changes the last bits of the weights
    arguments.out.mkdir(parents=True, exist_ok=True)
    drawn(arguments.source).to_parquet(arguments.out / "adult.parquet", index=False, compression="zstd")
    dataset = open_dataset(arguments.out / "adult.parquet")
    model = train_shipped(dataset)
    save_model(model, arguments.out / "model.safetensors")
    assert dataset.test is not None
    for samples in (dataset.train, dataset.val, dataset.test):
        print(f"{samples.split}: accuracy {accuracy(model, samples):.4f}")


def drawn(source: Path) -> pd.DataFrame:
    """Train and validation rows from the source's training file, test rows from its test file, in drawn order."""
    first, second = read(source / "adult.data", 0), read(source / "adult.test", 1)
    generator = np.random.default_rng(SEED)
    rows = generator.permutation(len(first))[: COUNTS["train"] + COUNTS["val"]]
    split = ["train"] * COUNTS["train"] + ["val"] * COUNTS["val"]
    own = generator.permutation(len(second))[: COUNTS["test"]]
    table = pd.concat([first.iloc[rows], second.iloc[own]], ignore_index=True)
    return table.assign(split=split + ["test"] * COUNTS["test"])


def read(path: Path, skipped: int) -> pd.DataFrame:
    """One UCI file: '?' is a missing value; the test file ends its labels with a full stop."""
    table = pd.read_csv(
        path,
        names=list(COLUMNS),
        skiprows=skipped,
        skipinitialspace=True,
        na_values="?",
        keep_default_na=False,
    )
    return table.assign(label=table["label"].str.rstrip(".")).drop(columns=DROPPED)


def fresh_model(dataset: Dataset) -> OpenedModel:
    assert dataset.encoding is not None
    torch.manual_seed(SEED)
    expects = table_preprocessing(dataset.encoding)
    network = build_network("mlp", classes=len(dataset.classes), channels=expects.channels, size=None)
    return OpenedModel(network, classes=dataset.classes, preprocessing=expects, architecture="mlp")


def train_shipped(dataset: Dataset) -> OpenedModel:
    """The number of epochs is the one with the best validation accuracy."""
    tried = {epochs: trained(dataset, dataset.train, epochs) for epochs in EPOCHS_TRIED}
    scores = {epochs: accuracy(model, dataset.val) for epochs, model in tried.items()}
    print("validation accuracy by number of epochs:", scores)
    return tried[max(scores, key=lambda epochs: scores[epochs])]


def trained(dataset: Dataset, samples: Samples, epochs: int) -> OpenedModel:
    model = fresh_model(dataset)
    train(model, samples, replace(RECIPE, epochs=epochs))
    return model


if __name__ == "__main__":
    main()
