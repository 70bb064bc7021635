"""Pictures in memory whose brightness tells their class, and a small model of them that was never trained."""

import numpy as np
import torch

from influence_core.data import samples_from_arrays
from influence_core.data.samples import Samples
from influence_core.models import OpenedModel, Preprocessing, build_network
from tests.making.pictures import CLASSES, pixels


def bright_and_dark(n: int = 65) -> Samples:
    """n grey pictures of 8 x 8 pixels, in turn bright and dark."""
    labels = np.arange(n) % 2
    images = np.stack([pixels(CLASSES[label], seed) for seed, label in enumerate(labels)])
    return samples_from_arrays(images, labels, classes=CLASSES)


def untrained(architecture: str = "small_cnn", seed: int = 0) -> OpenedModel:
    """A model of such pictures; the global random state stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(architecture, classes=2, channels=1, size=(8, 8))
    how = Preprocessing(channels=1, size=(8, 8), mean=(0.5,), std=(0.5,))
    return OpenedModel(network, classes=CLASSES, preprocessing=how, architecture=architecture)
