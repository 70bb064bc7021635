"""A small run of a real model on real files: all of an analysis but the map; its model can be opened again."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import influence_core as ic
from influence_core.models import build_network, save_model
from influence_core.runs.run import Run
from tests.making.pictures import encoded, pixels, write_split_folder


class NoMap:
    """Stands for the process that draws the map, which takes ten seconds."""

    def begin(self, folder: Path) -> None:
        self.n = len(np.load(folder / "sketches.npy"))

    def done(self, seconds: float) -> bool:
        return True

    def result(self) -> np.ndarray:
        return np.zeros((self.n, 2), np.float32)

    def close(self) -> None:
        pass


def dataset_of(folder: Path) -> Path:
    """Where the dataset and the weights of such a run lie: beside the run, not listed as one."""
    return folder.parent / f".{folder.name}-data"


def write_weights(root: Path, seed: int = 0) -> None:
    """A small network that was never trained: nothing here asks for a good one."""
    torch.manual_seed(seed)
    network = build_network("small_cnn", classes=2, channels=1, size=(8, 8))
    preprocessing = ic.Preprocessing(1, (8, 8), (0.5,), (0.5,))
    model = ic.OpenedModel(
        network, classes=("bright", "dark"), preprocessing=preprocessing, architecture="small_cnn"
    )
    save_model(model, root / "model.safetensors")


def make_explained_run(
    folder: Path, *, per_class: int = 12, objectives: tuple[str, ...] = ("utility", "robustness")
) -> Run:
    """Analyse per_class pictures of each of two classes in each split, and open the run as a page would.

    Three bright training pictures are labelled dark.
    """
    root = write_split_folder(dataset_of(folder), per_class=per_class)
    for number in (900, 901, 902):
        (root / "train" / "dark" / f"{number}.png").write_bytes(encoded(pixels("bright", number)))
    write_weights(root)
    data, model = ic.open_dataset(root), ic.open_model(root / "model.safetensors")
    drawing: Any = NoMap()
    ic.analyze(
        model,
        data.train,
        data.val,
        test=data.test,
        source=data,
        objectives=objectives,
        out=folder,
        drawing=drawing,
    )
    return ic.open_run(folder)
