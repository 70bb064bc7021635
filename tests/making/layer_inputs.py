"""Models whose layer inputs are written out by hand, for layer-aware influence and online valuation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

TOLERANCE = 1e-9


def assert_close(found: Tensor, truth: Tensor, bug: str) -> None:
    error = float((found.double() - truth.double()).abs().max() / truth.double().abs().max())
    assert error < TOLERANCE, f"relative error {error:.1e}: {bug}"


class Deep(nn.Module):
    """Convolutions, a module used twice, a head; batch norm and dropout must not matter for who is heard."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.twice = nn.Linear(5, 5)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(x)).relu().mean((2, 3))
        return self.head(self.drop(self.twice(self.twice(h).relu()).relu()))

    def slow_inputs(self, x: Tensor) -> list[Tensor]:
        """By hand: each layer's input, positions averaged, uses added, a one for the bias."""
        windows = functional.unfold(x, 3, padding=1).mean(2)
        h = self.norm(self.conv(x)).relu().mean((2, 3))
        again = self.twice(h).relu()
        head = self.twice(again).relu()
        one = torch.ones(len(x), 1, dtype=x.dtype)
        both = torch.cat([h, one], 1) + torch.cat([again, one], 1)
        return [torch.cat([windows, one], 1), both, torch.cat([head, one], 1)]


class Language(nn.Module):
    """Tokens in, logits for every token out: two layers with positions, one without."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 6)
        self.shared = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x).tanh()
        return self.head(h + self.shared(h.mean(1)).unsqueeze(1))
