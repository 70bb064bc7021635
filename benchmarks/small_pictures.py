"""Small picture sets for the benchmarks of training: digits (scikit-learn) and a subset of Fashion-MNIST."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pictures:
    """Inputs (n, 1, h, w) float32 in [0, 1] with clean labels (n,), cut into train, validation and test."""

    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def digits() -> Pictures:
    """Digits: 1,000 / 200 / 597 pictures of 8 x 8."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return _cut("digits", (found.images[:, None] / 16).astype(np.float32), found.target, 1000, 200, 597)


def fashion(folder: Path, n: int = 4000) -> Pictures:
    """Fashion-MNIST: n / 500 / 2,000 pictures of 28 x 28 from its IDX files."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)
        for name, offset in (("train-images-idx3-ubyte.gz", 16), ("train-labels-idx1-ubyte.gz", 8))
    )
    return _cut("fashion", (images.reshape(-1, 1, 28, 28) / 255).astype(np.float32), labels, n, 500, 2000)


def flipped(labels: Tensor, rate: float, seed: int, classes: int = 10) -> Tensor:
    """The labels with a share of them changed to another class, uniformly."""
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(rng.permutation(len(labels))[: round(rate * len(labels))])
    moved = labels.clone()
    moved[chosen] = (labels[chosen] + torch.from_numpy(rng.integers(1, classes, len(chosen)))) % classes
    return moved


def _cut(name: str, inputs: np.ndarray, labels: np.ndarray, *sizes: int) -> Pictures:
    order = np.random.default_rng(0).permutation(len(labels))
    ends = np.cumsum(sizes)
    parts = [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    tensors = [(torch.from_numpy(inputs[p]), torch.from_numpy(labels[p].astype(np.int64))) for p in parts]
    return Pictures(name, *tensors)
