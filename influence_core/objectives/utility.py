"""Utility: the mean loss over all classes or within one.

utility              f = 1/m sum_j loss_j
utility of class c   f = 1/m_c sum_{j: y_j = c} loss_j        a sample can help one class and harm another
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from influence_core.errors import ObjectiveError
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.objective import Objective


@dataclass(frozen=True)
class Utility(Objective):
    """The mean loss over all validation samples."""

    name: str = "utility"
    title: str = "validation loss"
    linear: ClassVar[bool] = True

    def readings(self, batch: HeldOutBatch) -> Tensor:
        return batch.losses


@dataclass(frozen=True)
class ClassUtility(Objective):
    """The mean loss over the validation samples of one class, by its name."""

    label: str
    members: Tensor | None = None
    """(m,) 1 where a sample is of the class; set by `bound`."""
    linear: ClassVar[bool] = True

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"utility_{self.label}"

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"validation loss of class {self.label}"

    def bound(self, held: HeldOut) -> Self:
        if self.label not in held.classes:
            raise ObjectiveError(
                f"There is no class '{self.label}' for utility; the classes are {', '.join(held.classes[:12])}."
            )
        members = held.labels == held.classes.index(self.label)
        if not members.any():
            raise ObjectiveError(
                f"Class '{self.label}' has no validation sample, so the loss on it cannot be measured. Add "
                "validation samples of this class."
            )
        return replace(self, members=torch.from_numpy(members).double())

    def readings(self, batch: HeldOutBatch) -> Tensor:
        return batch.losses

    def value(self, readings: Tensor, weights: Tensor) -> Tensor:
        assert self.members is not None, "bound() comes first"
        counted = weights * self.members.to(weights)
        return (counted @ readings[:, 0]) / counted.sum(-1)
