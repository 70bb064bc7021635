"""Which samples are removed to narrow a gap between groups, and how many?

Removed are samples that hurt both: by their influence a training step on them widens the gap AND raises the validation
loss, so that no trade-off is predicted; those that widen it most come first (Yang, Yue, Chen, Liu, TMLR 2026). How many
is a matter of scale, which first-order influence does not have (predicted_effects.py), so `sized` measures it: a few
sizes are trained and judged on the validation samples, and the smallest one that narrows the gap by 40 % is taken, or
the one that narrows it most, among those that cost at most half a point of accuracy there. Test samples decide nothing.

On three other drawings of 6,000 rows of Adult (3 seeds, predicted shares of `>50K` of women and men) the gap narrowed
on test as on validation, within 8 hundredths of it for every size; 200 to 260 samples narrowed it by 28 to 37 % at 0.2
to 0.5 points of accuracy. Samples that widen it whether they hurt accuracy or not narrowed it by 17 % where as many of
these did by 43 %, relabelling by 9 % for a whole point. An end that needs no training, a fixed share of all influence
that widens the gap, was tried first and dropped: the same share narrowed it by 20 to 60 %, and on the shipped sample,
for equalized odds, it cost 1.4 points of test accuracy.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from influence_core.errors import RunError
from influence_core.judging import decision_gaps as decided_gaps
from influence_core.judging.decision_gaps import KINDS, DecidedGap, gaps_of
from influence_core.repair.repairs import TOOL, Repair, changes_of, repaired
from influence_core.run_files.tables import Run
from influence_core.training.recipe import Recipe

if TYPE_CHECKING:
    from influence_core.data.samples import Samples
    from influence_core.inputs.reopened import Inputs
    from influence_core.verification.trainings import Outcome

SIZES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08)  # of the training samples
SIZE = 0.03
ENOUGH, DEAREST = 0.4, 0.005  # narrowed by, at no more accuracy than; on validation samples
SEEDS = 2

OnProgress = Callable[[str, int, int], None]


def fairness_objectives(run: Run) -> list[str]:
    """The gaps between groups this run measured influence on; first the kind whose size is known best, as it counts
    every sample."""
    found = [gap for gap in gaps_of(run) if f"influence_{gap.objective}" in run.samples]
    return [gap.objective for gap in sorted(found, key=lambda gap: KINDS.index(gap.kind))]


def narrowing(run: Run, objective: str | None = None, *, size: float = SIZE) -> Repair:
    """Remove the samples that widen a gap most among those that also hurt accuracy.

    Args:
        objective: A fairness objective of the run, such as "fairness_sex_demographic_parity"; default: its first.
        size: How many, as a share of the training samples; fewer where fewer hurt both.

    Raises:
        RunError: the run measured no such gap, or not the influence on validation loss.
    """
    gap = _gap(run, objective)
    chosen, labels = hurting_both(run, gap.objective)[: round(size * len(run.samples))], run.samples["label"]
    rows = [(str(labels.index[i]), "remove", str(labels.iloc[i]), None, 0.0, TOOL) for i in chosen]
    name = f"the {len(rows):,} samples that widen the {gap.column} gap most ({gap.words})"
    return Repair(name, run.id, changes_of(rows), aim=gap.objective)


def hurting_both(run: Run, objective: str) -> np.ndarray:
    """Positions of the samples that widen the gap and raise the validation loss, those that widen it most first."""
    gap = run.samples[f"influence_{objective}"].to_numpy(float)
    utility = run.samples["influence_utility"].to_numpy(float)
    order = np.argsort(gap, kind="stable")
    return order[(gap[order] < 0) & (utility[order] < 0)]


def sized(
    run: Run, inputs: "Inputs", objective: str | None, recipe: Recipe, on_progress: OnProgress
) -> Repair:
    """The repair of the size that validation samples ask for; trains len(SIZES) + 1 models, SEEDS times."""
    # here, because a page that only proposes need not wait for torch
    from influence_core.verification.trainings import FOLDER, Task, run_all

    gap = _gap(run, objective)
    held = replace(inputs, test=None)  # then trainings are judged on validation samples
    repairs = [narrowing(run, gap.objective, size=size) for size in SIZES]
    given = inputs.train.labels
    weights = [np.ones(len(given), np.float32), *(repaired(inputs.train, one).weights for one in repairs)]
    tasks = [
        Task("size", given, row, replace(recipe, seed=recipe.seed + seed), 0.0)
        for row in weights
        for seed in range(SEEDS)
    ]
    folder = run.path / FOLDER
    found = run_all(held, tasks, folder, run_folder=None, workers=1, stage="size", on_progress=on_progress)
    outcomes = [found[start : start + SEEDS] for start in range(0, len(found), SEEDS)]
    return repairs[chosen_size(gap, inputs.val, outcomes)]


def chosen_size(gap: DecidedGap, val: "Samples", outcomes: list[list["Outcome"]]) -> int:
    """Which of the sizes, given what models answered without any removal (first) and with each."""
    wide = np.array([decided_gaps.level(gap, val, each) for each in outcomes])
    right = np.array([np.mean([o.probabilities.argmax(1) == val.labels for o in each]) for each in outcomes])
    narrowed = 1 - wide[1:] / max(wide[0], 1e-9)
    cheap = right[1:] >= right[0] - DEAREST
    if not cheap.any():
        return 0
    enough = np.flatnonzero(cheap & (narrowed >= ENOUGH))
    return int(enough[0]) if len(enough) else int(np.where(cheap, narrowed, -np.inf).argmax())


def _gap(run: Run, objective: str | None) -> DecidedGap:
    known = fairness_objectives(run)
    wanted = known[0] if objective is None and known else objective
    if wanted not in known or "influence_utility" not in run.samples:
        raise RunError(
            f"The run {run.name} has no influence on {objective or 'a gap between groups'} beside validation loss; it "
            f"has {', '.join(known) or 'no gap at all'}. Measure it on the Fairness page, or analyse with "
            "--objectives utility fairness:COLUMN:demographic_parity."
        )
    return next(gap for gap in gaps_of(run) if gap.objective == wanted)
