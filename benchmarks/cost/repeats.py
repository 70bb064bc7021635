"""Cost of comparing repeats (engine/repeats.py) in a whole sweep, by the kind of dataset that is read.

    python -m benchmarks.cost.repeats [--threads 1] [--rounds 7]

A sweep as the product runs it, against the same sweep without reading or running anything twice, in turn in one
process; median of the rounds, smallest and largest. Datasets: tensors in memory, which need no second read; a
person's own class over an array; one that decodes a PNG, held in memory, at every read.
"""

import argparse
import io
import statistics
import time
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.models import resnet18

from influence_core.engine.given_samples import as_rows
from influence_core.engine.sweep import sweep

SIDE = 32


class Rows(Dataset):
    """A person's dataset: an array, row by row."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.pictures[row]).permute(2, 0, 1).float() / 255, int(self.labels[row])


class Encoded(Rows):
    """The same, decoded from a PNG in memory at every read."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray) -> None:
        super().__init__(pictures, labels)
        self.encoded = [_png(picture) for picture in pictures]

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = np.array(Image.open(io.BytesIO(self.encoded[row])))
        return torch.from_numpy(picture).permute(2, 0, 1).float() / 255, int(self.labels[row])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print("| model | samples | dataset | whole sweep, s | with / without repeats |\n|---|---|---|---|---|")
    for name, n in (("mlp", 5_000), ("small convolutions", 2_000), ("resnet18", 100)):
        for kind, dataset in datasets(n).items():
            ratios, seconds = compared(model(name), dataset, asked.rounds)
            shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {name} | {n:,} | {kind} | {seconds:.2f} | {shown} |", flush=True)


def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, 10))
    if name == "resnet18":
        return resnet18(num_classes=10)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def datasets(n: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    labels = generator.integers(0, 10, n)
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    memory = TensorDataset(tensors, torch.from_numpy(labels))
    return {
        "tensors in memory": memory,
        "own class over an array": Rows(pictures, labels),
        "PNG decoded at every read": Encoded(pictures, labels),
    }


def compared(model: nn.Module, dataset: Any, rounds: int) -> tuple[list[float], float]:
    """The ratio of each round after the first, which does not count, and the median seconds of the sweep."""
    ratios, seconds = [], []
    for _ in range(rounds + 1):
        whole = _seconds(model, dataset)
        with (
            mock.patch("influence_core.engine.sweep.steady", as_rows),
            mock.patch("influence_core.engine.sweep.compared", len),
            mock.patch("influence_core.engine.study.check_repeats"),
        ):
            ratios.append(whole / _seconds(model, dataset))
        seconds.append(whole)
    return ratios[1:], statistics.median(seconds[1:])


def _seconds(model: nn.Module, dataset: Any) -> float:
    begun = time.perf_counter()
    sweep(model, dataset, directions=[dict(model.named_parameters())])
    return time.perf_counter() - begun


def _png(picture: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "png")
    return written.getvalue()


if __name__ == "__main__":
    main()
