"""Influence on what? A scalar of the model and some held-out samples; its gradient is a direction of the sweep.

Every objective is a sum over held-out samples of terms that depend on one sample each, f = sum_j term_j, so that its
gradient comes from ordinary batches. f is always something to be LOWERED; influence is the inner product
<g_i, grad f>, so positive = helpful: one gradient step on training sample i lowers f.
Source: Yang, Yue, Chen, Liu, TMLR 2026 (arXiv 2405.17490); the identity stands in for the inverse Hessian.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, checked, loss_by_name
from influence_core.engine.taps import scoring
from influence_core.errors import InfluenceError


class Objective(ABC):
    """A scalar to be lowered, as a sum of terms over held-out samples."""

    name: str
    """The suffix of its column: influence_<name>."""
    title: str
    """A few words for a person, for example "validation loss"."""

    @abstractmethod
    def terms(self, outputs: Tensor, labels: Tensor, losses: Tensor, m: int) -> Tensor:
        """Each sample's part (b,) of the objective, given the model's outputs, labels, losses (b,) and the size m."""


@dataclass(frozen=True)
class Utility(Objective):
    """The mean loss over all validation samples."""

    name: str = "utility"
    title: str = "validation loss"

    def terms(self, outputs: Tensor, labels: Tensor, losses: Tensor, m: int) -> Tensor:
        return losses / m


def objective_by_name(objective: str | Objective) -> Objective:
    """Resolve a name; an Objective of one's own passes through."""
    if isinstance(objective, Objective):
        return objective
    known = {"utility": Utility()}
    if objective not in known:
        raise InfluenceError(
            f"Objective '{objective}' is not known; expected one of {sorted(known)} or an Objective of your own."
        )
    return known[objective]


def objective_gradient(
    model: nn.Module,
    samples: Dataset,
    objective: str | Objective = "utility",
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int = 64,
) -> dict[str, Tensor]:
    """Gradient of an objective over held-out samples, as {parameter name: tensor of its shape}.

    The model is scored in evaluation mode and comes back as it was. Sign: a step AGAINST this direction lowers f.

    Raises:
        InfluenceError: no samples, an unknown name, or a loss that is not one finite number a sample.
    """
    chosen, function = objective_by_name(objective), loss_by_name(loss)
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    m = loop.count(samples)
    if m == 0:
        raise InfluenceError(
            f"The objective '{chosen.name}' has no held-out samples to be measured on. Expected at least one: give a "
            "validation split."
        )
    total = {name: torch.zeros_like(value) for name, value in named.items()}
    with scoring(model), torch.enable_grad():
        for value in named.values():
            value.requires_grad_(True)
        for batch in loop.batches(samples, batch_size, like=model):
            outputs = loop.forward(model, batch.inputs)
            losses = checked(function(outputs, batch.labels), len(batch))
            part = chosen.terms(outputs, batch.labels, losses, m).sum()
            gradients = torch.autograd.grad(part, list(named.values()), allow_unused=True)
            for sum_so_far, gradient in zip(total.values(), gradients, strict=True):
                if gradient is not None:
                    sum_so_far += gradient
    if not all(torch.isfinite(value).all() for value in total.values()):
        raise InfluenceError(
            f"The gradient of '{chosen.name}' is NaN or infinite, and so would be every influence on it. Expected "
            "finite numbers: check the validation samples and the loss."
        )
    return total
