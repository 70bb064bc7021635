"""Which class's validation loss would learning from this sample hurt most? The minimum over per-class objectives.

    worst_i = min_c <g_i, grad f_c>,   f_c = mean loss over the validation samples of class c
The whole validation loss hides harm that a wrong label does to one class; its minimum over classes shows it (AUROC for
wrong labels on a CIFAR-like set 0.52 to 0.61 against 0.70 to 0.81). Category-wise influence: Yang et al., TMLR 2026
(arXiv 2405.17490). Exact, as directions of the one sweep. Negative = harmful to that class.
"""

import numpy as np
from torch import nn
from torch.utils.data import Dataset, Subset

from influence_core.engine.losses import Loss
from influence_core.engine.sweep import Direction
from influence_core.objectives import objective_gradient

AT_MOST = 20
"""Directions the sweep carries for this: each takes a copy of the parameters in memory."""


def class_directions(
    model: nn.Module, val: Dataset, labels: np.ndarray, *, loss: str | Loss
) -> list[Direction]:
    """Gradient of each class's own validation loss, for the AT_MOST most frequent classes among the labels (m,)."""
    counts = np.bincount(labels)
    chosen = [c for c in np.argsort(-counts, kind="stable")[:AT_MOST].tolist() if counts[c]]
    rows = [np.flatnonzero(labels == c).tolist() for c in sorted(chosen)]
    return [objective_gradient(model, Subset(val, own), "utility", loss=loss) for own in rows]
