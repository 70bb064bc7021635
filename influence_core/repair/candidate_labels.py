"""The influence of samples in doubt under other labels, by one exact sweep over (sample, candidate label) pairs.

The flagged samples are swept once under their given label and under every candidate, against the directions of all
objectives at once: k objectives and c labels cost s x c rows, not k sweeps. Directions are those of the run's own
objectives, and one for each class and each group of the validation samples: their mean validation loss. The sweep
covers all samples in doubt, those with a decision, and some random ones of every class as a yardstick.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from influence_core.data.samples import Samples
from influence_core.engine.sweep import Direction, sweep
from influence_core.errors import DataError, InfluenceError
from influence_core.inputs.reopened import Inputs
from influence_core.judging.group_levels import FEWEST, MOST_LEVELS, levels
from influence_core.objectives import Gap, Objective, WorstGroup, objective_gradient, resolved
from influence_core.repair.label_influence import (
    FLOOR,
    FOLDER,
    Advice,
    PredictedObjective,
    advice_of,
    candidate_labels,
    positions_of,
    write_advice,
)
from influence_core.run_files.tables import RunTables
from influence_core.run_files.writer import only_writer
from influence_core.system.report import Report

MOST_FLAGGED = 3000
REFERENCE = 20
"""Random samples of each given label, for the comparison with random batches."""
FULL = 10
"""Most classes for which every label is a candidate."""
CANDIDATES = 4
"""Candidates for more classes: given, suggested, and the most probable others."""


def prepare(
    run: RunTables, inputs: Inputs, *, also: tuple[str, ...] = (), on_progress: Report | None = None
) -> Advice:
    """Sweep the samples in doubt, and those in `also`, under their candidate labels; store the result by the run.

    Raises:
        RunError: another process predicts for this run.
    """
    with only_writer(run.path / FOLDER):
        advice = _prepared(run, inputs, also, on_progress)
        write_advice(run, advice)
    return advice


def _prepared(run: RunTables, inputs: Inputs, also: tuple[str, ...], on_progress: Report | None) -> Advice:
    flagged, reference = _flagged_and_reference(run, also)
    positions = np.concatenate([flagged, reference])
    measured = predicted_objectives(run, inputs)
    classes = len(run.classes)
    most = classes if classes <= FULL else CANDIDATES
    pairs = [
        (row, position, label)
        for row, position in enumerate(positions)
        for label in candidate_labels(run, position, most)
    ]
    rows, sample_positions, labels = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    products = np.full((len(positions), classes, len(measured)), np.nan, np.float32)
    directions = [direction for _, direction in measured]
    products[rows, labels] = pair_products(
        inputs, sample_positions, labels, directions, on_progress=on_progress
    )
    return advice_of(run, tuple(aim for aim, _ in measured), positions, products, len(flagged))


class Pairs(Dataset):
    """Training samples under labels of choice: item r is (input of positions[r], labels[r])."""

    def __init__(self, samples: Samples, positions: np.ndarray, labels: np.ndarray) -> None:
        self.samples, self.positions, self.labels = samples, positions, labels
        self._last: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        position = int(self.positions[row])
        if self._last is None or self._last[0] != position:  # candidates of one sample are consecutive
            self._last = position, self.samples[position][0]
        return self._last[1], int(self.labels[row])


def predicted_objectives(
    run: RunTables, inputs: Inputs, *, everything: bool = True
) -> list[tuple[PredictedObjective, Direction]]:
    """The objectives that can be predicted for this run, each with its direction: its own, then its classes and groups.

    An objective from a user's own code has no direction without that code and is left out here; predictions for it
    cover removals only (predicted_effects.py reads its column).
    """
    with_direction = []
    meanings = run.description.get("columns", {})
    for column in [str(column) for column in run.samples if str(column).startswith("influence_")]:
        name = column.removeprefix("influence_")
        try:
            objective = objective_of(run, name)
            direction = objective_gradient(inputs.model, inputs.val, objective, loss=inputs.loss)
        except InfluenceError:
            continue
        title = str(meanings.get(column, {}).get("target") or name)
        with_direction.append((PredictedObjective(name, "run", title), direction))
    if everything:
        with_direction += [
            (aim, objective_gradient(inputs.model, part, "utility", loss=inputs.loss))
            for aim, part in parts_of(inputs.val)
        ]
    return with_direction


def objective_of(run: RunTables, name: str) -> str | Objective:
    """The objective behind a column influence_<name>: gaps by their entry in run.json, others by their name."""
    facts = run.description.get("objectives", {}).get(name, {})
    if "column" in facts:
        column, kind, positive = facts["column"], facts.get("kind"), facts.get("positive") or []
        choices = [Gap(column, kind, label) for label in (None, *positive)] if kind else [WorstGroup(column)]
        return next((one for one in choices if one.name == name), name)
    return next((one for one in resolved(["utility:class"], run.classes) if one.name == name), name)


def parts_of(val: Samples) -> list[tuple[PredictedObjective, Samples]]:
    """The validation samples of each class and of each group that has enough samples."""
    parts = []
    for number, name in enumerate(val.classes):
        members = np.flatnonzero(val.labels == number)
        if len(members) >= FEWEST:
            parts.append(
                (PredictedObjective(f"class {name}", "class", f"loss on class {name}"), val.select(members))
            )
    for column in val.groups.columns:
        members_by_level = levels(val.groups, str(column))
        for level, members in members_by_level.items() if len(members_by_level) <= MOST_LEVELS else ():
            title = f"loss where {column} is {level}"
            parts.append((PredictedObjective(f"{column} = {level}", "group", title), val.select(members)))
    return parts


def pair_products(
    inputs: Inputs,
    positions: np.ndarray,
    labels: np.ndarray,
    directions: Sequence[Direction],
    *,
    on_progress: Report | None = None,
    stage: str = "candidates",
) -> np.ndarray:
    """Influence of each (training sample, label) pair on each objective, exactly: (r, k) float32, positive = helpful.

    Args:
        inputs: Model and samples of the run.
        positions, labels: (r,) rows of the training samples, and the label each is taken under.
        directions: k objective gradients.
    """
    if not isinstance(inputs.train, Samples):
        raise DataError(
            f"The training samples are a {type(inputs.train).__name__}; repairs need an opened Dataset, whose labels "
            "can be replaced: use open_dataset or samples_from_arrays."
        )
    if not len(positions):
        return np.zeros((0, len(directions)), np.float32)
    with inputs.lock:
        swept = sweep(
            inputs.model,
            Pairs(inputs.train, positions, labels),
            directions=list(directions),
            sketch=0,
            loss=inputs.loss,
            on_progress=(lambda _, done, total: on_progress(stage, done, total)) if on_progress else None,
        )
    return swept.products.numpy()


def _flagged_and_reference(run: RunTables, also: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the samples in doubt and in `also`, and of random ones of each given label."""
    suspicion = run.samples["suspicion"].to_numpy(float)
    flagged = np.argsort(-suspicion, kind="stable")[: min(MOST_FLAGGED, int((suspicion >= FLOOR).sum()))]
    flagged = np.unique(np.concatenate([flagged, positions_of(run, also)])).astype(np.int64)
    rest = np.setdiff1d(np.arange(len(suspicion)), flagged)
    generator = np.random.default_rng(run.description.get("seed") or 0)
    labels = run.samples["label"].to_numpy()
    parts = [rest[labels[rest] == name] for name in run.classes]
    drawn = [generator.choice(part, min(REFERENCE, len(part)), replace=False) for part in parts if len(part)]
    return flagged, np.concatenate([*drawn, np.zeros(0, np.int64)]).astype(np.int64)
