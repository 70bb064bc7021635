"""Quality of each signal at finding wrong labels, where the truth is known. For judging only; no score reads this.

Positives are samples whose given label differs from the true one. AUROC: probability that a wrong label ranks above a
right one. Average precision and precision among the top 5, 10 and 20 % describe what an annotator meets in the queue.
Always shown with random order beside it, which scores 0.5 AUROC and the share of wrong labels elsewhere.
"""

import numpy as np
import pandas as pd

from influence_core.errors import InfluenceError

SIGNALS: dict[str, int] = {
    "suspicion": 1,
    "loss": 1,
    "margin": -1,
    "el2n": 1,
    "grad_norm": 1,
    "grad_norm_l1": 1,
    "grad_norm_last": 1,
    "self_influence": 1,
    "outlier_forest": 1,
    "outlier_l1": 1,
    "outlier_l2": 1,
    "influence_utility": -1,
    "influence_worst_class": -1,
    "layer_aware": -1,
    "knn_shapley": -1,
    "confident_learning": -1,
    "aum": -1,
}
"""Which end of each column indicates a wrong label: 1 = large, -1 = small."""


def doubts(samples: pd.DataFrame) -> pd.DataFrame:
    """Every signal of the run's table with its sign turned so that large = in doubt; index and row order unchanged."""
    present = {name: sign * samples[name].astype(float) for name, sign in SIGNALS.items() if name in samples}
    return pd.DataFrame(present, index=samples.index)


def detection_table(samples: pd.DataFrame, wrong: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Quality of every signal in `samples` and of a random order, best AUROC first.

    Args:
        samples: the run's table, index sample_id.
        wrong: bool by sample_id, True = the given label is wrong; must cover every row of `samples`.

    Returns:
        index signal; columns auroc, average_precision, precision_at_5, _10 and _20, all in [0, 1].
    """
    truth = wrong.reindex(samples.index)
    if truth.isna().any():
        raise InfluenceError(
            f"The truth covers {int(truth.notna().sum())} of {len(samples)} samples; expected all of them. "
            "Give the true label of every training sample."
        )
    target = truth.to_numpy(dtype=bool)
    if target.all() or not target.any():
        raise InfluenceError(
            f"{int(target.sum())} of {len(target)} labels are wrong; a ranking can only be judged with both kinds. "
            "Leave this table out."
        )
    parts = [name for name in samples.columns if name.startswith("suspicion_")]
    signs = {name: sign for name, sign in SIGNALS.items() if name in samples} | dict.fromkeys(parts, 1)
    rows = {name: _quality(sign * samples[name].to_numpy(float), target) for name, sign in signs.items()}
    rows["random"] = _quality(np.random.default_rng(seed).random(len(target)), target)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("signal")
    return table.sort_values("auroc", ascending=False)


def _quality(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    from sklearn import metrics  # takes a second to import, which a page need not wait for

    ranked = wrong[np.argsort(-score, kind="stable")]
    return {
        "auroc": float(metrics.roc_auc_score(wrong, score)),
        "average_precision": float(metrics.average_precision_score(wrong, score)),
        **{f"precision_at_{p}": float(ranked[: max(1, len(wrong) * p // 100)].mean()) for p in (5, 10, 20)},
    }
