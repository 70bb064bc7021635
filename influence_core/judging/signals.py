"""Agreement of the signals, and how many new errors the next samples of each one hold.

A sample is in doubt by a signal when it ranks high in that signal's order (detection.SIGNALS defines which end).

    agreement   Spearman's rank correlation of two orders, in [-1, 1]
    overlap     share of the first k of one order that are among the first k of the other, in [0, 1]
    yield       errors among the next k of an order that are not in the queue already; beside it the expected errors of
                k samples drawn at random from the rest. Even a good signal adds nothing where it repeats the queue
    precision and recall   along each order, with a random order beside them

Errors come from the truth where it is known, otherwise from decisions (relabelled or removed = an error, kept = none).
Decisions cover only the reviewed samples, so their numbers hold for that part alone: `judged` counts these.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.judging.ranks import rank_correlations

CONFIRMING = ("relabel", "remove")


@dataclass(frozen=True, slots=True)
class Yield:
    """The next `looked` samples of a signal: `judged` are judged, `errors` of those are wrong.

    by_chance: errors expected among as many judged samples of the same rest in random order.
    """

    signal: str
    looked: int
    judged: int
    errors: int
    by_chance: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision (k,) and recall (k,) along an order, from its first judged sample to its last."""

    precision: np.ndarray
    recall: np.ndarray


def agreement(doubts: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation (s, s) of every two orders, from doubts (n, s); NaN for a signal that has no order."""
    return pd.DataFrame(rank_correlations(doubts.to_numpy()), index=doubts.columns, columns=doubts.columns)


def overlap(doubts: pd.DataFrame, k: int) -> pd.DataFrame:
    """Share of the first k of one order that are among the first k of another, shape (s, s), symmetric."""
    heads = np.zeros(doubts.shape)
    for place, name in enumerate(doubts):
        heads[_order(doubts[name])[:k], place] = 1
    return pd.DataFrame(
        heads.T @ heads / max(1, min(k, len(doubts))), index=doubts.columns, columns=doubts.columns
    )


def marginal_yield(doubts: pd.DataFrame, queue: np.ndarray, wrong: pd.Series, k: int = 50) -> list[Yield]:
    """The next k of every signal beyond the queue, most errors first.

    Args:
        doubts: (n, s), large = in doubt.
        queue: (n,) bool, the samples that will be reviewed anyway.
        wrong: True, False or missing where the truth is unknown, by the index of `doubts`.
    """
    judged, error = _judged(wrong.reindex(doubts.index))
    rest = judged & ~queue
    rate = float(error[rest].mean()) if rest.any() else 0.0
    yields = []
    for name in doubts:
        order = _order(doubts[name])
        head = order[~queue[order]][:k]
        judged_count = int(judged[head].sum())
        yields.append(Yield(str(name), len(head), judged_count, int(error[head].sum()), rate * judged_count))
    return sorted(yields, key=lambda y: (-y.errors, y.signal))


def curves(doubts: pd.DataFrame, wrong: pd.Series, *, seed: int = 0) -> dict[str, Curve]:
    """Precision and recall of every signal over the judged samples, and of a random order under "random"."""
    judged, error = _judged(wrong.reindex(doubts.index))
    error = error[judged]
    if not error.any():
        return {}
    judged_doubts = doubts[judged].assign(random=np.random.default_rng(seed).random(int(judged.sum())))
    return {str(name): _curve(error[_order(judged_doubts[name])]) for name in judged_doubts}


def decided_errors(decisions: pd.DataFrame, index: pd.Index) -> pd.Series:
    """Errors by people's decisions: True = relabelled or removed, False = kept, missing elsewhere.

    decisions: a column `action`, index sample ids.
    """
    known = pd.Series(decisions["action"]).reindex(index)
    return known.isin(CONFIRMING).astype("boolean").where(known.notna())


def _judged(truth: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Which samples have a known truth, and which of those are wrong, each (n,) bool."""
    judged = truth.notna()
    return judged.to_numpy(dtype=bool), truth.where(judged, False).to_numpy(dtype=bool)


def _order(values: Any) -> np.ndarray:
    return np.argsort(-np.asarray(values, dtype=float), kind="stable")


def _curve(error: np.ndarray) -> Curve:
    hits = np.cumsum(error)
    return Curve(hits / np.arange(1, len(error) + 1), hits / hits[-1])
