"""Removal that narrows a gap between groups: of the samples whose influence hurts both the gap and accuracy.

A training step on them widens the gap AND raises the validation loss, so that no trade-off is predicted; those that
widen it most come first (Yang, Yue, Chen, Liu, TMLR 2026). How many is a matter of scale, which first-order influence
does not have (predicted_effects.py): verification/size_search.py measures it.

Measured, and what else was tried: docs/verification.md, "A gap between groups".
"""

import numpy as np

from influence_core.errors import RunError
from influence_core.judging.decision_gaps import KINDS, DecidedGap, gaps_of
from influence_core.repair.repairs import Repair, leaving_out
from influence_core.run_files.tables import RunTables

SIZE = 0.03
"""Share of the training samples to remove where no size is searched."""
SIZES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08)
"""Shares that the search of a size trains with."""
ENOUGH = 0.4
"""Share of the gap by which a size must narrow it, on validation samples; the smallest such size is taken."""
DEAREST = 0.005
"""Most accuracy that a size may cost, as a fraction, on validation samples."""


def measured_gaps(run: RunTables) -> list[str]:
    """Names of the gaps between groups that this run measured influence on.

    The kind whose size is known best comes first: demographic parity, which counts every sample.
    """
    gaps = [gap for gap in gaps_of(run) if f"influence_{gap.objective}" in run.samples]
    return [gap.objective for gap in sorted(gaps, key=lambda gap: KINDS.index(gap.kind))]


def narrowing(run: RunTables, objective: str | None = None, *, size: float = SIZE) -> Repair:
    """Remove the samples that widen a gap most among those that also hurt accuracy.

    Args:
        objective: A fairness objective of the run, such as "fairness_sex_demographic_parity"; default: its first.
        size: How many, as a share of the training samples; fewer where fewer hurt both.

    Raises:
        RunError: the run measured no such gap, or not the influence on validation loss.
    """
    gap = wanted_gap(run, objective)
    removed = hurting_both(run, gap.objective)[: round(size * len(run.samples))]
    name = f"the {len(removed):,} samples that widen the {gap.column} gap most ({gap.words})"
    return leaving_out(run, run.samples.index[removed].tolist(), name=name, aim=gap.objective)


def hurting_both(run: RunTables, objective: str) -> np.ndarray:
    """Positions of the samples that widen the gap and raise the validation loss, strongest widening first."""
    gap = run.samples[f"influence_{objective}"].to_numpy(float)
    utility = run.samples["influence_utility"].to_numpy(float)
    order = np.argsort(gap, kind="stable")
    return order[(gap[order] < 0) & (utility[order] < 0)]


def wanted_gap(run: RunTables, objective: str | None) -> DecidedGap:
    """The gap of an objective of the run, or of its first; RunError where the run measured no such gap."""
    objectives = measured_gaps(run)
    wanted = objectives[0] if objective is None and objectives else objective
    if wanted not in objectives or "influence_utility" not in run.samples:
        raise RunError(
            f"The run {run.name} has not measured influence on both {objective or 'a gap between groups'} and "
            f"validation loss; it has {', '.join(objectives) or 'no gap at all'}. Measure it on the Fairness page, or "
            "analyse with --objectives utility fairness:COLUMN:demographic_parity."
        )
    return next(gap for gap in gaps_of(run) if gap.objective == wanted)
