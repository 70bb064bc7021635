"""Did the repair help? Train again with it and without, and say so with an interval, also when it did not.

    arms (control_arms.py)  x  S paired seeds  ->  trainings, side by side (trainings.py)  ->  test samples, touched
    once groups of samples at several sizes, removed one group at a time  ->  the prediction beside the measurement

The recipe is fixed before the first training; the last epoch counts (or, if the recipe says so, the one of lowest
validation loss). Test labels decide nothing: not the repair, not the recipe, not the epoch.
"""

import platform
from collections.abc import Callable, Sequence
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
from influence_core.repair.candidate_labels import aims, pair_products
from influence_core.repair.repairs import Repair, Version, check_trainable, repaired, suggested
from influence_core.runs.run import Run, open_run
from influence_core.system import atomic
from influence_core.system.processors import cores
from influence_core.system.safe_tables import write_parquet
from influence_core.system.times import utc_now
from influence_core.training.recipe import Recipe
from influence_core.training.recipe import suggested as suggested_recipe
from influence_core.verification import control_arms as compared
from influence_core.verification import measurements as measured
from influence_core.verification import size_search
from influence_core.verification.control_arms import Group, groups_of
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
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """Everything that decides a verification. seeds: how many; groups: how many groups for the scatter, 0 = none."""

    recipe: Recipe
    seeds: int = 5
    arms: tuple[str, ...] = compared.ARMS
    groups: int = 8
    epsilon: float = EPSILON
    workers: int | None = None


def verify(
    run: Run | str | Path,
    repair: Repair | None = None,
    *,
    seeds: int = 5,
    recipe: Recipe | None = None,
    arms: Sequence[str] = compared.ARMS,
    groups: int = 8,
    epsilon: float = EPSILON,
    workers: int | None = None,
    sized: bool = False,
    inputs: Inputs | None = None,
    out: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Train with a repair and without, over paired seeds, and measure what it changed.

    Args:
        run: A finished run, or its folder.
        repair: What to change; default: what the run proposes from its own cut on.
        seeds: Trainings an arm. recipe: How to train; default: recipe.suggested, by model and size.
        arms: Of "nothing", "repair", "random", "oracle", "scrambled"; the oracle needs known true labels.
        groups: Groups of samples to remove for the predicted-beside-measured scatter, one training each.
        epsilon: Strength of the fresh attack, in units of the input.
        workers: Trainings side by side; default: one a processor. Changes no bit of the result.
        sized: For a repair that aims at a gap between groups: find its size on validation samples first.
        inputs: Model and samples, where the run was made from objects in Python.
        out: Folder of the result; default: a new one in RUN/verifications. An unfinished one is continued.

    Raises:
        DataError: the repaired data cannot be trained on; the text says the way out.
        RunError: model or data are not the ones of the run any more.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    report = on_progress or (lambda stage, done, total: None)
    report("inputs", 0, 1)
    here = inputs or reopen(opened)
    report("inputs", 1, 1)
    if not isinstance(here.train, Samples):
        raise DataError("Verifying needs an opened Dataset: use open_dataset or samples_from_arrays.")
    parameters = opened.description["inputs"]["model"]["parameters"]
    plan = Plan(
        recipe or suggested_recipe(parameters, len(here.train)),
        seeds,
        tuple(arms),
        groups,
        epsilon,
        workers,
    )
    chosen = suggested(opened) if repair is None else repair  # a repair of nothing is a repair too
    if sized:
        chosen = size_search.sized(opened, here, chosen.aim, plan.recipe, report)
    check_trainable(repaired(here.train, chosen), needs=np.unique(evaluation(here).labels).tolist())
    folder = Path(out) if out is not None else new_folder(opened)
    folder.mkdir(parents=True, exist_ok=True)
    return _Verifying(opened, here, chosen, plan, folder, report, shared=inputs is not None).go()


@dataclass
class _Verifying:
    """One verification at work."""

    run: Run
    inputs: Inputs
    repair: Repair
    plan: Plan
    folder: Path
    report: Progress
    shared: bool

    def go(self) -> Verification:
        begun = perf_counter()
        versions = self._versions()
        outcomes = self._trained(versions)
        content = self._content(versions, outcomes)
        content["seconds"] = {"arms": round(perf_counter() - begun, 1)}
        self._write(content, versions)
        self._predicted(content, versions, outcomes)
        content["seconds"]["all"] = round(perf_counter() - begun, 1)
        content["state"] = "finished"
        self._write(content, versions)
        return open_verification(self.folder)

    def _versions(self) -> dict[tuple[str, int], Version]:
        """Every arm's version of the training data, by (arm, seed)."""
        truth = self.run.truth()
        names = [name for name in self.plan.arms if name != "oracle" or truth is not None]
        found: dict[tuple[str, int], Version] = {}
        for seed in range(self.plan.seeds):  # seed by seed: what a stop leaves behind is whole comparisons
            for arm in names:
                made = self._arm(arm, seed, truth)
                found[arm, seed] = repaired(self.inputs.train, made)
        return found

    def _arm(self, arm: str, seed: int, truth: pd.Series | None) -> Repair:
        if arm == "repair":
            return self.repair
        if arm == "random":
            return compared.random(self.run, self.repair, truth, seed)
        if arm == "scrambled":
            return compared.scrambled(self.run, self.repair, seed)
        if arm == "oracle" and truth is not None:
            return compared.oracle(self.run, truth)
        if arm == "nothing":
            return compared.nothing(self.run)
        raise DataError(f"No arm is called {arm!r}; expected some of {', '.join(compared.ARMS)}, scrambled.")

    def _trained(self, versions: dict[tuple[str, int], Version]) -> dict[tuple[str, int], Outcome]:
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

    def _content(
        self, versions: dict[tuple[str, int], Version], outcomes: dict[tuple[str, int], Outcome]
    ) -> dict[str, Any]:
        judged = evaluation(self.inputs)
        repair_version = versions.get(("repair", 0)) or repaired(self.inputs.train, self.repair)
        task = self._task("repair", repair_version.samples.labels, repair_version.weights, 0)
        return {
            "format": 1,
            "state": "running",
            "run": self.run.id,
            "made": utc_now(),
            "repair": repair_version.to_json(),
            "recipe": self.plan.recipe.to_json(),
            "seeds": self.plan.seeds,
            "epsilon": self.plan.epsilon,
            "judged_by": "test" if judged is self.inputs.test else "validation",
            "judged_samples": len(judged),
            "classes": list(judged.classes),
            "model": task.key(self.inputs),
            **measured.summary(judged, _by_arm(outcomes), _by_arm(versions), gaps_of(self.run)),
            "inputs": {
                "dataset": self.run.description["inputs"]["dataset"]["fingerprint"],
                "model": self.run.description["inputs"]["model"]["fingerprint"],
            },
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }

    def _predicted(
        self,
        content: dict[str, Any],
        versions: dict[tuple[str, int], Version],
        outcomes: dict[tuple[str, int], Outcome],
    ) -> None:
        """The groups' trainings, every prediction, and the scale that fits them."""
        groups = groups_of(self.run, self.plan.groups, seed=self.plan.recipe.seed)
        given = self.inputs.train.labels
        self.report("predict", 0, 1)
        changes = [
            (arm, seed, v.samples.labels, v.weights)
            for (arm, seed), v in versions.items()
            if arm != "nothing"
        ]
        changes += [(group.name, 0, given, group.weights(len(given))) for group in groups]
        first_order = self._first_order([(labels, weights) for _, _, labels, weights in changes])
        self.report("predict", 1, 1)
        tasks = [self._task("group", given, group.weights(len(given)), 0) for group in groups]
        trained = self._run(tasks, "groups") if tasks else []
        after = [outcomes[arm, seed] for arm, seed in versions if arm != "nothing"] + trained
        judged = evaluation(self.inputs)
        points = []
        for (name, seed, _, _), prediction, outcome in zip(changes, first_order, after, strict=True):
            group = next((g for g in groups if g.name == name), None)
            change = measured.change(judged, outcomes["nothing", seed], outcome)
            points.append(
                {
                    "name": name,
                    "seed": seed,
                    "size": _size(group, versions, name, seed),
                    "predicted": prediction,
                }
                | change
            )
        content |= measured.fidelity(points)

    def _first_order(self, changes: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        """First-order change of the validation loss by each change, in loss per unit of learning rate."""
        given = self.inputs.train.labels
        kept = np.array([(labels == given) for labels, _ in changes])
        asked = np.array([weights != 1 for _, weights in changes])
        rows = [np.flatnonzero(~same | weighed) for same, weighed in zip(kept, asked, strict=True)]
        pairs = sorted(
            {(int(i), int(given[i])) for part in rows for i in part}
            | {
                (int(i), int(labels[i]))
                for (labels, _), part in zip(changes, rows, strict=True)
                for i in part
            }
        )
        direction = aims(self.run, self.inputs, everything=False)[0][1]
        at, under = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
        products = pair_products(self.inputs, at, under, [direction])[:, 0].astype(float)
        known = dict(zip(pairs, products.tolist(), strict=True))
        return [
            sum(known[int(i), int(given[i])] - float(w[i]) * known[int(i), int(labels[i])] for i in part)
            for (labels, w), part in zip(changes, rows, strict=True)
        ]

    def _write(self, content: dict[str, Any], versions: dict[tuple[str, int], Version]) -> None:
        write_parquet(self.repair.changes.reset_index(), self.folder / CHANGES)
        atomic.write_json(self.folder / RESULT, content)


def _size(group: Group | None, versions: dict[tuple[str, int], Version], name: str, seed: int) -> int:
    return len(group.positions) if group is not None else len(versions[name, seed].repair)


def _by_arm(found: dict[tuple[str, int], Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys(arm for arm, _ in found)
    return {name: [value for (arm, _), value in found.items() if arm == name] for name in names}
