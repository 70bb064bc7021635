"""Do the signals say the same, and what would the next fifty of each one add?

A sample is in doubt by a signal when it stands high in that signal's order (evaluation.SIGNALS knows which end).
    agreement   Spearman's rank correlation of two orders, in [-1, 1]
    overlap     share of the first k of one order that are among the first k of the other, in [0, 1]
    yield       errors among the next k of an order that the queue does not hold already; beside it what k samples drawn
                at random from the rest would give. A signal that repeats the queue adds nothing, however good it is
    precision and recall   along each order, with a random order beside them
What is an error comes from the truth where it is known, else from decisions (relabelled or removed = an error, kept =
none). Decisions cover what somebody looked at, so their numbers hold for that part alone: `known` says how many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

CONFIRMING = ("relabel", "remove")


@dataclass(frozen=True, slots=True)
class Yield:
    """What the next `looked` samples of a signal hold: `known` of them are judged, `errors` of those are wrong.

    by_chance: errors expected among as many judged samples of the same rest in random order.
    """

    signal: str
    looked: int
    known: int
    errors: int
    by_chance: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision (k,) and recall (k,) along an order, from its first judged sample to its last."""

    precision: np.ndarray
    recall: np.ndarray


def agreement(doubts: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of every two orders, from doubts (n, s), large = in doubt. Shape (s, s).

    A signal that is the same for all samples has no order: its correlations are NaN.
    """
    ranks = doubts.rank().to_numpy()
    ranks = ranks - ranks.mean(0)
    length = np.linalg.norm(ranks, axis=0)
    length[length == 0] = np.nan
    return pd.DataFrame((ranks / length).T @ (ranks / length), index=doubts.columns, columns=doubts.columns)


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
        queue: (n,) bool, the samples that are looked at anyway.
        wrong: True, False or missing where nobody knows, by the index of `doubts`.
    """
    known = wrong.reindex(doubts.index)
    judged, error = _judged(known)
    rest = judged & ~queue
    rate = float(error[rest].mean()) if rest.any() else 0.0
    found = []
    for name in doubts:
        order = _order(doubts[name])
        head = order[~queue[order]][:k]
        seen = int(judged[head].sum())
        found.append(Yield(str(name), len(head), seen, int(error[head].sum()), rate * seen))
    return sorted(found, key=lambda y: (-y.errors, y.signal))


def curves(doubts: pd.DataFrame, wrong: pd.Series, *, seed: int = 0) -> dict[str, Curve]:
    """Precision and recall of every signal over the judged samples, and of a random order under "random"."""
    known = wrong.reindex(doubts.index)
    judged, error = _judged(known)
    error = error[judged]
    if not error.any():
        return {}
    among = doubts[judged].assign(random=np.random.default_rng(seed).random(int(judged.sum())))
    return {str(name): _curve(error[_order(among[name])]) for name in among}


def decided_errors(decisions: Mapping[str, str | None], index: pd.Index) -> pd.Series:
    """What people found: True where they relabelled or removed, False where they kept, missing elsewhere."""
    actions = [decisions.get(str(sample)) for sample in index]
    found = [None if action is None else action in CONFIRMING for action in actions]
    return pd.Series(found, index=index, dtype="boolean")


def _judged(known: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Which samples somebody knows about, and which of those are wrong, each (n,) bool."""
    judged = known.notna().to_numpy(dtype=bool)
    return judged, np.array(
        [bool(value) if seen else False for value, seen in zip(known, judged, strict=True)]
    )


def _order(values: Any) -> np.ndarray:
    return np.argsort(-np.asarray(values, dtype=float), kind="stable")


def _curve(error: np.ndarray) -> Curve:
    hits = np.cumsum(error)
    return Curve(hits / np.arange(1, len(error) + 1), hits / hits[-1])
