"""Small data with planted faults, its model and its run, retrained in a second; and the first pictures of the demo."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

import influence_core as ic
from influence_core.models import OpenedModel, Preprocessing, build_network, save_model
from influence_core.runs.run import Run
from influence_core.training.recipe import Recipe
from influence_core.training.train import train
from tests.making.maps import NoMap

FASHION = Path(__file__).resolve().parents[2] / "sample_data" / "fashion"
FEATURES = 6
RECIPE = Recipe(epochs=4, batch_size=32, learning_rate=1e-2, weight_decay=1e-2)


def make_run(root: Path, *, n: int = 150, faults: float = 0.2, seed: int = 0, truth: bool = True) -> Run:
    """Three overlapping clouds; a share of the training labels is wrong; analysed with an mlp."""
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    parts, right = {}, {}
    for split, size in (("train", n), ("val", 90), ("test", 200)):
        labels = np.arange(size) % 3
        inputs = generator.normal(0, 1, (size, FEATURES)).astype(np.float32)
        inputs[np.arange(size), labels] += 2
        wrong = generator.random(size) < (faults if split == "train" else 0)
        right[split] = labels
        parts |= {f"x_{split}": inputs, f"y_{split}": np.where(wrong, (labels + 1) % 3, labels)}
    data = root / "data"
    data.mkdir()
    np.savez(data / "clouds.npz", **parts)
    dataset = ic.open_dataset(data)
    if truth:
        table = pd.DataFrame({"sample_id": dataset.train.ids, "label": right["train"].astype(str)})
        table.to_csv(data / "truth.csv", index=False)
    model = fresh(dataset.classes)
    train(model, dataset.train, RECIPE)
    save_model(model, data / "model.safetensors")
    opened = ic.open_model(data / "model.safetensors")
    options = {"source": dataset, "out": root / "runs" / "clouds", "drawing": NoMap()}
    return ic.analyze(opened, dataset.train, dataset.val, test=dataset.test, **options)


def fresh(classes: tuple[str, ...]) -> OpenedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network("mlp", classes=len(classes), channels=FEATURES, size=None)
    plain = Preprocessing(channels=FEATURES, size=None, mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES)
    return OpenedModel(network, classes=classes, preprocessing=plain, architecture="mlp")


def fewer_pictures(folder: Path, *, train: int = 1600, held_out: int = 200) -> Path:
    """The first pictures of each split of the demo, with its model: several shards, in a third of the time."""
    folder.mkdir(parents=True)
    pictures = pq.read_table(FASHION / "fashion.parquet")
    splits = np.array(pictures.column("split").to_pylist())
    rows = [
        np.flatnonzero(splits == s)[: train if s == "train" else held_out] for s in ("train", "val", "test")
    ]
    pq.write_table(pictures.take(np.concatenate(rows)), folder / "fashion.parquet")
    for name in ("model.json", "model.safetensors"):
        shutil.copy(FASHION / name, folder)
    return folder
