"""A guess of the architecture of weights, from the names and shapes of their tensors, best first.

    share = tensors of the file that the network has under the same name and shape / the larger number of tensors

The head's outputs, the first convolution's inputs and a vision transformer's positions are read from the file: they
depend on classes, channels and picture size, not on the architecture. Networks are built without memory, only those of
the first family whose mark is among the names, until one fits in all tensors. It remains a guess: two networks can
have the same tensors and use them differently, as ResNets with a small stem do, with max pooling and without.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from torch import nn

from influence_core.models.architectures import (
    BUILT_IN,
    SMALL_STEMS,
    NoMemory,
    Size,
    architectures,
    build_network,
    original,
)
from influence_core.models.weight_files.fit import without_bystanders
from influence_core.models.weight_files.spellings import respelled, unprefixed

Shapes = Mapping[str, tuple[int, ...]]
# A tensor name that marks one family of networks, and the prefixes of the family's architectures.
MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("features.denseblock1.denselayer1.norm1.weight", ("densenet",)),
    ("encoder.layers.encoder_layer_0.ln_1.weight", ("vit_",)),
    ("features.1.0.attn.relative_position_bias_table", ("swin_",)),
    ("blocks.0.layers.0.layers.MBconv.layers.pre_norm.weight", ("maxvit",)),
    ("layer1.0.conv1.weight", ("resnet", "resnext", "wide_resnet")),
    ("trunk_output.block1.block1-0.f.a.0.weight", ("regnet",)),
    ("features.1.0.layer_scale", ("convnext",)),
    ("features.3.squeeze.weight", ("squeezenet",)),
    ("features.4.squeeze.weight", ("squeezenet",)),
    ("inception3a.branch1.conv.weight", ("googlenet",)),
    ("Conv2d_1a_3x3.conv.weight", ("inception",)),
    ("stage2.0.branch2.0.weight", ("shufflenet",)),
    ("layers.8.0.layers.0.weight", ("mnasnet",)),
    ("features.1.conv.0.0.weight", ("mobilenet_v2",)),
    ("features.1.block.0.0.weight", ("mobilenet_v3",)),
    ("features.1.0.block.1.fc1.weight", ("efficientnet_b",)),
    ("features.2.0.block.1.0.weight", ("efficientnet_v2",)),
    ("classifier.6.weight", ("vgg", "alexnet")),
    ("stage1.0.weight", ("small_cnn",)),
    ("hidden1.weight", ("mlp",)),
    ("head.weight", ("logistic",)),
)
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Guess:
    """An architecture with classes, channels and picture size read from the file; `size` None means any size.

    `channels` is the number of features for networks of flat inputs (`mlp`, `logistic`). `fitting` of `total` tensors
    agree.
    """

    architecture: str
    classes: int
    channels: int
    size: Size
    fitting: int
    total: int

    @property
    def share(self) -> float:
        """The share of tensors, in [0, 1], that file and network have in common."""
        return self.fitting / self.total


def guess_architecture(shapes: Shapes) -> list[Guess]:
    """Return up to three architectures with tensors of such names and shapes, best first; none without a family."""
    shapes, guesses = unprefixed(shapes), []
    for name in candidates(shapes):
        if guesses and guesses[-1].share == 1 and original(name) != original(guesses[-1].architecture):
            break  # larger networks of the family take seconds to build and cannot fit better
        if (guess := compared(name, shapes)) is not None:
            guesses.append(guess)
    return sorted(guesses, key=lambda guess: -guess.share)[:SHOWN]


def candidates(shapes: Shapes) -> list[str]:
    """Return the architectures of the first family whose mark is present, the nearest in size first."""
    families = next((names for mark, names in MARKS if mark in shapes), None)
    if families is None:
        return []
    if families[0] in BUILT_IN:
        return list(families)
    family = [name for name in architectures() if name.startswith(tuple(families)) and name not in BUILT_IN]
    small = shapes.get("conv1.weight", ())[2:] == (3, 3)  # the stem of a ResNet for small pictures
    family = [name for name in family if name.endswith(SMALL_STEMS) == small]
    numbers = sum(math.prod(shape) for shape in shapes.values())
    return sorted(family, key=lambda name: abs(math.log(parameters_of(name) / max(1, numbers))))


def parameters_of(architecture: str) -> int:
    """Return the number of parameters of a torchvision network of 1000 classes, from its metadata."""
    from torchvision.models import get_model_weights

    return next(iter(get_model_weights(original(architecture)))).meta["num_params"]


def compared(architecture: str, shapes: Shapes) -> Guess | None:
    """Compare one architecture with the shapes; None when the file lacks its head's bias or its first weight."""
    size = picture_size(shapes)
    expected, head, first = tensors_of(architecture, size)
    shapes, _ = without_bystanders(respelled(shapes, expected)[0], expected)
    outputs, inputs = shapes.get(f"{head}.bias"), shapes.get(first)
    if not outputs or not inputs or len(inputs) < 2:
        return None
    # old files lack these counters, whatever the architecture
    ours = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    theirs = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    fitting = sum(
        fits(ours[name], shape, head=name.startswith(f"{head}."), first=name == first)
        for name, shape in theirs.items()
        if name in ours
    )
    classes = max(2, outputs[0])  # one output is read as two
    return Guess(architecture, classes, inputs[1], size, fitting, max(len(ours), len(theirs)))


@lru_cache(maxsize=64)
def tensors_of(architecture: str, size: Size) -> tuple[dict[str, tuple[int, ...]], str, str]:
    """Return shapes by name for ten classes, the name of the head, and the name of the first layer's weight."""
    network = unallocated(architecture, size)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    head, _, _ = [name for name, _ in network.named_parameters()][-1].rpartition(".")
    return expected, head, next(name for name, value in network.named_parameters() if value.dim() > 1)


def fits(ours: tuple[int, ...], theirs: tuple[int, ...], *, head: bool, first: bool) -> bool:
    """Whether shapes agree, apart from the number of classes at the head and of channels at the first layer."""
    if len(ours) != len(theirs):
        return False
    return all(
        a == b or (head and axis == 0) or (first and axis == 1)
        for axis, (a, b) in enumerate(zip(ours, theirs, strict=True))
    )


def picture_size(shapes: Shapes) -> Size:
    """Return the picture size of a vision transformer, from its position embedding; None for other networks."""
    positions, patches = shapes.get("encoder.pos_embedding"), shapes.get("conv_proj.weight")
    if not positions or not patches or len(positions) != 3 or len(patches) != 4:
        return None
    side = math.isqrt(max(0, positions[1] - 1)) * patches[2]
    return (side, side) if side else None


def unallocated(architecture: str, size: Size) -> nn.Module:
    """Build the network with shapes but no numbers: the largest takes a second and a few megabytes."""
    with NoMemory():
        return build_network(architecture, classes=10, channels=3, size=size or (224, 224))
