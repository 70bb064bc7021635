"""First-order predictions of what a repair would do, and of the classes and groups that would get worse.

Removing sample i takes its training step away, so an objective f (a loss: lower is better) changes by about
    removed:    +influence_i(label)                               times s
    relabelled: +influence_i(label) - influence_i(new label)      times s
    weight w:   +(1 - w) influence_i(label)                       times s
and a batch by the sum. influence = <g_i, grad f> at the trained weights (candidate_labels.py). s is the effect of one
unit of it over a whole training, a number of the size of a learning rate that no formula gives reliably for AdamW.

So there are two kinds of prediction. Before any verification: the sign, and how many of 1,000 random batches of the
same size, class mix and actions have a worse prediction; this needs no scale. After one: s is fitted to what retraining
measured (calibration), and the prediction is in units of loss and points of accuracy, with the quality of the fit
beside it. Ignored: curvature, interactions between samples, and the path of training; benchmarks/fidelity/fidelity.py
measures how much that costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.repair.label_influence import FLOOR, Advice
from influence_core.repair.repairs import Repair, rows_of, suggested_action
from influence_core.run_files.tables import RunTables

BATCHES = 1000


@dataclass(frozen=True)
class Effects:
    """The predicted effects of a repair.

    table: one row an objective, index name; columns kind, title, first_order (change of the objective in loss per
        unit of learning rate; positive = the loss rises), better_than_random (share of random batches of the same
        size, class mix and actions that would do worse; 0.5 = no better than chance), loss_change (calibrated, in
        nats; missing before a verification).
    accuracy_change: calibrated, a fraction; None before a verification.
    covered, requested: number of changes that the prediction includes, and of all changes.
    """

    table: pd.DataFrame
    accuracy_change: float | None
    covered: int
    requested: int

    @property
    def worsened(self) -> pd.DataFrame:
        """The classes and groups whose loss is predicted to rise, strongest first: shown before anything is changed."""
        table = self.table.sort_values("first_order", ascending=False)
        worse = table["kind"].isin(["class", "group"]) & (table["first_order"] > 0)
        return table.loc[worse.to_numpy()]


def predicted_effects(
    run: RunTables,
    repair: Repair,
    advice: Advice,
    *,
    calibration: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Effects:
    """Predict the effect of a repair on every objective of the run, each class and each group.

    Args:
        calibration: "loss" and "accuracy" per unit of first-order change, fitted by a verification.
    """
    changes, covered = _first_order(run, repair, advice)
    total = changes.sum(axis=0)
    random = _random_batches(run, repair, advice, seed)
    scale = None if calibration is None else calibration.get("loss")
    table = pd.DataFrame(
        {
            "kind": [aim.kind for aim in advice.objectives],
            "title": [aim.title for aim in advice.objectives],
            "first_order": total,
            "better_than_random": beaten(random, total),
            "loss_change": total * scale if scale is not None else np.nan,
        },
        index=pd.Index([aim.name for aim in advice.objectives], name="objective"),
    )
    slope = None if calibration is None else calibration.get("accuracy")
    accuracy = float(total[0] * slope) if slope is not None and len(total) else None
    return Effects(table, accuracy, covered, len(repair))


def beaten(random: np.ndarray, change: np.ndarray | float) -> np.ndarray:
    """The share of random batches (BATCHES, ...) with a larger, so worse, change than this one (...); 0.5 = chance."""
    return (random > change).mean(axis=0) + 0.5 * (random == change).mean(axis=0)


def sample_advice(run: RunTables, sample: str, advice: Advice) -> pd.DataFrame:
    """The predicted change of every objective by keeping, relabelling, removing or down-weighting one sample.

    Returns:
        One row an action: action, label (of relabel), weight, suggested (bool: the action of the rule), and a column
        an objective: the first-order change of its loss, negative = better.
    """
    row = advice.row(sample)
    if row is None:
        raise RunError(
            f"{sample!r} was not prepared: its suspicion is below {FLOOR}. Select it and predict again."
        )
    facts = run.samples.loc[sample]
    given, products = int(advice.given[row]), advice.products[row]
    doubted = facts["suspicion"] >= run.description["results"]["cut"]
    suggested = suggested_action(facts) if doubted else "weigh" if facts["suspicion"] >= FLOOR else "keep"
    weight = round(1 - float(facts["suspicion"]), 2)
    options: list[tuple[str, str | None, float, np.ndarray]] = [
        ("keep", None, 1.0, products[given] * 0),
        ("remove", None, 0.0, products[given]),
    ]
    options += [("weigh", None, weight, (1 - weight) * products[given])]
    for label in np.flatnonzero(np.isfinite(products[:, 0]) & (np.arange(len(products)) != given)):
        options.append(("relabel", run.classes[label], 1.0, products[given] - products[label]))
    rows = [
        {
            "action": action,
            "label": label,
            "weight": weight,
            "suggested": action == suggested and (action != "relabel" or label == facts["suggested_label"]),
            **dict(zip([aim.name for aim in advice.objectives], map(float, change), strict=True)),
        }
        for action, label, weight, change in options
    ]
    return pd.DataFrame(rows)


def _first_order(run: RunTables, repair: Repair, advice: Advice) -> tuple[np.ndarray, int]:
    """Change of each objective by each covered change (r, k), and how many changes are covered."""
    number = {name: position for position, name in enumerate(run.classes)}
    rows = advice.rows
    changes = []
    for change in rows_of(repair.changes):
        row = rows.get(str(change.Index))
        if row is None:
            continue
        before = advice.products[row, advice.given[row]]
        if change.action == "relabel":
            effect = before - advice.products[row, number[change.label_after]]
        else:
            effect = (1 - change.weight) * before
        if np.isfinite(effect).all():
            changes.append(effect)
    return np.array(changes).reshape(len(changes), len(advice.objectives)).astype(float), len(changes)


def _random_batches(run: RunTables, repair: Repair, advice: Advice, seed: int) -> np.ndarray:
    """Predictions for random batches of the same size, class mix and actions, (BATCHES, k).

    A random sample relabelled to its suggestion stands for a random relabelling; drawn with replacement.
    """
    generator = np.random.default_rng(seed)
    number = {name: position for position, name in enumerate(run.classes)}
    total = np.zeros((BATCHES, len(advice.objectives)))
    kinds: Any = repair.changes.groupby(["label_before", "action", "weight"], sort=True)
    for (label, action, weight), part in kinds:
        members = np.flatnonzero(advice.reference & (advice.given == number[str(label)]))
        if not len(members):
            continue
        before = advice.products[members, advice.given[members]]
        after = advice.products[members, advice.suggested[members]]
        effect = before - after if action == "relabel" else (1 - float(weight)) * before
        drawn = generator.integers(len(members), size=(BATCHES, len(part)))
        total += effect.astype(float)[drawn].sum(axis=1)
    return total
