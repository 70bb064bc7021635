"""Networks built by name: the small built-in ones, trained in seconds to minutes on a laptop, and torchvision's.

A name is looked up in these two lists only: no file can name code to be imported. ResNets for small pictures begin with
a 3x3 convolution of stride 1: `resnet18_3x3` without max pooling after it, `resnet18_3x3_pool` with it.
"""

import difflib
import math
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from influence_core.errors import ModelError

Size = tuple[int, int] | None
BUILT_IN = ("small_cnn", "mlp", "logistic")
# Further options: no second output in training, no warning about the initial values.
OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
SMALL_STEMS = ("_3x3", "_3x3_pool")
RESNETS = ("resnet", "resnext", "wide_resnet")


def architectures() -> list[str]:
    """Return the names accepted by build_network, built-in ones first."""
    import torchvision  # takes two seconds, which a built-in network does not need

    names = torchvision.models.list_models(module=torchvision.models)
    small = [f"{name}{stem}" for name in names if name.startswith(RESNETS) for stem in SMALL_STEMS]
    return [*BUILT_IN, *names, *small]


def original(architecture: str) -> str:
    """The architecture that one with a small stem is a variant of; others are their own."""
    return architecture.partition(SMALL_STEMS[0])[0]


def build_network(architecture: str, *, classes: int, channels: int, size: Size) -> nn.Module:
    """Build a freshly initialised network with `classes` outputs for inputs (b, channels, *size)."""
    if classes < 2:
        raise ModelError(f"{architecture} was requested with {classes} classes; two or more are needed.")
    if architecture not in BUILT_IN and architecture not in architectures():
        names = architectures()
        close = difflib.get_close_matches(architecture, names, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Expected one of {', '.join(names)}."
        raise ModelError(f"No architecture is called {architecture!r}. {hint}")
    if architecture == "small_cnn":
        return SmallCNN(classes, channels)
    if architecture in ("mlp", "logistic"):
        features = channels * math.prod(size or ())
        return MLP(classes, features) if architecture == "mlp" else Logistic(classes, features)
    return build_torchvision(architecture, classes, channels, size)


def build_torchvision(architecture: str, classes: int, channels: int, size: Size) -> nn.Module:
    import torchvision

    options: dict = dict(OPTIONS.get(architecture, {}))
    # These two families fix the input size at construction.
    if architecture.startswith("vit_") and size is not None:
        options["image_size"] = size[0]
    if architecture.startswith("maxvit") and size is not None:
        options["input_size"] = size
    try:
        network = torchvision.models.get_model(
            original(architecture), weights=None, num_classes=classes, **options
        )
    except ValueError as error:
        raise ModelError(f"{architecture} cannot be built for pictures of size {size}: {error}") from error
    if architecture.endswith(SMALL_STEMS):
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        if architecture.endswith(SMALL_STEMS[0]):
            network.maxpool = nn.Identity()
    elif channels != 3:
        replace_first_convolution(network, channels)
    return network


def replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels; torchvision's models take three."""
    name, old = next(
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]  # always stored as a pair
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    network.set_submodule(name, new)


class NoMemory(TorchFunctionMode):
    """Create parameters without memory. Other numbers, which decide about the architecture, stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


class SmallCNN(nn.Module):
    """Six 3x3 convolutions in three stages, batch norm, average pooling and one linear layer.

    About 95,000 parameters. For pictures of 28x28 to 64x64, (b, c, h, w) -> logits (b, classes).
    """

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.stage1 = nn.Sequential(*convolution(channels, 16), *convolution(16, 16), nn.MaxPool2d(2))
        self.stage2 = nn.Sequential(*convolution(16, 32), *convolution(32, 32), nn.MaxPool2d(2))
        self.stage3 = nn.Sequential(*convolution(32, 64), *convolution(64, 96), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(96 * 4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.head(x.flatten(1))


def convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # No bias: the following batch norm has one.
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


class MLP(nn.Module):
    """Two hidden layers of 128 units on the flattened input, (b, ...) -> logits (b, classes)."""

    def __init__(self, classes: int, features: int, hidden: int = 128):
        super().__init__()
        self.hidden1 = nn.Linear(features, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.hidden1(x.flatten(1)))
        return self.head(torch.relu(self.hidden2(x)))


class Logistic(nn.Module):
    """Multinomial logistic regression on the flattened input, (b, ...) -> logits (b, classes)."""

    def __init__(self, classes: int, features: int):
        super().__init__()
        self.head = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))
