"""Cost of the evidence of suspicion, in training passes of the model.

    OMP_NUM_THREADS=1 python -m benchmarks.cost.suspicion [DATASET] [--architecture resnet18 --size 32] [--train N]

DATASET is a folder with pictures and, without --architecture, a model.safetensors; the demo by default. Processor time
in one thread, which other work disturbs less. A training pass (forward and backward, weights unchanged) is measured
before and after everything else, so that a slow spell affects both. Weights do not change the cost: another
architecture is left untrained. Printed as Markdown, one row a part:
    inputs      features of the inputs themselves (scores/suspicion/input_view.py)
    evidence    all readers of all views, near-copies, and their combination into suspicion
    baselines   scores that suspicion does not need: forest, KNN-Shapley, confident learning
    sweep       the sweep over the training samples with its objective and class directions, for comparison
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

import influence_core as ic
from benchmarks.detection.run import training_pass
from influence_core.analysis import sample_table as tables
from influence_core.data import Samples
from influence_core.inputs import facts as identity
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.scores.influence.worst_class import class_directions
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view

BASELINES = ("forest_outlierness", "knn_shapley", "confident_learning")
DEMO = Path(__file__).resolve().parents[2] / "sample_data" / "fashion"


@contextmanager
def timed(names: tuple[str, ...], taken: dict[str, float]) -> Iterator[None]:
    """Add up the processor seconds of these functions of analysis/sample_table.py under "baselines", meanwhile."""
    before = {name: getattr(tables, name) for name in names}

    def measuring(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = process_time()
            found = function(*arguments, **options)
            taken["baselines"] += process_time() - start
            return found

        return call

    for name, function in before.items():
        setattr(tables, name, measuring(function))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(tables, name, function)


def opened(folder: Path, architecture: str | None, side: int, count: int | None) -> tuple[Any, Any, Samples]:
    """The model, `count` training samples and the validation samples as it reads them."""
    dataset = ic.open_dataset(folder)
    if architecture is None:
        model = ic.open_model(folder / "model.safetensors")
        dataset = dataset.with_classes(model.classes)
    else:
        torch.manual_seed(0)
        network = build_network(architecture, classes=len(dataset.classes), channels=3, size=(side, side))
        reads = Preprocessing(channels=3, size=(side, side), mean=(0.5,) * 3, std=(0.3,) * 3)
        model = OpenedModel(network, classes=dataset.classes, preprocessing=reads, architecture=architecture)
    assert dataset.val is not None
    train, val = (identity.in_model_format(split, model) for split in (dataset.train, dataset.val))
    return model.eval(), Subset(train, range(count)) if count else train, val


def measured(model: Any, train: Any, val: Samples) -> dict[str, float]:
    """Processor seconds of each part, and of a training pass."""
    labels, held_out_labels = train.labels, val.labels
    layers, taken = evidence_layers(model, train), {"pass": training_pass(model, train)}
    directions = [
        ic.objective_gradient(model, val),
        *class_directions(model, val, held_out_labels, loss="cross_entropy"),
    ]
    held_out = ic.sweep(model, val, features=layers, sketch=0)
    clock = [process_time()]
    swept = ic.sweep(model, train, directions=directions, features=layers)
    clock.append(process_time())
    seen = input_view(model, train, val)
    clock.append(process_time())
    taken["baselines"] = 0.0
    with timed(BASELINES, taken):
        tables.sample_table(
            swept,
            held_out,
            seen,
            ids=[str(i) for i in range(len(labels))],
            labels=labels,
            held_out_labels=held_out_labels,
            classes=tuple(model.classes),
            objectives=["utility"],
            seed=0,
            on_progress=lambda stage, done, total: None,
        )
    clock.append(process_time())
    sweep, inputs, table = np.diff(clock)
    taken["pass"] = (taken["pass"] + training_pass(model, train)) / 2
    return {
        "inputs": inputs,
        "evidence": table - taken["baselines"],
        "baselines": taken["baselines"],
        "sweep": sweep,
        "pass": taken["pass"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the evidence in training passes")
    parser.add_argument("dataset", type=Path, nargs="?", default=DEMO)
    parser.add_argument("--architecture", help="a name of torchvision or ours, untrained")
    parser.add_argument("--size", type=int, default=32, help="pixels a side, with --architecture")
    parser.add_argument("--train", type=int, help="only the first N training samples")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, train, val = opened(asked.dataset, asked.architecture, asked.size, asked.train)
    print(
        f"{asked.architecture or 'its own model'}, {len(train):,} training and {len(val):,} validation samples"
    )
    taken = measured(model, train, val)
    print(
        f"One training pass: {taken['pass']:.2f} s of processor time.\n\n| part | seconds | training passes |"
    )
    print("|---|---|---|")
    extra = {"suspicion: inputs + evidence": taken["inputs"] + taken["evidence"]}
    for name, seconds in {**{k: v for k, v in taken.items() if k != "pass"}, **extra}.items():
        print(f"| {name} | {seconds:.2f} | {seconds / taken['pass']:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
