"""Margin between two outputs of one prediction: why one class and not another.

f = z_other - z_chosen, to be lowered: positive influence = a step on the sample widens the lead of `chosen`
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from influence_core.objectives.held_out import HeldOutBatch
from influence_core.objectives.objective import Objective


@dataclass(frozen=True)
class Margin(Objective):
    """How far one output stays behind another, by their names and their positions among the outputs."""

    chosen: str
    other: str
    chosen_at: int
    other_at: int
    name: str = "margin"
    linear: ClassVar[bool] = True

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """For example "lead of coat over shirt"; a helpful step widens it."""
        return f"lead of {self.chosen} over {self.other}"

    def readings(self, batch: HeldOutBatch) -> Tensor:
        return batch.outputs[:, self.other_at] - batch.outputs[:, self.chosen_at]
