"""Number format in which a model is scored, and the check that bfloat16 has to pass.

bfloat16 has three digits and is offered on GPUs only. There too it is refused unless a sample of the data, up to 64
rows spread over it, comes out in the same order as in float32: Spearman's rank correlation of at least 0.99 for the L2
norm, the L1 norm and every product. Passes run in bfloat16 with channels last; losses and contractions stay in float32.
"""

import copy
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.agreement import RANKS, rank_correlation
from influence_core.engine.losses import Loss
from influence_core.engine.result import Sweep
from influence_core.engine.rules.factors import wide
from influence_core.errors import InfluenceError

PRECISIONS = ("float32", "float64", "bfloat16")
AUTO = "auto"
CHECKED = 64
"""Samples checked, at most."""
CHECK_ROWS = 16
"""Samples a pass during the check."""


def own_precision(model: nn.Module, precision: str = AUTO) -> str:
    """The precision asked for; for "auto" the model's own, float64 or else float32."""
    loop.check_weights(model)
    if precision != AUTO:
        return precision
    return "float64" if loop.home(model)[1] == torch.float64 else "float32"


def in_precision(model: nn.Module, precision: str) -> nn.Module:
    """The model itself if it has this precision already, else a converted copy.

    Raises:
        InfluenceError: a format that is not offered, or bfloat16 for a model on a CPU.
    """
    if precision not in PRECISIONS:
        raise InfluenceError(
            f"Precision '{precision}' is not known; expected '{AUTO}' or one of {', '.join(PRECISIONS)}."
        )
    if precision == "bfloat16" and loop.home(model)[0].type == "cpu":
        raise InfluenceError(
            "Precision 'bfloat16' was requested for a model on a CPU. There a batch took 1.14 to 1.22 float32 "
            "training passes, hardly less than in float32, because gradients are read in float32 all the same. "
            "Expected 'float32' or 'float64' on a CPU; 'bfloat16' needs a model on a GPU."
        )
    return converted(model, precision)


def converted(model: nn.Module, precision: str) -> nn.Module:
    """The model itself if it has this format already, else a copy in it; bfloat16 with channels last."""
    dtype = getattr(torch, precision)
    if loop.home(model)[1] == dtype:
        return model
    model = copy.deepcopy(model).to(dtype)
    return model.to(memory_format=torch.channels_last) if precision == "bfloat16" else model


def exact_name(precision: str) -> str:
    """Precision in which a model is studied and objectives are differentiated: at least float32."""
    return "float32" if precision == "bfloat16" else precision


def on_wide_outputs(loss: Loss) -> Loss:
    """The same loss, computed in float32 from coarser outputs: log-softmax must not lose digits."""

    @wraps(loss)
    def widened(outputs: Any, labels: Tensor) -> Tensor:
        return loss(wide(outputs) if isinstance(outputs, Tensor) else outputs, labels)

    return widened


def spread_over(samples: Dataset) -> Subset:
    """Up to 64 samples at even distances."""
    n = loop.count(samples)
    size = min(CHECKED, n)
    return Subset(samples, [row * n // size for row in range(size)])


def check_ranks(rough: Sweep, exact: Sweep) -> None:
    """Raise InfluenceError, naming the quantity and its rank agreement, when bfloat16 orders samples unlike float32."""
    columns = {"the gradient norm": (rough.grad_norms, exact.grad_norms)}
    columns["the L1 norm"] = (rough.grad_norms_l1, exact.grad_norms_l1)
    for index in range(exact.products.shape[1]):
        columns[f"the product with direction {index}"] = (rough.products[:, index], exact.products[:, index])
    ranks = {name: rank_correlation(*pair) for name, pair in columns.items()}
    worst = min(ranks, key=lambda name: -2 if ranks[name] != ranks[name] else ranks[name])
    if not ranks[worst] >= RANKS:
        raise InfluenceError(
            f"In bfloat16, {worst} puts {len(exact.grad_norms)} samples in another order than float32: rank agreement "
            f"{ranks[worst]:.3f}, expected at least {RANKS}. Use precision='float32'."
        )
