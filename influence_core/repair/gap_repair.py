"""The removal that narrows a gap between groups: of samples that by their influence hurt both the gap and accuracy.

By their influence a training step on them widens the gap AND raises the validation loss, so that no trade-off is
predicted; those that widen it most come first (Yang, Yue, Chen, Liu, TMLR 2026). How many is a matter of scale, which
first-order influence does not have (predicted_effects.py): verification/size_search.py measures it.

On three other drawings of 6,000 rows of Adult (3 seeds, predicted shares of `>50K` of women and men) the gap narrowed
on test as on validation, within 8 hundredths of it for every size; 200 to 260 samples narrowed it by 28 to 37 % at 0.2
to 0.5 points of accuracy. Samples that widen it whether they hurt accuracy or not narrowed it by 17 % where as many of
these did by 43 %, relabelling by 9 % for a whole point. An end that needs no training, a fixed share of all influence
that widens the gap, was tried first and dropped: the same share narrowed it by 20 to 60 %, and on the shipped sample,
for equalized odds, it cost 1.4 points of test accuracy.
"""

import numpy as np

from influence_core.errors import RunError
from influence_core.judging.decision_gaps import KINDS, DecidedGap, gaps_of
from influence_core.repair.repairs import TOOL, Repair, changes_of
from influence_core.run_files.tables import RunTables

SIZE = 0.03
"""Share of the training samples that is removed where no size is searched."""
SIZES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08)
"""Shares that the search of a size trains."""
ENOUGH = 0.4
"""Share of the gap by which the smallest size that is taken narrows it, on validation samples."""
DEAREST = 0.005
"""Accuracy that a size may cost, a share of one, on validation samples."""


def fairness_objectives(run: RunTables) -> list[str]:
    """The gaps between groups this run measured influence on; first the kind whose size is known best, as it counts
    every sample."""
    found = [gap for gap in gaps_of(run) if f"influence_{gap.objective}" in run.samples]
    return [gap.objective for gap in sorted(found, key=lambda gap: KINDS.index(gap.kind))]


def narrowing(run: RunTables, objective: str | None = None, *, size: float = SIZE) -> Repair:
    """Remove the samples that widen a gap most among those that also hurt accuracy.

    Args:
        objective: A fairness objective of the run, such as "fairness_sex_demographic_parity"; default: its first.
        size: How many, as a share of the training samples; fewer where fewer hurt both.

    Raises:
        RunError: the run measured no such gap, or not the influence on validation loss.
    """
    gap = wanted_gap(run, objective)
    chosen, labels = hurting_both(run, gap.objective)[: round(size * len(run.samples))], run.samples["label"]
    rows = [(str(labels.index[i]), "remove", str(labels.iloc[i]), None, 0.0, TOOL) for i in chosen]
    name = f"the {len(rows):,} samples that widen the {gap.column} gap most ({gap.words})"
    return Repair(name, run.id, changes_of(rows), aim=gap.objective)


def hurting_both(run: RunTables, objective: str) -> np.ndarray:
    """Positions of the samples that widen the gap and raise the validation loss, those that widen it most first."""
    gap = run.samples[f"influence_{objective}"].to_numpy(float)
    utility = run.samples["influence_utility"].to_numpy(float)
    order = np.argsort(gap, kind="stable")
    return order[(gap[order] < 0) & (utility[order] < 0)]


def wanted_gap(run: RunTables, objective: str | None) -> DecidedGap:
    """The gap of an objective of the run, or of its first; RunError where the run measured no such gap."""
    known = fairness_objectives(run)
    wanted = known[0] if objective is None and known else objective
    if wanted not in known or "influence_utility" not in run.samples:
        raise RunError(
            f"The run {run.name} has no influence on {objective or 'a gap between groups'} beside validation loss; it "
            f"has {', '.join(known) or 'no gap at all'}. Measure it on the Fairness page, or analyse with "
            "--objectives utility fairness:COLUMN:demographic_parity."
        )
    return next(gap for gap in gaps_of(run) if gap.objective == wanted)
