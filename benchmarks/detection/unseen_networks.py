"""Networks that played no part in any choice about suspicion: seven for pictures, one for tables, in three regimes.

mobilenet and shufflenet are torchvision's. mobilenet averages batch statistics over ten steps, since its usual hundred
are more than an epoch here; shufflenet starts with stride 1, since pictures are 32 x 32. The others are typical custom
networks: a plain VGG without normalisation, residual blocks with GroupNorm, one hidden layer on pixels, an LSTM over
rows and a one-dimensional convolution over columns, and for tables residual blocks with LayerNorm and dropout.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from influence_core.training.train import Recipe


class Residual(nn.Module):
    """x + inner(x), x changed by a 1 x 1 convolution where the shape changes."""

    def __init__(self, inner: nn.Module, change: nn.Module | None = None):
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.change is None else self.change(x)) + self.inner(x)


class RowLstm(nn.Module):
    """An LSTM that reads pictures (b, c, h, w) from the top row down; the last state decides."""

    def __init__(self, classes: int, channels: int, width: int):
        super().__init__()
        self.reader = nn.LSTM(channels * width, 96, batch_first=True)
        self.head = nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.reader(x.transpose(1, 2).flatten(2))
        return self.head(states[:, -1])


def row_conv(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    """A one-dimensional convolution: columns of pixels are the channels of a signal as long as the picture is wide."""
    inside, stages = channels * size[0], []
    for width in (48, 64, 96):
        stages += [nn.Conv1d(inside, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2)]
        inside = width
    return nn.Sequential(
        nn.Flatten(1, 2), *stages, nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(192, classes)
    )


def plain_vgg(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    inside, stages = channels, []
    for width in (16, 32, 64):
        for _ in range(2):
            stages += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU(inplace=True)]
            inside = width
        stages.append(nn.MaxPool2d(2))
    flat = 64 * (size[0] // 8) * (size[1] // 8)
    head = [
        nn.Flatten(),
        nn.Linear(flat, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Linear(128, classes),
    ]
    return nn.Sequential(*stages, *head)


def group_resnet(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    stages: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 2, 1)]
    inside = 16
    for width, step in ((16, 1), (32, 2), (64, 2)):
        inner = nn.Sequential(
            nn.GroupNorm(4, inside),
            nn.SiLU(),
            nn.Conv2d(inside, width, 3, step, 1, bias=False),
            nn.GroupNorm(4, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
        )
        stages.append(Residual(inner, nn.Conv2d(inside, width, 1, step) if step > 1 else None))
        inside = width
    return nn.Sequential(
        *stages, nn.GroupNorm(4, 64), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)
    )


def one_hidden(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    flat = channels * size[0] * size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, classes))


def mobilenet(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    from torchvision.models import mobilenet_v3_small

    network = mobilenet_v3_small(num_classes=classes, norm_layer=partial(nn.BatchNorm2d, eps=1e-3))
    network.features[0][0] = nn.Conv2d(channels, 16, 3, 2, 1, bias=False)
    return network


def shufflenet(classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    from torchvision.models import shufflenet_v2_x0_5

    network = shufflenet_v2_x0_5(num_classes=classes)
    network.conv1[0] = nn.Conv2d(channels, 24, 3, 1, 1, bias=False)
    return network


def table_resnet(classes: int, columns: int, size: None) -> nn.Module:
    blocks = [
        Residual(
            nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 96), nn.GELU(), nn.Dropout(0.1), nn.Linear(96, 64))
        )
        for _ in range(3)
    ]
    return nn.Sequential(nn.Linear(columns, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, classes))


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mobilenet": mobilenet,
    "shufflenet": shufflenet,
    "plain_vgg": plain_vgg,
    "group_resnet": group_resnet,
    "one_hidden": one_hidden,
    "row_lstm": lambda classes, channels, size: RowLstm(classes, channels, size[1]),
    "row_conv": row_conv,
    "table_resnet": table_resnet,
}
EPOCHS = {
    "mobilenet": (6, 20, 24),
    "shufflenet": (5, 14, 16),
    "plain_vgg": (8, 24, 35),
    "group_resnet": (10, 30, 45),
    "one_hidden": (5, 25, 60),
    "row_lstm": (15, 50, 90),
    "row_conv": (4, 20, 25),
    "table_resnet": (5, 25, 150),
}
RATES = {"group_resnet": 4e-3, "row_lstm": 4e-3}
"""Early, converged, memorised: chosen by accuracy alone, before anything was detected."""


def unseen_recipes() -> dict[tuple[str, str], Recipe]:
    found = {}
    for name, epochs in EPOCHS.items():
        early, converged, memorised = (
            Recipe(e, batch_size=40, learning_rate=RATES.get(name, 2e-3)) for e in epochs
        )
        found[name, "early"] = early
        found[name, "converged"] = replace(converged, augment=True)
        found[name, "memorised"] = replace(memorised, weight_decay=0.0)
    return found
