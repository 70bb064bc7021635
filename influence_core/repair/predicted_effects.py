"""What would a repair do, before it is done? First-order predictions, with who would pay for it.

Removing sample i takes its training step away, so an objective f (a loss: lower is better) changes by about
    removed:    +influence_i(label)                               times s
    relabelled: +influence_i(label) - influence_i(new label)      times s
    weight w:   +(1 - w) influence_i(label)                       times s
and a batch by the sum. influence = <g_i, grad f> at the trained weights (candidate_labels.py); s is what one unit of
it is worth in a whole training, a number of the size of a learning rate that no formula gives reliably for AdamW.
Hence two readings. Before any verification: the sign, and how many of 1,000 random batches of the same size, class
mix and actions have a worse prediction; it needs no scale. After one: s is fitted to what retraining measured
(calibration), and the prediction is in units of loss and points of accuracy, with the fit's own quality beside it.
Ignored: curvature, interactions between samples, and the path of training; fidelity.py measures how much that costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.repair.label_influence import FLOOR, Advice
from influence_core.repair.repairs import Repair, each, suggested_action
from influence_core.run_files.tables import RunTables

BATCHES = 1000


@dataclass(frozen=True)
class Effects:
    """What a repair is predicted to do.

    table: one row an objective, index name; columns kind, title, first_order (change of the objective in loss per
        unit of learning rate; positive = the loss rises), better_than_random (share of random batches of the same
        size, class mix and actions that would do worse; 0.5 = no better than chance), loss_change (calibrated, in
        nats; missing before a verification).
    accuracy_change: calibrated, a share of one; None before a verification.
    covered, asked: changes that the prediction includes, and all of them.
    """

    table: pd.DataFrame
    accuracy_change: float | None
    covered: int
    asked: int

    @property
    def payers(self) -> pd.DataFrame:
        """The classes and groups whose loss is predicted to rise, the most first: shown before anything is done."""
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
    """Predict a repair for every objective of the run, each class and each group.

    Args:
        calibration: "loss" and "accuracy" a unit of first-order change, fitted by a verification.
    """
    changes, covered = _first_order(run, repair, advice)
    total = changes.sum(axis=0)
    random = _random_batches(run, repair, advice, seed)
    scale = None if calibration is None else calibration.get("loss")
    table = pd.DataFrame(
        {
            "kind": [aim.kind for aim in advice.aims],
            "title": [aim.title for aim in advice.aims],
            "first_order": total,
            "better_than_random": (random > total).mean(axis=0) + 0.5 * (random == total).mean(axis=0),
            "loss_change": total * scale if scale is not None else np.nan,
        },
        index=pd.Index([aim.name for aim in advice.aims], name="objective"),
    )
    slope = None if calibration is None else calibration.get("accuracy")
    accuracy = float(total[0] * slope) if slope is not None and len(total) else None
    return Effects(table, accuracy, covered, len(repair))


def sample_advice(run: RunTables, sample: str, advice: Advice) -> pd.DataFrame:
    """Keep, relabel to each candidate, remove, or down-weight: the predicted change of every objective.

    Returns:
        One row an action: action, label (of relabel), weight, suggested (bool: what the rule would do), and a column
        an objective: the first-order change of its loss, negative = better.
    """
    row = advice.row(sample)
    if row is None:
        raise RunError(
            f"{sample!r} was not prepared: its suspicion is below {FLOOR}. Predict again with it chosen."
        )
    about = run.samples.loc[sample]
    given, products = int(advice.given[row]), advice.products[row]
    doubted = about["suspicion"] >= run.description["results"]["cut"]
    pick = suggested_action(about) if doubted else "weigh" if about["suspicion"] >= FLOOR else "keep"
    weight = round(1 - float(about["suspicion"]), 2)
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
            "suggested": action == pick and (action != "relabel" or label == about["suggested_label"]),
            **dict(zip([aim.name for aim in advice.aims], map(float, change), strict=True)),
        }
        for action, label, weight, change in options
    ]
    return pd.DataFrame(rows)


def _first_order(run: RunTables, repair: Repair, advice: Advice) -> tuple[np.ndarray, int]:
    """Change of each objective by each covered change (r, k), and how many are covered."""
    number = {name: at for at, name in enumerate(run.classes)}
    rows = advice.rows
    changes = []
    for change in each(repair.changes):
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
    return np.array(changes).reshape(len(changes), len(advice.aims)).astype(float), len(changes)


def _random_batches(run: RunTables, repair: Repair, advice: Advice, seed: int) -> np.ndarray:
    """Predictions for random batches of the same size, class mix and actions, (BATCHES, k).

    A random sample relabelled to its suggestion stands for a random relabelling; drawn with replacement.
    """
    generator = np.random.default_rng(seed)
    number = {name: at for at, name in enumerate(run.classes)}
    total = np.zeros((BATCHES, len(advice.aims)))
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
