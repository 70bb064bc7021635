"""Networks built by name: the small built-in ones and torchvision's classification models.

A name is looked up in these two lists only: no file can name code to be imported.
"""

import difflib
import math

from torch import nn

from influence_core.errors import ModelError
from influence_core.models.small_networks import MLP, Logistic, SmallCNN

Size = tuple[int, int] | None
BUILT_IN = ("small_cnn", "mlp", "logistic")
# Further options: no second output in training, no warning about the initial values.
OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def architectures() -> list[str]:
    """Return the names accepted by build_network, built-in ones first."""
    import torchvision  # takes two seconds, which a built-in network does not need

    return [*BUILT_IN, *torchvision.models.list_models(module=torchvision.models)]


def build_network(architecture: str, *, classes: int, channels: int, size: Size) -> nn.Module:
    """Build a freshly initialised network with `classes` outputs for inputs (b, channels, *size)."""
    if classes < 2:
        raise ModelError(f"{architecture} was requested with {classes} classes; two or more are needed.")
    if architecture not in BUILT_IN and architecture not in architectures():
        close = difflib.get_close_matches(architecture, architectures(), n=3)
        hint = (
            f"Did you mean {' or '.join(close)}?"
            if close
            else f"Expected one of {', '.join(architectures())}."
        )
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
        network = torchvision.models.get_model(architecture, weights=None, num_classes=classes, **options)
    except ValueError as error:
        raise ModelError(f"{architecture} cannot be built for pictures of size {size}: {error}") from error
    if channels != 3:
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
