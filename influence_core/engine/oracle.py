"""Reference per-sample gradients, slow and exact: one backward pass a sample, every gradient written out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.given_samples import as_rows
from influence_core.engine.losses import Loss, loss_by_name, losses_of
from influence_core.engine.watching.watch import trainable
from influence_core.errors import LayerError

NO_GRADIENT = (
    "The loss does not depend on any trainable layer, so every gradient is zero. Expected outputs computed with "
    "gradients: remove torch.no_grad() or .detach() from the model's forward."
)


def per_sample_gradients(model: nn.Module, samples: Dataset, loss: str | Loss) -> Mapping[str, Tensor]:
    """Gradients (n, *parameter shape) by parameter name, every sample alone through autograd.

    Runs the model as it is; only parameters with requires_grad. For tests and for checking the engine: n backward
    passes and n * p numbers of memory. loss: a name of `losses.LOSSES` or a function (outputs, labels) -> (b,).
    """
    loop.check_weights(model)
    named = trainable(model)
    samples, loss = as_rows(samples), loss_by_name(loss)
    rows = [
        dict(zip(named, _gradients(model, batch, loss, list(named.values())), strict=True))
        for batch in loop.batches(samples, 1, like=model)
    ]
    return {name: _stacked([row.pop(name) for row in rows], value) for name, value in named.items()}


def _gradients(
    model: nn.Module, batch: loop.Batch, loss: Loss, values: list[nn.Parameter]
) -> tuple[Tensor, ...]:
    value = losses_of(loss, loop.outputs_of(model, batch), batch).sum()
    if not value.requires_grad:
        raise LayerError(NO_GRADIENT)
    return torch.autograd.grad(value, values, materialize_grads=True)


def _stacked(parts: list[Tensor], like: Tensor) -> Tensor:
    """(n, *shape). A single sample is not copied: a large model's gradient would be in memory twice."""
    return parts[0][None] if len(parts) == 1 else torch.stack(parts) if parts else like.new_zeros(0)
