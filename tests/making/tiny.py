"""A network of three layers and samples for it: what most laws of the engine need."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import TensorDataset

from tests.making.oracles import dataset, settled

Layer = Callable[..., nn.Module]


def tiny_net(seed: int = 0, *, norm: Layer = nn.BatchNorm2d, activation: Layer = nn.ReLU) -> nn.Sequential:
    """Convolution, norm, activation and a linear layer to 3 classes; statistics of a norm that are not 0 and 1."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(2, 4, 3), norm(4), activation(), nn.Flatten(), nn.Linear(64, 3)
    return settled(nn.Sequential(*layers))


def tiny_samples(n: int = 6, seed: int = 0) -> TensorDataset:
    """n random float32 pictures that fit it, (2, 6, 6), with random labels."""
    return dataset(2, 6, 6, n=n, classes=3, seed=seed, dtype=torch.float32)
