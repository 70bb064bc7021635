"""Influence on the class whose validation loss a sample hurts most: the minimum over per-class objectives.

    worst_i = min_c <g_i, grad f_c>,   f_c = mean loss over the validation samples of class c

The whole validation loss hides harm that a wrong label does to one class; the minimum over classes shows it
(docs/detection.md). Category-wise influence: Yang et al., TMLR 2026 (arXiv 2405.17490). Exact, as directions of the one
sweep. Negative = harmful to that class.
"""

import numpy as np
from torch import nn
from torch.utils.data import Dataset, Subset

from influence_core.engine.losses import Loss
from influence_core.engine.sweep import Direction
from influence_core.objectives import objective_gradient

AT_MOST = 20
"""Directions of the sweep spent on classes: each takes a copy of the parameters in memory."""


def class_directions(
    model: nn.Module, val: Dataset, labels: np.ndarray, *, loss: str | Loss
) -> list[Direction]:
    """Gradient of each class's validation loss, for the AT_MOST most frequent classes among the labels (m,)."""
    counts = np.bincount(labels)
    frequent = [c for c in np.argsort(-counts, kind="stable")[:AT_MOST].tolist() if counts[c]]
    rows = [np.flatnonzero(labels == c).tolist() for c in sorted(frequent)]
    return [objective_gradient(model, Subset(val, members), "utility", loss=loss) for members in rows]
