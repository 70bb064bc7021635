"""Why this class and not that one? The margin between two outputs of one prediction, as an objective."""

from dataclasses import dataclass, field

from torch import Tensor

from influence_core.objectives import Objective


@dataclass(frozen=True)
class Margin(Objective):
    """f = z_other - z_chosen, to be lowered: positive influence = a step on the sample speaks for `chosen`."""

    chosen: str
    other: str
    chosen_at: int
    other_at: int
    name: str = field(default="margin", init=False)

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """For example "lead of coat over shirt"; a helpful step widens it."""
        return f"lead of {self.chosen} over {self.other}"

    def terms(self, outputs: Tensor, labels: Tensor, losses: Tensor, m: int) -> Tensor:
        """Sum of z_other - z_chosen over the samples, (b,)."""
        return (outputs[:, self.other_at] - outputs[:, self.chosen_at]) / m
