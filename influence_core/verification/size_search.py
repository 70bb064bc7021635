"""Search for the size of a removal that narrows a gap, by training: first-order influence has no absolute scale.

Every size of gap_repair.SIZES is trained and judged on the validation samples; test samples decide nothing. Among the
sizes that cost at most DEAREST of accuracy, the smallest one that narrows the gap by ENOUGH is taken, or else the one
that narrows it most.
"""

from dataclasses import replace

import numpy as np

from influence_core.data.samples import Samples
from influence_core.inputs.reopened import Inputs
from influence_core.judging.decision_gaps import DecidedGap, level
from influence_core.repair.gap_repair import DEAREST, ENOUGH, SIZES, narrowing, wanted_gap
from influence_core.repair.repairs import Repair, repaired
from influence_core.runs.run import Run
from influence_core.system.report import Report
from influence_core.training.recipe import Recipe
from influence_core.verification.trainings import FOLDER, Task, run_all

SEEDS = 2


def sized_repair(
    run: Run,
    inputs: Inputs,
    objective: str | None,
    recipe: Recipe,
    on_progress: Report,
) -> Repair:
    """The repair of the size chosen on validation samples; trains len(SIZES) + 1 models, SEEDS times."""
    gap = wanted_gap(run, objective)
    repairs = [narrowing(run, gap.objective, size=size) for size in SIZES]
    given = inputs.train.labels
    weights = [np.ones(len(given), np.float32), *(repaired(inputs.train, one).weights for one in repairs)]
    tasks = [
        Task("size", given, row, replace(recipe, seed=recipe.seed + seed), 0.0)
        for row in weights
        for seed in range(SEEDS)
    ]
    outcomes = run_all(
        replace(inputs, test=None),  # without test samples, trainings are judged on validation samples
        tasks,
        run.path / FOLDER,
        run_folder=None,
        workers=1,
        stage="size",
        on_progress=on_progress,
    )
    answers = [outcome.probabilities for outcome in outcomes]
    by_size = [answers[start : start + SEEDS] for start in range(0, len(answers), SEEDS)]
    return repairs[best_size(gap, inputs.val, by_size)]


def best_size(gap: DecidedGap, val: Samples, answers: list[list[np.ndarray]]) -> int:
    """Index of the chosen size; `answers`: probabilities (m, c) of each seed, without a removal first, then each size.

    0, the smallest, if every size costs too much accuracy.
    """
    wide = np.array([level(gap, val, tables) for tables in answers])
    right = np.array([np.mean([table.argmax(1) == val.labels for table in tables]) for tables in answers])
    narrowed = 1 - wide[1:] / max(wide[0], 1e-9)
    cheap = right[1:] >= right[0] - DEAREST
    if not cheap.any():
        return 0
    enough = np.flatnonzero(cheap & (narrowed >= ENOUGH))
    return int(enough[0]) if len(enough) else int(np.where(cheap, narrowed, -np.inf).argmax())
