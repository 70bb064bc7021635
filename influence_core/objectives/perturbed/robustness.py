"""Robustness: the mean loss on held-out samples that were attacked or corrupted.

    robustness, robustness:pgd   f = 1/m sum_j loss(x_j after PGD)
    robustness:fgsm              the same after one step of FGSM; both take a strength: robustness:fgsm:0.05
    robustness:linear            f = 1/m sum_j loss(h_j + s_j), s_j the step past the nearest boundary of a linear head
    robustness:corruption        f = 1/m sum_j mean loss over corruptions of x_j; one alone: robustness:corruption:blur

The change of an input is computed at the current weights and counts as a constant, so influence is again one inner
product. For attacks that is exact (their signs do not move with the weights). For the linear step it follows the paper:
the samples stay where the step has put them, or a wider margin would count as harm.

Source of the linear form: Yang, Yue, Chen, Liu, TMLR 2026 (arXiv 2405.17490), released code, for two classes:

    x' = x - 1.3 (w.x + b) / |w|^2 w

Ours goes to the nearest of all other classes, at the input of the last linear layer: the input itself for a linear
model, the penultimate feature for a deep one.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from influence_core.errors import ObjectiveError
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.objective import Objective
from influence_core.objectives.perturbed.attacks import attacked
from influence_core.objectives.perturbed.corruptions import corrupted, kinds
from influence_core.objectives.perturbed.input_space import InputSpace, input_space

PAST = 1.3
"""Length of the linear step in distances to the boundary: 1 would end on it."""


@dataclass(frozen=True)
class Adversarial(Objective):
    """The mean loss on samples under attack; `strength` in units of the input space, None for the default."""

    kind: str = "pgd"
    strength: float | None = None
    name: str = "robustness"
    space: InputSpace | None = None
    linear: ClassVar[bool] = True

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"the loss on validation samples attacked by {self.kind.upper()}"

    @property
    def notes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.space is None or self.strength is None:
            return ()
        return (
            f"'{self.name}' attacks with {self.kind.upper()} of strength {self.strength:.3g}, in {self.space.words}.",
        )

    def bound(self, held: HeldOut) -> Self:
        space = input_space(held.model, held.samples)
        return replace(self, space=space, strength=space.usual if self.strength is None else self.strength)

    def shown(self, batch: HeldOutBatch) -> HeldOutBatch:
        assert self.space is not None and self.strength is not None, "bound() comes first"
        return batch.with_inputs(attacked(batch, self.space, self.kind, self.strength))

    def readings(self, batch: HeldOutBatch) -> Tensor:
        return batch.losses


@dataclass(frozen=True)
class Corrupted(Objective):
    """The mean loss over natural corruptions, or under one `kind` alone."""

    kind: str | None = None
    name: str = "robustness_corruption"
    space: InputSpace | None = None
    linear: ClassVar[bool] = True

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"the loss on validation samples with {self.kind or 'noise, blur, light, contrast and JPEG changed'}"

    def bound(self, held: HeldOut) -> Self:
        space = input_space(held.model, held.samples)
        if self.kind is not None and self.kind not in kinds(space):
            raise ObjectiveError(
                f"'{self.kind}' changes pictures only; these inputs allow {', '.join(kinds(space))}. Leave it out."
            )
        return replace(self, space=space)

    def readings(self, batch: HeldOutBatch) -> Tensor:
        assert self.space is not None, "bound() comes first"
        used = (self.kind,) if self.kind else kinds(self.space)
        changed = [corrupted(batch.inputs, batch.rows, self.space, kind) for kind in used]
        return torch.stack([batch.with_inputs(inputs).losses for inputs in changed]).mean(0)


@dataclass(frozen=True)
class LinearStep(Objective):
    """The mean loss after the closed step past the nearest boundary of the last linear layer."""

    name: str = "robustness_linear"
    title: str = "the loss on validation samples moved past the nearest boundary of the linear head"
    head: nn.Linear | None = None
    linear: ClassVar[bool] = True

    def bound(self, held: HeldOut) -> Self:
        linear_layers = [module for module in held.model.modules() if isinstance(module, nn.Linear)]
        if not linear_layers or not _ends_in(held, linear_layers[-1]):
            raise ObjectiveError(
                "The closed step needs a model whose outputs are those of its last linear layer, called once. This "
                "one ends otherwise: ask for robustness:pgd instead."
            )
        return replace(self, head=linear_layers[-1])

    def readings(self, batch: HeldOutBatch) -> Tensor:
        assert self.head is not None, "bound() comes first"

        def moved(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0] + past_boundary(self.head, inputs[0].detach()), *inputs[1:])  # pyright: ignore

        handle = self.head.register_forward_pre_hook(moved)
        try:
            return batch.with_inputs(batch.inputs).losses
        finally:
            handle.remove()


ROBUSTNESS = (Adversarial, Corrupted, LinearStep)


def past_boundary(head: nn.Linear, features: Tensor) -> Tensor:
    """The step (b, f) from features to 1.3 times the way to the nearest other class; exact for a linear layer."""
    with torch.no_grad():
        outputs = nn.functional.linear(features, head.weight, head.bias)
        best = outputs.argmax(1)
        lead = outputs.gather(1, best[:, None]) - outputs
        toward = head.weight[None] - head.weight[best][:, None]
        square = toward.square().sum(2)
        distance = torch.where(
            square > 0, lead / square.sqrt(), torch.inf
        )  # the class itself, and any twin of it
        nearest = distance.argmin(1)
        row = torch.arange(len(features), device=features.device)
        return PAST * (lead[row, nearest] / square[row, nearest])[:, None] * toward[row, nearest]


def _ends_in(held_out: HeldOut, head: nn.Linear) -> bool:
    """Whether the model returns the output of this layer, called once with (b, f)."""
    results: list[Any] = []
    handle = head.register_forward_hook(lambda layer, inputs, result: results.append(result))
    try:
        with torch.no_grad():
            outputs = held_out.first(2).outputs
    finally:
        handle.remove()
    return (
        len(results) == 1
        and results[0].ndim == 2
        and isinstance(outputs, Tensor)
        and torch.equal(results[0], outputs)
    )
