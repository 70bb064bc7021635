"""Outlier gradients: samples whose gradient is unlike the others, without Hessian or validation set.

Chhabra, Li, Chen, Mohapatra, Liu, ICML 2025 (arXiv 2405.03869): detrimental samples are a minority, so they are
outliers in gradient space, found by (a) an isolation forest on the gradients, (b) the L1 norm, (c) the L2 norm of the
last layer's gradient. What we changed: the forest sees the sketch of the gradient of ALL layers (an unbiased random
projection, as the paper uses for its large models), and every sample gets each score instead of a cut. Large = unusual;
an outlier is not necessarily harmful.
"""

import numpy as np
from sklearn.ensemble import IsolationForest

TREES = 100


def forest_outlierness(sketches: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Isolation-forest score (n,) in (0, 1) of each gradient sketch (n, q); large = isolated after few cuts."""
    if len(sketches) == 0:
        return np.zeros(0)
    forest = IsolationForest(n_estimators=TREES, random_state=seed)
    return -forest.fit(sketches).score_samples(sketches)


def share_below(norms: np.ndarray) -> np.ndarray:
    """Share of samples with a smaller norm, (n,) in [0, 1): the largest norm of 100 gets 0.99; ties share a value."""
    order = np.sort(norms)
    return np.searchsorted(order, norms, side="left") / max(1, len(norms))
