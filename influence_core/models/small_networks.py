"""Small networks for small pictures and features, trained in seconds to minutes on a laptop."""

import torch
from torch import nn


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
