"""Weighted, differentiable mean of each group; NaN for a group without samples."""

import torch
from torch import Tensor


def indicator(cells: Tensor, count: int) -> Tensor:
    """(m, count) float64: 1 where a sample belongs to a cell. cells (m,) int64, -1 for none."""
    return torch.nn.functional.one_hot(torch.where(cells < 0, count, cells), count + 1)[:, :count].double()


def cell_means(values: Tensor, inside: Tensor, weights: Tensor) -> Tensor:
    """Weighted means (..., cells) of values (m, cells) over the samples inside (m, cells); weights (..., m)."""
    inside, values = inside.to(values), values * inside.to(values)
    sums, sizes = weights @ values, weights @ inside
    empty = sizes == 0  # 0 / 0 must not reach the backward pass: NaN times zero is NaN
    return torch.where(empty, torch.nan, sums / torch.where(empty, 1, sizes))
