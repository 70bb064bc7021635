"""A small run of a real model on real files: its model can be opened again."""

from pathlib import Path

import influence_core as ic
from influence_core.models import save_model
from influence_core.runs.run import Run
from tests.making.maps import MapHere
from tests.making.pictures import encoded, pixels, write_split_folder
from tests.making.untrained import untrained


def dataset_of(folder: Path) -> Path:
    """Where the dataset and the weights of such a run lie: beside the run, not listed as one."""
    return folder.parent / f".{folder.name}-data"


def write_weights(root: Path, seed: int = 0) -> None:
    """A small network that was never trained: nothing here asks for a good one."""
    save_model(untrained(seed=seed), root / "model.safetensors")


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
    ic.analyze(
        model,
        data.train,
        data.val,
        test=data.test,
        source=data,
        objectives=objectives,
        out=folder,
        drawing=MapHere(),
    )
    return ic.open_run(folder)
