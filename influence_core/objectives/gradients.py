"""Value of an objective and its gradient over all trainable parameters, from ordinary batches.

    first pass   readings of every sample, without gradients; shared by all objectives that show the samples unchanged
    weights      df/dr_j by automatic differentiation of `value` alone, without the model
    second pass  gradient of sum_j weight_j r_j(theta), over the samples whose weight is not zero

Objectives that are linear in their readings need no first pass. k objectives are k gradients over the (small)
validation split and then k directions of ONE sweep over the training samples, never k sweeps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.data import Samples
from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.repeats import repeating
from influence_core.engine.watching.watch import scoring
from influence_core.errors import InfluenceError
from influence_core.objectives.held_out import HeldOut, HeldOutBatch, named_classes
from influence_core.objectives.names import objective_by_name
from influence_core.objectives.objective import Objective


@dataclass(frozen=True)
class Measured:
    """An objective on its held-out samples: its gradient, and the readings its value is computed from."""

    objective: Objective
    """Bound to the samples; its notes list what was left out."""
    gradient: dict[str, Tensor]
    """{parameter name: tensor of its shape}; a step AGAINST it lowers the objective."""
    readings: Tensor
    """(m, width) float64 on the CPU; zero for samples that take no part."""
    decisions: Tensor | None
    """The same from the model's decisions, where the objective has such a reading."""

    @property
    def value(self) -> float:
        """The objective at the current weights."""
        return float(self.objective.value(self.readings, self.readings.new_ones(len(self.readings))))


def objective_gradient(
    model: nn.Module,
    samples: Dataset,
    objective: str | Objective = "utility",
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int = 64,
) -> dict[str, Tensor]:
    """Gradient of an objective over held-out samples, as {parameter name: tensor of its shape}.

    The model is scored in evaluation mode and left unchanged. Sign: a step AGAINST this direction lowers f.

    Raises:
        InfluenceError: no samples, an unknown name, an objective that cannot be measured on these samples, or a loss
            that is not one finite number a sample.
    """
    return measured(model, samples, objective, loss=loss, batch_size=batch_size).gradient


def measured(
    model: nn.Module,
    samples: Dataset,
    objective: str | Objective = "utility",
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int = 64,
) -> Measured:
    """One objective's gradient with its value; groups are those of `samples`. Errors: as objective_gradient."""
    resolved, samples = objective_by_name(objective), repeating(model, samples)
    bound = bind(resolved, model, samples, loss=loss, groups=getattr(samples, "groups", None))
    return measured_all(model, samples, [bound], loss=loss, batch_size=batch_size)[0]


def bind(
    objective: Objective,
    model: nn.Module,
    samples: Dataset,
    *,
    loss: str | Loss = "cross_entropy",
    groups: pd.DataFrame | None = None,
    train_groups: pd.DataFrame | None = None,
    classes: Sequence[str] = (),
) -> Objective:
    """The objective bound to its held-out samples.

    Raises:
        ObjectiveError: it cannot be measured on them.
        InfluenceError: there are no samples.
    """
    measured_on = objective.samples(samples)
    if loop.count(measured_on) == 0:
        raise InfluenceError(
            f"The objective '{objective.name}' has no held-out samples to measure it on. Expected at least one: give "
            "a validation split."
        )
    names = tuple(classes) or named_classes(model, measured_on)
    with scoring(model):
        own_groups = groups if measured_on is samples else None
        return objective.bound(
            HeldOut(measured_on, model, loss_by_name(loss), names, own_groups, train_groups)
        )


def measured_all(
    model: nn.Module,
    samples: Dataset,
    objectives: Sequence[Objective],
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Several bound objectives of the same split, in order; they share the first pass."""
    function, results = loss_by_name(loss), []
    on_progress(0, len(objectives))
    with scoring(model):
        first = _first_pass(model, samples, objectives, function, batch_size)
    for index, objective in enumerate(objectives):
        results.append(_measured(model, samples, objective, first.get(index), function, batch_size))
        on_progress(index + 1, len(objectives))
    return results


@dataclass(frozen=True)
class _Readings:
    """Readings (m, width) of all samples, and of their decisions, in the model's dtype on its device."""

    values: Tensor
    decisions: Tensor | None


def _first_pass(
    model: nn.Module, samples: Dataset, objectives: Sequence[Objective], loss: Loss, batch_size: int
) -> dict[int, _Readings]:
    """Readings of the objectives whose weights depend on them, by position."""
    readings: dict[int, _Readings] = {}
    curved = [index for index, objective in enumerate(objectives) if not objective.linear]
    shared = [index for index in curved if objectives[index].samples(samples) is samples]
    for together in (shared, *([index] for index in curved if index not in shared)):
        if together:
            measured_on = objectives[together[0]].samples(samples)
            some = {index: objectives[index] for index in together}
            readings |= _read(model, measured_on, some, loss, batch_size)
    return readings


def _read(
    model: nn.Module, samples: Dataset, objectives: dict[int, Objective], loss: Loss, batch_size: int
) -> dict[int, _Readings]:
    values: dict[int, list[Tensor]] = {index: [] for index in objectives}
    decisions: dict[int, list[Tensor]] = {index: [] for index in objectives}
    for seen in _all_seen(model, samples, None, loss, batch_size):
        for index, objective in objectives.items():
            shown = objective.shown(seen)
            with torch.no_grad():
                values[index].append(_checked_readings(objective, shown))
                if (decided := objective.decided(shown)) is not None:
                    decisions[index].append(_columns(decided))
    return {
        index: _Readings(torch.cat(values[index]), torch.cat(decisions[index]) if decisions[index] else None)
        for index in objectives
    }


def _all_seen(
    model: nn.Module, samples: Dataset, rows: np.ndarray | None, loss: Loss, batch_size: int
) -> Iterator[HeldOutBatch]:
    """The samples at `rows` (all of them for None) in batches, with their positions in the split."""
    subset = samples if rows is None else _selected(samples, rows)
    positions = torch.arange(loop.count(samples)) if rows is None else torch.from_numpy(rows)
    for batch in loop.batches(subset, batch_size, like=model):
        batch_rows = positions[batch.start : batch.stop].to(batch.labels.device)
        yield HeldOutBatch(model, batch.inputs, batch.labels, batch_rows, loss)


def _selected(samples: Any, rows: np.ndarray) -> Dataset:
    return samples.select(rows) if isinstance(samples, Samples) else Subset(samples, rows.tolist())


def _checked_readings(objective: Objective, shown: HeldOutBatch) -> Tensor:
    """The readings of one batch (b, width), checked for shape and finite values."""
    readings = _columns(objective.readings(shown))
    expected = (1 if objective.whole else len(shown), objective.width)
    if tuple(readings.shape) != expected:
        raise InfluenceError(
            f"The objective '{objective.name}' returned readings of shape {tuple(readings.shape)} for "
            f"{len(shown)} samples; expected {expected}."
        )
    if not torch.isfinite(readings).all():
        raise InfluenceError(
            f"The objective '{objective.name}' is NaN or infinite on some validation samples, and so would be every "
            "influence on it. Expected finite numbers: check the validation samples and the loss."
        )
    return readings


def _columns(values: Tensor) -> Tensor:
    return values if values.ndim == 2 else values.reshape(-1, 1)


def _measured(
    model: nn.Module,
    split: Dataset,
    objective: Objective,
    first: _Readings | None,
    loss: Loss,
    batch_size: int,
) -> Measured:
    samples = objective.samples(split)
    m = 1 if objective.whole else loop.count(samples)
    device, dtype = loop.home(model)
    values = torch.zeros(m, objective.width, device=device, dtype=dtype) if first is None else first.values
    weights = _weights(objective, values)
    rows = None if objective.whole else weights.abs().sum(1).nonzero()[:, 0].cpu().numpy()
    size = loop.count(samples) if objective.whole else batch_size
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    gradient = {name: torch.zeros_like(value) for name, value in named.items()}
    with scoring(model), torch.enable_grad():
        for value in named.values():
            value.requires_grad_(True)
        for seen in _all_seen(model, samples, rows, loss, size):
            readings = _checked_readings(objective, objective.shown(seen))
            reading_rows = torch.zeros(1, dtype=torch.int64, device=device) if objective.whole else seen.rows
            values[reading_rows] = readings.detach()
            weighted = (weights[reading_rows] * readings).sum()
            _check_depends(objective, weighted)
            gradients = torch.autograd.grad(weighted, list(named.values()), allow_unused=True)
            for total, g in zip(gradient.values(), gradients, strict=True):
                if g is not None:
                    total += g
    _check_finite(objective, gradient)
    decisions = None if first is None or first.decisions is None else first.decisions.double().cpu()
    return Measured(objective, gradient, values.double().cpu(), decisions)


def _weights(objective: Objective, readings: Tensor) -> Tensor:
    """df/dr (m, width), at these readings."""
    with torch.enable_grad():
        variable = readings.detach().clone().requires_grad_(True)
        value = objective.value(variable, readings.new_ones(len(readings)))
        (weights,) = torch.autograd.grad(value, variable)
    return weights


def _check_depends(objective: Objective, part: Tensor) -> None:
    if not part.requires_grad:
        raise InfluenceError(
            f"The objective '{objective.name}' does not depend on any trainable parameter, so every influence on it "
            "would be zero. Expected a function of the model's outputs, without torch.no_grad() or .detach()."
        )


def _check_finite(objective: Objective, gradient: dict[str, Tensor]) -> None:
    if not all(torch.isfinite(value).all() for value in gradient.values()):
        raise InfluenceError(
            f"The gradient of '{objective.name}' is NaN or infinite, and so would be every influence on it. Expected "
            "finite numbers: check the validation samples and the loss."
        )
