"""Mean loss of the group with the largest loss: f = max_g mean loss of group g, the group chosen before the gradient.

Source: the worst-group loss of Sagawa et al., ICLR 2020 (arXiv 1911.08731), here as an objective of influence.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from influence_core.objectives.groups.membership import Membership, cell_means, indicator, membership
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.objective import Objective


@dataclass(frozen=True)
class WorstGroup(Objective):
    """The mean loss of the group of `column` with the largest mean loss."""

    column: str
    among: Membership | None = None
    chosen: int | None = None
    """The group, if fixed; None: the worst by the readings."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"fairness_{self.column}_worst_group"

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"the loss of the group of {self.column} with the largest loss"

    def bound(self, held: HeldOut) -> Self:
        among = membership(held, self.column)
        return replace(self, among=among, notes=among.notes)

    def readings(self, batch: HeldOutBatch) -> Tensor:
        return batch.losses

    def value(self, readings: Tensor, weights: Tensor) -> Tensor:
        means = self._means(readings, weights)
        if self.chosen is not None:
            return means[..., self.chosen]
        return means.masked_fill(means.isnan(), -torch.inf).amax(-1)

    def fixed(self, readings: Tensor) -> Self:
        return replace(self, chosen=int(self._means(readings, readings.new_ones(len(readings))).argmax()))

    def words(self, readings: Tensor) -> dict[str, Any]:
        means = self._means(readings, readings.new_ones(len(readings))).tolist()
        groups = dict(zip(self._bound.names, means, strict=True))
        highest = max(groups, key=lambda name: groups[name])
        return {"column": self.column, "groups": groups, "highest": highest}

    def _means(self, readings: Tensor, weights: Tensor) -> Tensor:
        return cell_means(readings[:, :1], self._inside.to(readings.device), weights)

    @cached_property
    def _inside(self) -> Tensor:
        return indicator(torch.from_numpy(self._bound.codes), len(self._bound.names))

    @property
    def _bound(self) -> Membership:
        assert self.among is not None, "bound() comes first"
        return self.among
