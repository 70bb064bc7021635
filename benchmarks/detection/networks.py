"""Networks that detection is measured on, and the regimes they are trained in.

small_cnn and mlp are ours; resnet18 has torchvision's blocks at an eighth of their width with a 3x3 stem; vit_tiny is a
transformer of four blocks on 4 x 4 patches. early: few epochs; converged: more, with augmentation; memorised: until
98 % of the labels are memorised.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.detection.unseen_networks import NETWORKS as UNSEEN_NETWORKS
from benchmarks.detection.unseen_networks import unseen_recipes
from influence_core.data import samples_from_arrays
from influence_core.data.samples import Samples
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.training.train import Recipe, accuracy, train


class TinyViT(nn.Module):
    """Vision transformer, (b, c, h, w) -> logits; 4 x 4 patches, width 48, four two-head blocks, mean of patches."""

    def __init__(self, classes: int, channels: int, side: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, 48, 4, 4)
        self.places = nn.Parameter(torch.randn(1, (side // 4) ** 2, 48) * 0.02)
        block = [
            nn.TransformerEncoderLayer(48, 2, 96, 0.0, batch_first=True, norm_first=True) for _ in range(4)
        ]
        self.blocks = nn.ModuleList(block)
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.mean(1)))


def narrow_resnet18(classes: int, channels: int) -> nn.Module:
    """ResNet-18's eight basic blocks with 8 to 64 channels and a 3x3 stem."""
    from torchvision.models.resnet import BasicBlock

    blocks: list[nn.Module] = []
    inside = 8
    for width, stride in ((8, 1), (16, 2), (32, 2), (64, 2)):
        for step in (stride, 1):
            change = None
            if step != 1 or inside != width:
                change = nn.Sequential(nn.Conv2d(inside, width, 1, step, bias=False), nn.BatchNorm2d(width))
            blocks.append(BasicBlock(inside, width, step, change))
            inside = width
    stem = [nn.Conv2d(channels, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


RECIPES = {
    ("small_cnn", "early"): Recipe(epochs=6, learning_rate=3e-3, batch_size=40),
    ("small_cnn", "converged"): Recipe(epochs=14, learning_rate=3e-3, augment=True, batch_size=40),
    ("small_cnn", "memorised"): Recipe(epochs=22, learning_rate=3e-3, batch_size=40, weight_decay=0.0),
    ("resnet18", "early"): Recipe(epochs=6, learning_rate=3e-3, batch_size=40),
    ("resnet18", "converged"): Recipe(epochs=14, learning_rate=3e-3, augment=True, batch_size=40),
    ("resnet18", "memorised"): Recipe(epochs=22, learning_rate=3e-3, batch_size=40, weight_decay=0.0),
    ("vit_tiny", "early"): Recipe(epochs=12, learning_rate=3e-3, batch_size=40),
    ("vit_tiny", "converged"): Recipe(epochs=22, learning_rate=3e-3, augment=True, batch_size=40),
    ("vit_tiny", "memorised"): Recipe(epochs=45, learning_rate=3e-3, batch_size=40, weight_decay=0.0),
    ("mlp", "early"): Recipe(epochs=6),
    ("mlp", "converged"): Recipe(epochs=25, weight_decay=0.05),
    ("mlp", "memorised"): Recipe(epochs=200, weight_decay=0.0),
    **unseen_recipes(),
}


def fresh(architecture: str, inputs: np.ndarray, classes: int, seed: int) -> OpenedModel:
    """An untrained network for inputs (n, ...)."""
    picture, channels = inputs.ndim == 4, inputs.shape[1]
    size = (inputs.shape[2], inputs.shape[3]) if picture else None
    torch.manual_seed(seed)
    if architecture == "resnet18":
        network = narrow_resnet18(classes, channels)
    elif architecture == "vit_tiny":
        network = TinyViT(classes, channels, inputs.shape[2])
    elif architecture in UNSEEN_NETWORKS:
        network = UNSEEN_NETWORKS[architecture](classes, channels, size)
    else:
        network = build_network(architecture, classes=classes, channels=channels, size=size)
    preprocessing = Preprocessing(channels=channels, size=size, mean=(0.5,), std=(0.3,))
    names = [f"c{c}" for c in range(classes)]
    return OpenedModel(network, classes=names, preprocessing=preprocessing, architecture="benchmark")


MOST_ROUNDS = 2


def learned(model: OpenedModel, samples: Samples, architecture: str, regime: str) -> np.ndarray:
    """Train in place until the regime is reached, for "memorised" 98 % of the labels; returns AUM (n,)."""
    recipe = RECIPES[architecture, regime]
    rounds = [trained(model, samples, recipe)]
    while regime == "memorised" and len(rounds) < MOST_ROUNDS and accuracy(model, samples) < 0.98:
        rounds.append(trained(model, samples, replace(recipe, seed=len(rounds))))
    return np.mean(rounds, axis=0)


def trained(model: OpenedModel, samples: Samples, recipe: Recipe) -> np.ndarray:
    """Train in place; returns AUM (n,): the mean margin of logits over epochs, at the training steps (Pleiss 2020)."""
    order, n = np.random.default_rng(recipe.seed), len(samples)
    steps = -(-n // recipe.batch_size)
    visits = iter(
        [part for _ in range(recipe.epochs) for part in np.array_split(order.permutation(n), steps)]
    )
    total = np.zeros(n)

    def note(module: nn.Module, args: tuple, logits: Tensor) -> None:
        rows = next(visits)
        labels = torch.from_numpy(samples.labels[rows])[:, None]
        given = logits.detach().gather(1, labels)[:, 0]
        total[rows] += (given - logits.detach().scatter(1, labels, -torch.inf).max(1).values).numpy()

    handle = model.register_forward_hook(note)
    try:
        train(model, samples, recipe)
    finally:
        handle.remove()
    return total / recipe.epochs


def belief(inputs: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Class probabilities (n, c) of briefly trained networks, each half predicted by the one trained on the other."""
    architecture = "small_cnn" if inputs.ndim == 4 else "mlp"
    found = np.zeros((len(labels), classes))
    halves = np.arange(len(labels)) % 2
    for half in (0, 1):
        model = fresh(architecture, inputs, classes, seed=50 + half)
        mine = samples_from_arrays(inputs[halves == half], labels[halves == half], classes=model.classes)
        train(model, mine, Recipe(epochs=6, learning_rate=3e-3, batch_size=32))
        model.eval()
        with torch.no_grad():
            logits = model(torch.from_numpy(inputs[halves != half]))
        found[halves != half] = torch.softmax(logits.double(), 1).numpy()
    return found
