"""Models and samples that the methods are compared on: stock architectures at sizes for repeated runs on a CPU.

Weights are random with a fixed seed. Three defaults that would hide mistakes are replaced: BatchNorm's initial running
statistics (activations explode), convnext's layer scale of 1e-6 (its blocks would not count) and the vision
transformer's zero head (every other gradient would be exactly zero). Samples are noise: time does not depend on them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

CLASSES, WORDS, LENGTH = 10, 1000, 64
DIRECTIONS = 8


@dataclass(frozen=True)
class Task:
    """Task: <gradient of train[i]'s loss, gradient of held_out[0]'s loss> for all n samples, in batches of `batch`."""

    model: nn.Module
    train: TensorDataset
    held_out: TensorDataset
    batch: int
    head: str
    """Path of the last linear layer, which one of the peers asks for."""


@dataclass(frozen=True)
class Subject:
    """How to build a model and its inputs, and the path of its last linear layer."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    head: str
    words: bool = False


def sample_losses(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample (b,); for a language model the mean over its positions."""
    if outputs.ndim == 2:
        return functional.cross_entropy(outputs, labels, reduction="none")
    return functional.cross_entropy(outputs.transpose(1, 2), labels, reduction="none").mean(1)


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        parts = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(b, t, width))
        return x + self.mlp(self.norm2(x))


class LanguageModel(nn.Module):
    """A next-word model: word embedding, positions as a raw parameter, four blocks, a linear head."""

    def __init__(self, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.words(tokens) + self.positions)))


def _resnet18() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(num_classes=CLASSES)


def _resnet18_cifar() -> nn.Module:
    model = _resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        32, 4, num_layers=6, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=CLASSES
    )
    nn.init.normal_(model.get_parameter("heads.head.weight"), std=0.02)
    return model


def _convnext_tiny() -> nn.Module:
    from torchvision.models import convnext_tiny

    model = convnext_tiny(num_classes=CLASSES)
    for name, value in model.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.constant_(value, 0.1)
    return model


def _pictures(side: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, 3, side, side)


def _sentences(n: int) -> Tensor:
    return torch.randint(WORDS, (n, LENGTH))


SUBJECTS = {
    "resnet18": Subject(_resnet18, _pictures(32), "fc"),
    "resnet18_cifar": Subject(_resnet18_cifar, _pictures(32), "fc"),
    "vit": Subject(_vit, _pictures(32), "heads.head"),
    "convnext_tiny": Subject(_convnext_tiny, _pictures(64), "classifier.2"),
    "language_model": Subject(LanguageModel, _sentences, "head", words=True),
}


def build_task(name: str, n: int, batch: int) -> Task:
    """Build the task, bit for bit the same in every process: model in evaluation mode, n samples, 8 held out."""
    subject = SUBJECTS[name]
    torch.manual_seed(0)
    model = subject.build()
    _settle(model, subject.inputs(64))
    torch.manual_seed(1)
    return Task(model.eval(), _samples(subject, n), _samples(subject, DIRECTIONS), batch, subject.head)


def _samples(subject: Subject, n: int) -> TensorDataset:
    inputs = subject.inputs(n)
    if subject.words:
        return TensorDataset(inputs, inputs.roll(-1, dims=1))
    return TensorDataset(inputs, torch.randint(CLASSES, (n,)))


@torch.no_grad()
def _settle(model: nn.Module, inputs: Tensor) -> None:
    """Set the statistics of BatchNorm from one batch, as training would."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
    model.train()(inputs)
    for norm in norms:
        norm.momentum = 0.1
