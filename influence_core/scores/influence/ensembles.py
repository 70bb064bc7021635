"""Influence summed over several sets of weights of one network: checkpoints of one training, or several trainings.

    score_i = sum_k w_k < g_i(theta_k), grad f(theta_k) >

A member is a set of weights and a factor. Both gradients are taken under the SAME member: the product of gradients of
different members means nothing.

    checkpoints   weights saved while training, w_k = learning rate at that time: TracInCP, Pruthi et al. 2020
                  (arXiv 2002.08484)
    seeds         trainings from other starts, w_k = 1/K

Masks and noise on one model's weights brought nothing at the published sizes: docs/ensembles.md.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss
from influence_core.engine.sweep import sweep
from influence_core.errors import InfluenceError
from influence_core.objectives import Objective, objective_gradient

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Member:
    """Weights by parameter (and buffer) name, created when needed, and the factor of their scores."""

    weights: Callable[[nn.Module], Weights]
    factor: float
    mark: str = ""
    """Distinguishes this member from others, so that a run can refuse to mix results."""


@dataclass(frozen=True, slots=True)
class EnsembleScores:
    """Sums over members, rows in the order of the samples."""

    products: Tensor
    """(n, k) for k targets; positive = helpful."""
    self_influence: Tensor
    """(n,) sum of w_k |g_i|^2; large = unusual."""
    losses: Tensor
    """(n,) factor-weighted mean of each sample's own loss."""


def checkpoints(saved: Sequence[Weights], learning_rates: Sequence[float] | None = None) -> list[Member]:
    """Members from state dicts saved while training; one learning rate for each, None for 1/K each."""
    rates = [1 / len(saved)] * len(saved) if learning_rates is None else list(learning_rates)
    if not saved or len(rates) != len(saved) or min(rates) <= 0:
        raise InfluenceError(
            f"{len(saved)} checkpoints with {len(rates)} learning rates; expected at least one checkpoint and one "
            "positive learning rate for each."
        )
    return [
        Member(lambda _, state=weights: state, rate, _mark(weights, rate))
        for weights, rate in zip(saved, rates, strict=True)
    ]


def along(pairs: Sequence[tuple[Weights, float]]) -> list[Member]:
    """Members from pairs of a state dict and its learning rate; empty for no pairs."""
    return checkpoints([weights for weights, _ in pairs], [rate for _, rate in pairs]) if pairs else []


def _mark(weights: Weights, rate: float) -> str:
    digest = hashlib.sha256(repr(rate).encode())
    for name, value in weights.items():
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(name.encode() + numbers.tobytes())
    return digest.hexdigest()[:16]


def seeds(models: Sequence[nn.Module]) -> list[Member]:
    """Members from trainings of the same network."""
    return checkpoints([dict(model.state_dict()) for model in models])


@contextmanager
def as_member(model: nn.Module, member: Member) -> Iterator[nn.Module]:
    """The model under a member's weights; the original weights are restored exactly, also after an error."""
    original = {name: value.detach().clone() for name, value in model.state_dict().items()}
    weights = member.weights(model)
    if unknown := sorted(set(weights) - set(original)):
        raise InfluenceError(
            f"A member has weights called {', '.join(unknown[:3])}, which the model does not have. Expected weights "
            "of the same network: take them from model.state_dict()."
        )
    try:
        model.load_state_dict(dict(weights), strict=False)
        yield model
    finally:
        model.load_state_dict(original)


def ensemble_influence(
    model: nn.Module,
    train: Dataset,
    targets: Sequence[tuple[str | Objective, Dataset]],
    members: Sequence[Member],
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int | str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> EnsembleScores:
    """Influence of every training sample on k targets under all members: K sweeps.

    Args:
        targets: k pairs of an objective and the samples it is measured on.
        members: from checkpoints or seeds; both kinds may be mixed, factors are used as they are.
        on_progress: called as (members done, members in total) before each member.
    """
    if not members:
        raise InfluenceError("An ensemble without members has no scores. Give at least one member.")
    n = loop.count(train)
    products, self_influence, losses = torch.zeros(n, len(targets)), torch.zeros(n), torch.zeros(n)
    for done, member in enumerate(members):
        if on_progress:
            on_progress(done, len(members))
        with as_member(model, member):
            directions = [objective_gradient(model, samples, name, loss=loss) for name, samples in targets]
            scores = sweep(model, train, directions=directions, sketch=0, loss=loss, batch_size=batch_size)
        products = products + member.factor * scores.products
        self_influence = self_influence + member.factor * scores.grad_norms.square()
        losses = losses + member.factor * scores.losses
    return EnsembleScores(products, self_influence, losses / sum(member.factor for member in members))
