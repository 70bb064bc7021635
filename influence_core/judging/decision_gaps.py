"""Gaps between groups in a model's decisions, for each fairness objective of a run.

Influence is about soft gaps (loss, probability). The familiar ones are hard: the share predicted positive, largest
minus smallest group, among all samples (demographic parity), among those labelled positive (equal opportunity), or the
mean of the gaps among those labelled positive and the others (equalized odds). Hardt, Price, Srebro, NeurIPS 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_core.judging.group_levels import FEWEST, levels
from influence_core.judging.intervals import Estimate
from influence_core.judging.paired import bootstrapped
from influence_core.run_files.tables import RunTables

if TYPE_CHECKING:  # these bring torch, which a page that only shows gaps need not wait for
    from influence_core.data.samples import Samples

KINDS = ("demographic_parity", "equalized_odds", "equal_opportunity")


@dataclass(frozen=True)
class DecidedGap:
    """The gap of one fairness objective: its column, its kind, and the number of the positive class."""

    objective: str
    column: str
    kind: str
    positive: int

    @property
    def words(self) -> str:
        return self.kind.replace("_", " ")

    @property
    def metric(self) -> str:
        """Its name in a verification; smaller is fairer."""
        return f"gap {self.column}, {self.words}"


def gaps_of(run: RunTables) -> list[DecidedGap]:
    """The gaps with one positive class; the macro form and the worst group's loss have no such rate."""
    gaps = []
    for name, facts in run.description.get("objectives", {}).items():
        positive = facts.get("positive") or []
        if facts.get("kind") in KINDS and len(positive) == 1 and positive[0] in run.classes:
            number = run.classes.index(positive[0])
            gaps.append(DecidedGap(name, str(facts["column"]), str(facts["kind"]), number))
    return gaps


def measurable(gap: DecidedGap, judged: "Samples") -> bool:
    """Whether at least two groups have enough samples in every comparison."""
    return gap.column in judged.groups and all((c >= 0).any() for c in _comparisons(gap, judged))


def level(gap: DecidedGap, judged: "Samples", probabilities: Sequence[np.ndarray]) -> float:
    """The size of the gap, a fraction, in rates that are means over the trainings; probabilities (m, c) of each."""
    return _size(_positive_decisions(gap, probabilities).mean(axis=0), _comparisons(gap, judged))


def difference(
    gap: DecidedGap, judged: "Samples", base: Sequence[np.ndarray], trained: Sequence[np.ndarray]
) -> Estimate:
    """Change of the gap from `base` to `trained`; negative = narrower.

    Both hold probabilities (m, c) of one training a seed. The interval is a bootstrap over seeds and samples.
    """
    comparisons = _comparisons(gap, judged)
    before, after = _positive_decisions(gap, base), _positive_decisions(gap, trained)

    def statistic(seeds: np.ndarray, rows: np.ndarray) -> float:
        drawn = [codes[rows] for codes in comparisons]
        sizes = [_size(table[seeds].mean(axis=0)[rows], drawn) for table in (after, before)]
        return sizes[0] - sizes[1]

    return bootstrapped(statistic, len(base), len(judged))


def _positive_decisions(gap: DecidedGap, probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """(S, m) float: 1 where the positive class is predicted."""
    return np.stack([(table.argmax(1) == gap.positive).astype(float) for table in probabilities])


def _comparisons(gap: DecidedGap, judged: "Samples") -> list[np.ndarray]:
    """The group of each sample (m,) in each comparison; -1: takes no part."""
    groups, codes = levels(judged.groups, gap.column), np.full(len(judged), -1)
    for code, members in enumerate(groups.values()):
        codes[members] = code
    positive = judged.labels == gap.positive
    parts = {"equal_opportunity": [positive], "equalized_odds": [positive, ~positive]}
    comparisons = []
    for part in parts.get(gap.kind, [np.ones(len(judged), dtype=bool)]):
        inside = np.where(part, codes, -1)
        enough = np.bincount(inside[inside >= 0], minlength=len(groups)) >= FEWEST
        kept = (inside >= 0) & enough[inside] & (enough.sum() >= 2)
        comparisons.append(np.where(kept, inside, -1))
    return comparisons


def _size(decisions: np.ndarray, comparisons: list[np.ndarray]) -> float:
    """Largest minus smallest group rate, mean over the comparisons."""
    sizes = []
    for codes in comparisons:
        inside = codes >= 0
        counts = np.bincount(codes[inside])
        rates = np.bincount(codes[inside], weights=decisions[inside])[counts > 0] / counts[counts > 0]
        sizes.append(rates.max() - rates.min() if len(rates) else np.nan)
    return float(np.mean(sizes))
