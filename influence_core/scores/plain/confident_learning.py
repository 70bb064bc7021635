"""Confident learning by cleanlab itself, from GIVEN labels and out-of-fold probabilities.

Northcutt, Jiang, Chuang, JAIR 2021 (arXiv 1911.00068). The probabilities come from the probe on the deepest layer,
which left each sample's own label out: as in cleanlab's own tutorial for a trained network, with exact leave-one-out in
place of five folds. Never from the model's own argmax, which would compare the model with itself. Quality is in [0, 1],
LOW = probably wrong.
"""

import warnings

import numpy as np


def confident_learning(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, int]:
    """Quality (n,) of given labels (n,) under out-of-fold probabilities (n, c), and how many cleanlab calls issues.

    Classes without any label are left out, as cleanlab expects.
    """
    from cleanlab.filter import find_label_issues  # takes a second to import, which a page need not wait for
    from cleanlab.rank import get_label_quality_scores

    present, codes = np.unique(labels, return_inverse=True)
    predicted = probabilities[:, present]
    predicted = predicted / np.maximum(predicted.sum(1, keepdims=True), 1e-300)
    if len(present) < 2:
        return np.ones(len(labels)), 0
    quality = get_label_quality_scores(codes, predicted)
    with warnings.catch_warnings():
        # of a class with a single sample none is ever an issue, which cleanlab says in a warning
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        flags = find_label_issues(codes, predicted, n_jobs=1)
    return np.asarray(quality, dtype=float), int(np.sum(flags))
