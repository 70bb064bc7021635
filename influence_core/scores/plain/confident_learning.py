"""What does confident learning say? cleanlab itself, given what it asks for: GIVEN labels, out-of-fold probabilities.

Northcutt, Jiang, Chuang, JAIR 2021 (arXiv 1911.00068). The probabilities are those of the probe on the deepest layer,
whose scores for a sample left its own label out: what cleanlab's own tutorial does for a trained network, with exact
leave-one-out in place of five folds. Never the model's own argmax, which would compare the model with itself.
Quality is in [0, 1], LOW = probably wrong.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Confident:
    """quality (n,) in [0, 1], low = probably wrong; flagged: how many labels cleanlab itself calls issues."""

    quality: np.ndarray
    flagged: int


def confident_learning(labels: np.ndarray, probabilities: np.ndarray) -> Confident:
    """cleanlab's default quality score of given labels (n,) under out-of-fold probabilities (n, c).

    Classes that no label names are left out, as cleanlab expects.
    """
    from cleanlab.filter import find_label_issues  # a second, which a page need not wait for
    from cleanlab.rank import get_label_quality_scores

    present, own = np.unique(labels, return_inverse=True)
    among = probabilities[:, present]
    among = among / np.maximum(among.sum(1, keepdims=True), 1e-300)
    if len(present) < 2:
        return Confident(np.ones(len(labels)), 0)
    quality = get_label_quality_scores(own, among)
    flags = find_label_issues(own, among, n_jobs=1)
    return Confident(np.asarray(quality, dtype=float), int(np.sum(flags)))
