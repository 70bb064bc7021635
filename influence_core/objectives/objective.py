"""The base class of objectives: a scalar of the model, to be LOWERED, computed from one reading per held-out sample.

    f(theta) = value(r_1(theta), ..., r_m(theta)),      r_j depends on held-out sample j alone

`readings` takes a reading from each sample (its loss, a probability, a margin), `value` combines all readings (a mean,
the size of a gap between groups, the worst group). By the chain rule grad f = sum_j (df/dr_j) grad r_j: the weights
df/dr_j come from a first pass without gradients, the rest from ordinary batches. So means over a group, the sign of a
gap and the choice of the worst group are resolved from the value before any gradient is taken, and no objective needs a
loop of its own. Influence is <g_i, grad f>: positive = helpful, a training step on i lowers f.
Source: Yang, Yue, Chen, Liu, TMLR 2026 (arXiv 2405.17490); the identity stands in for the inverse Hessian.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor
from torch.utils.data import Dataset

from influence_core.objectives.held_out import HeldOut, HeldOutBatch


class Objective(ABC):
    """A scalar to be lowered. Subclasses set `name` and `title`.

    An objective is a value: methods return new ones and change nothing. The gradient loop calls `bound` once, then
    `shown` and `readings` for each batch, and `value` on all readings.
    """

    name: str
    """The suffix of its column: influence_<name>."""
    title: str
    """A few words for the screen, for example "validation loss"; "raises <title>" must read as a sentence."""
    unit: str = "nats"
    """The unit of the value."""
    notes: tuple[str, ...] = ()
    """Sentences that readers of its numbers must know; filled by `bound`."""
    linear: ClassVar[bool] = False
    """Whether `value` is linear in the readings, so that its weights need no first pass."""
    width: int = 1
    """Readings a sample."""
    whole: bool = False
    """Whether the split must be processed in one piece, as one reading."""

    def samples(self, split: Dataset) -> Dataset:
        """The samples it is measured on: the validation split, unless it has its own (one prediction)."""
        return split

    def bound(self, held: HeldOut) -> Self:
        """The same objective bound to the held-out samples: groups and class numbers looked up.

        Raises:
            ObjectiveError: it cannot be measured on them, in one sentence; other objectives still can.
        """
        return self

    def shown(self, batch: HeldOutBatch) -> HeldOutBatch:
        """The samples as this objective shows them to the model: unchanged, unless it attacks or corrupts them.

        Must depend on the samples and their rows alone, never on the batch: it is called again for the gradient.
        Parameters may require gradients; returned inputs count as constants, so detach them.
        """
        return batch

    @abstractmethod
    def readings(self, batch: HeldOutBatch) -> Tensor:
        """The reading of each sample: (b,) or (b, width), differentiable in the parameters."""

    def value(self, readings: Tensor, weights: Tensor) -> Tensor:
        """The objective itself (...), from readings (m, width) and how often each sample counts (..., m).

        Weights are ones (m,) for the value and its gradient, and many draws at once for its interval. Readings of
        samples that take no part are zero, and must have no effect.
        """
        return (weights @ readings[:, 0]) / weights.sum(-1)

    # ------------------------------------------------------------- only for objectives that chance alone makes positive

    gap: ClassVar[bool] = False
    """Whether the value is the size of a difference, zero where there is none."""

    def fixed(self, readings: Tensor) -> Self:
        """The same objective with its choice of groups fixed, so that the value can cross zero."""
        return self

    @property
    def strata(self) -> Tensor:
        """(m,) int64: samples of the same number may swap readings if groups mean nothing; -1: takes no part."""
        raise NotImplementedError(
            f"{type(self).__name__} is a gap, so it must define `strata`: the samples that may swap readings."
        )

    def decided(self, batch: HeldOutBatch) -> Tensor | None:
        """The same readings from the model's decisions (0 or 1) instead of its losses or probabilities.

        `value` of these is the familiar gap in rates, such as the difference in true positive rates. None where there
        is no such reading.
        """
        return None

    def words(self, readings: Tensor) -> dict[str, Any]:
        """Further entries for run.json, given all readings (m, width): each group's number, and which is larger."""
        return {}
