"""Verification of a repair: trainings with it and without, compared with an interval, whether it helped or not.

    arms (control_arms.py)  x  S paired seeds  ->  trainings, side by side (trainings.py)  ->  test samples, read once
    groups of samples at several sizes, removed one group at a time  ->  the prediction beside the measurement

The recipe is fixed before the first training. The last epoch counts or, with patience, the one of lowest validation
loss. Test labels decide neither the repair nor the recipe nor the epoch.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from influence_core.data.samples import Samples
from influence_core.errors import DataError
from influence_core.inputs.reopened import Inputs, reopen
from influence_core.judging.decision_gaps import gaps_of
from influence_core.repair.candidate_labels import pair_products, predicted_objectives
from influence_core.repair.repairs import Repair, Version, check_trainable, repaired, suggested
from influence_core.run_files import seals
from influence_core.run_files.writer import only_writer
from influence_core.runs.run import Run, open_run
from influence_core.system import atomic
from influence_core.system.processors import cores
from influence_core.system.report import Report
from influence_core.system.safe_tables import write_parquet
from influence_core.system.times import utc_now
from influence_core.training.recipe import Recipe
from influence_core.training.recipe import suggested as suggested_recipe
from influence_core.verification import control_arms, measurements, size_search
from influence_core.verification.control_arms import groups_of
from influence_core.verification.results import CHANGES, RESULT, Verification, new_folder, open_verification
from influence_core.verification.trainings import EPSILON, Outcome, Task, evaluation, run_all
from influence_core.verification.trainings import FOLDER as TRAININGS

STAGES = (
    ("inputs", "Opening model and data", 0.03),
    ("size", "Finding the size on validation samples", 0.05),
    ("arms", "Training with the repair and without", 0.63),
    ("predict", "Predicting every change", 0.04),
    ("groups", "Training without groups of samples", 0.25),
)


@dataclass(frozen=True)
class Plan:
    """Settings of a verification. seeds: trainings an arm; groups: number of groups for the scatter, 0 = none."""

    recipe: Recipe
    seeds: int = 5
    arms: tuple[str, ...] = control_arms.ARMS
    groups: int = 8
    epsilon: float = EPSILON
    workers: int | None = None

    def __post_init__(self) -> None:
        known = (*control_arms.ARMS, "scrambled")
        if unknown := [arm for arm in self.arms if arm not in known]:
            raise DataError(f"No arm is called {unknown[0]!r}; expected some of {', '.join(known)}.")
        if not {"nothing", "repair"} <= set(self.arms) or self.seeds < 1:
            raise DataError(
                f"The arms {', '.join(self.arms) or '(none)'} with {self.seeds} trainings each cannot be compared; "
                "expected at least the arms nothing and repair, and at least 1 training each."
            )


def verify(
    run: Run | str | Path,
    repair: Repair | None = None,
    *,
    seeds: int = 5,
    recipe: Recipe | None = None,
    arms: Sequence[str] = control_arms.ARMS,
    groups: int = 8,
    epsilon: float = EPSILON,
    workers: int | None = None,
    sized: bool = False,
    inputs: Inputs | None = None,
    out: Path | str | None = None,
    on_progress: Report | None = None,
) -> Verification:
    """Train with a repair and without, over paired seeds, and measure what it changed.

    Args:
        run: A finished run, or its folder.
        repair: What to change; default: the run's suggestions from its own cut on.
        seeds: Trainings an arm. recipe: How to train; default: recipe.suggested, by model and size.
        arms: Of "nothing", "repair", "random", "oracle", "scrambled"; the oracle needs known true labels.
        groups: Number of groups to remove for the scatter of predictions and measurements, one training each.
        epsilon: Strength of the attack, in units of the input.
        workers: Trainings side by side; default: one a processor. Changes no bit of the result.
        sized: For a repair that aims at a gap between groups: choose its size on validation samples first.
        inputs: Model and samples, for a run that was made from objects in Python.
        out: Folder of the result; default: a new one in RUN/verifications. An unfinished one is continued.

    Raises:
        DataError: the repaired data cannot be trained on, or arms that cannot be compared; the message says what to do.
        RunError: model or data are no longer those of the run, or another process works in the folder.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    report = on_progress or (lambda stage, done, total: None)
    report("inputs", 0, 1)
    shared, inputs = inputs is not None, inputs or reopen(opened)
    report("inputs", 1, 1)
    if not isinstance(inputs.train, Samples):
        raise DataError("Verifying needs an opened Dataset: use open_dataset or samples_from_arrays.")
    parameters = opened.description["inputs"]["model"]["parameters"]
    recipe = recipe or suggested_recipe(parameters, len(inputs.train))
    plan = Plan(recipe, seeds, tuple(arms), groups, epsilon, workers)
    repair = suggested(opened) if repair is None else repair  # an empty repair is a repair too
    if sized:
        repair = size_search.sized_repair(opened, inputs, repair.aim, plan.recipe, report)
    check_trainable(repaired(inputs.train, repair), needs=np.unique(evaluation(inputs).labels).tolist())
    folder = Path(out) if out is not None else new_folder(opened)
    with only_writer(folder):
        return _Verifying(opened, inputs, repair, plan, folder, report, shared).verify()


Arm = tuple[str, int]
"""The name of an arm, and a seed."""


@dataclass(frozen=True)
class Change:
    """What one training changed: labels (n,) and weights (n,), compared with "nothing" of the same seed."""

    name: str
    seed: int
    size: int
    labels: np.ndarray
    weights: np.ndarray


@dataclass
class _Verifying:
    """One verification in progress."""

    run: Run
    inputs: Inputs
    repair: Repair
    plan: Plan
    folder: Path
    report: Report
    shared: bool

    def verify(self) -> Verification:
        begun = perf_counter()
        versions = self._versions()
        outcomes = self._trained(versions)
        content = self._content(versions, outcomes)
        content["seconds"] = {"arms": round(perf_counter() - begun, 1)}
        self._write(content)
        self._predicted(content, versions, outcomes)
        content["seconds"]["all"] = round(perf_counter() - begun, 1)
        content["state"] = "finished"
        self._write(content)
        return open_verification(self.folder)

    def _versions(self) -> dict[Arm, Version]:
        """Every arm's version of the training data."""
        truth = self.run.truth()
        return {
            (arm, seed): repaired(self.inputs.train, self._arm(arm, seed, truth))
            for seed in range(self.plan.seeds)  # seed by seed: a stop then leaves whole comparisons behind
            for arm in self.plan.arms
            if arm != "oracle" or truth is not None
        }

    def _arm(self, arm: str, seed: int, truth: pd.Series | None) -> Repair:
        if arm == "random":
            return control_arms.random(self.run, self.repair, truth, seed)
        if arm == "scrambled":
            return control_arms.scrambled(self.run, self.repair, seed)
        if arm == "oracle" and truth is not None:
            return control_arms.oracle(self.run, truth)
        return self.repair if arm == "repair" else control_arms.nothing(self.run)

    def _trained(self, versions: dict[Arm, Version]) -> dict[Arm, Outcome]:
        tasks = [
            self._task(arm, version.samples.labels, version.weights, seed)
            for (arm, seed), version in versions.items()
        ]
        return dict(zip(versions, self._run(tasks, "arms"), strict=True))

    def _task(self, arm: str, labels: np.ndarray, weights: np.ndarray, seed: int) -> Task:
        recipe = replace(self.plan.recipe, seed=self.plan.recipe.seed + seed)
        return Task(arm, labels, weights, recipe, self.plan.epsilon, keep_model=arm == "repair" and not seed)

    def _run(self, tasks: list[Task], stage: str) -> list[Outcome]:
        return run_all(
            self.inputs,
            tasks,
            self.run.path / TRAININGS,
            run_folder=None if self.shared else self.run.path,
            workers=cores() if self.plan.workers is None else self.plan.workers,
            stage=stage,
            on_progress=self.report,
        )

    def _content(self, versions: dict[Arm, Version], outcomes: dict[Arm, Outcome]) -> dict[str, Any]:
        judged, version = evaluation(self.inputs), versions["repair", 0]
        task = self._task("repair", version.samples.labels, version.weights, 0)
        return {
            "format": 1,
            "state": "running",
            "run": self.run.id,
            "made": utc_now(),
            "repair": version.to_json(),
            "recipe": self.plan.recipe.to_json(),
            "seeds": self.plan.seeds,
            "epsilon": self.plan.epsilon,
            "judged_by": "test" if judged is self.inputs.test else "validation",
            "judged_samples": len(judged),
            "classes": list(judged.classes),
            "model": task.key(self.inputs),
            **measurements.summary(judged, _by_arm(outcomes), _by_arm(versions), gaps_of(self.run)),
            "inputs": {
                name: self.run.description["inputs"][name]["fingerprint"] for name in ("dataset", "model")
            },
            "versions": dict(python=platform.python_version(), torch=torch.__version__, numpy=np.__version__),
        }

    def _predicted(
        self, content: dict[str, Any], versions: dict[Arm, Version], outcomes: dict[Arm, Outcome]
    ) -> None:
        """Train without each group, and add the predictions, the measurements and their scale to the content."""
        groups = groups_of(self.run, self.plan.groups, seed=self.plan.recipe.seed)
        given = self.inputs.train.labels
        self.report("predict", 0, 1)
        repairs = [
            Change(arm, seed, len(version.repair), version.samples.labels, version.weights)
            for (arm, seed), version in versions.items()
            if arm != "nothing"
        ]
        removals = [Change(g.name, 0, len(g.positions), given, g.weights(len(given))) for g in groups]
        changes = [*repairs, *removals]
        predictions = self._first_order(changes)
        self.report("predict", 1, 1)
        tasks = [self._task("group", change.labels, change.weights, 0) for change in removals]
        after = [outcomes[change.name, change.seed] for change in repairs]
        after += self._run(tasks, "groups") if tasks else []
        judged = evaluation(self.inputs)
        points = [
            {
                "name": change.name,
                "seed": change.seed,
                "size": change.size,
                "predicted": prediction,
                **measurements.change(judged, outcomes["nothing", change.seed], outcome),
            }
            for change, prediction, outcome in zip(changes, predictions, after, strict=True)
        ]
        content |= measurements.fidelity(points)

    def _first_order(self, changes: Sequence[Change]) -> list[float]:
        """First-order change of the validation loss by each change, in loss per unit of learning rate."""
        given, classes = self.inputs.train.labels, len(self.inputs.train.classes)
        rows = [np.flatnonzero((change.labels != given) | (change.weights != 1)) for change in changes]

        def pairs(part: np.ndarray, labels: np.ndarray) -> np.ndarray:
            return part * classes + labels[part]  # a sample under a label, as one number

        changed = list(zip(changes, rows, strict=True))
        swept = np.unique([pair for c, part in changed for y in (given, c.labels) for pair in pairs(part, y)])
        direction = predicted_objectives(self.run, self.inputs, everything=False)[0][1]
        positions, labels = np.divmod(swept.astype(np.int64), classes)
        products = pair_products(self.inputs, positions, labels, [direction])[:, 0].astype(float)

        def product(part: np.ndarray, labels: np.ndarray) -> np.ndarray:
            return products[np.searchsorted(swept, pairs(part, labels))]

        return [
            sum((product(part, given) - c.weights[part].astype(float) * product(part, c.labels)).tolist())
            for c, part in changed
        ]

    def _write(self, content: dict[str, Any]) -> None:
        write_parquet(self.repair.changes.reset_index(), self.folder / CHANGES)
        content["repair"]["changes"] = atomic.sha256(self.folder / CHANGES)
        seals.write_json(self.folder / RESULT, content)


def _by_arm(values: dict[Arm, Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys(arm for arm, _ in values)
    return {name: [value for (arm, _), value in values.items() if arm == name] for name in names}
