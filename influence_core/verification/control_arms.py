"""Versions of the training data that a repair or a prediction is compared with.

A repair is compared with versions that differ from it in one respect each:

    nothing     the given labels
    repair      the change under test
    random      the same number of samples of each given label, drawn for every seed. They are treated as in a review of
                random samples: right labels are kept and wrong ones corrected
    oracle      every wrong label corrected; only with known true labels
    scrambled   on request: the changes of the repair, applied to random samples of the same given labels. It plants
                errors, so it is a harsher control than `random` and makes every repair look better

The random arm has the size and class mix of the repair. It gets the true label where that is known and the tool's best
guess elsewhere, so it is no easier to beat than a review of random samples.

Predictions are compared with the removal of groups. The effect of a single sample on a network drowns in the noise of
training, so groups are removed: the samples that hurt most, that help most, that are most suspicious, and random ones,
at 2.5, 5 and 10 % of the data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.repair.repairs import Repair, changes_of, rows_of
from influence_core.runs.run import Run

ARMS = ("nothing", "repair", "random", "oracle")
SIZES = (0.05, 0.10, 0.025)


def nothing(run: Run) -> Repair:
    """No change."""
    return Repair("no change", run.id, changes_of([]))


def oracle(run: Run, truth: pd.Series) -> Repair:
    """Every wrong label corrected, by the true labels of a demonstration dataset."""
    given = run.samples["label"].astype(str)
    right = truth.reindex(given.index).astype(str)
    wrong = given.index[(given != right).to_numpy() & right.isin(run.classes).to_numpy()]
    rows = [(str(i), "relabel", str(given[i]), str(right[i]), 1.0, "truth") for i in wrong]
    return Repair("every true error corrected", run.id, changes_of(rows))


def random(run: Run, repair: Repair, truth: pd.Series | None, seed: int) -> Repair:
    """A random repair: as many samples of each given label as the repair changes.

    Stand-ins of removed or weighed samples are removed or weighed. The others get their true label or, if that is not
    known, the label the run finds most probable.
    """
    rows = []
    for sample, (action, weight) in drawn(run, repair, seed).items():
        before = str(run.samples.at[sample, "label"])
        if action != "relabel":
            rows.append((sample, action, before, None, weight, f"random, seed {seed}"))
        elif (after := _best_label(run, sample, truth)) != before:
            rows.append((sample, "relabel", before, after, 1.0, f"random, seed {seed}"))
    return Repair("a random repair of the same size", run.id, changes_of(rows))


def scrambled(run: Run, repair: Repair, seed: int) -> Repair:
    """The changes of the repair, applied to random samples of the same given labels."""
    rows = []
    for sample, change in _stand_ins(run, repair, (seed, 2)):
        after = change.label_after if change.action == "relabel" else None
        rows.append((sample, change.action, change.label_before, after, change.weight, "scrambled"))
    return Repair("the same changes on random samples", run.id, changes_of(rows))


def drawn(run: Run, repair: Repair, seed: int) -> dict[str, tuple[str, float]]:
    """Random stand-ins for the repaired samples: sample id -> action and weight of the change it stands for."""
    return {sample: (change.action, change.weight) for sample, change in _stand_ins(run, repair, (seed, 1))}


def _stand_ins(run: Run, repair: Repair, seed: tuple[int, int]) -> Iterator[tuple[str, Any]]:
    """Random samples, as many of each given label as the repair changes, each with the change it stands for."""
    generator = np.random.default_rng(seed)
    for label, part in repair.changes.groupby("label_before", sort=True):
        members = run.samples.index[(run.samples["label"] == label).to_numpy()].to_numpy(dtype=object)
        picked = generator.choice(members, size=min(len(part), len(members)), replace=False)
        yield from zip(map(str, picked), rows_of(part), strict=False)


def _best_label(run: Run, sample: str, truth: pd.Series | None) -> str:
    if truth is not None:
        right = str(truth.get(sample, run.samples.at[sample, "label"]))
        return right if right in run.classes else str(run.samples.at[sample, "label"])
    row = run.samples.loc[sample]
    doubted = row["suspicion"] >= run.description["results"]["cut"]
    return str(row["suggested_label"] if doubted else row["label"])


@dataclass(frozen=True)
class Group:
    """Training samples that are removed together; positions (g,) int64."""

    name: str
    positions: np.ndarray

    def weights(self, n: int) -> np.ndarray:
        """(n,) float32: 0 for members, 1 for the others."""
        weights = np.ones(n, np.float32)
        weights[self.positions] = 0
        return weights


def groups_of(run: Run, count: int, *, seed: int) -> list[Group]:
    """The first `count` groups of a fixed order: every kind at 5 %, then at 10 %, then at 2.5 %."""
    n = len(run.samples)
    suspicion = run.samples["suspicion"].to_numpy(float)
    orders = {"most suspicious": np.argsort(-suspicion, kind="stable")}
    if "influence_utility" in run.samples:
        influence = run.samples["influence_utility"].to_numpy(float)
        orders["hurting most"] = np.argsort(influence, kind="stable")
        orders["helping most"] = np.argsort(-influence, kind="stable")
    groups = []
    for number, share in enumerate(SIZES):
        size = max(1, round(share * n))
        orders["random"] = np.random.default_rng((seed, 3, number)).permutation(n)
        groups += [
            Group(f"{name}, {100 * share:g} %", np.sort(order[:size])) for name, order in orders.items()
        ]
    return [group for group in groups if _keeps_every_class(run, group)][:count]


def _keeps_every_class(run: Run, group: Group) -> bool:
    """Whether every class keeps more than one sample without the group; no model could be trained otherwise."""
    left = run.samples["label"].drop(run.samples.index[group.positions]).value_counts()
    return all(int(left.get(str(name), 0) or 0) > 1 for name in run.samples["label"].unique())
