"""Versions of the training data that a repair, or a prediction, is held against.

Beside a repair stand versions that differ from it in one respect each:

    nothing     the labels as they were given
    repair      the change under test
    random      the same number of samples of each given label, drawn anew for every seed, and treated the way a repair
                treats them: a reviewer who looks at random samples keeps the right ones and corrects the wrong ones
    oracle      every wrong label corrected; only where the true labels are known
    scrambled   on request: the very changes of the repair, given to random samples of the same classes. It plants
                errors, so it is a harsher control than `random` and makes every repair look better

The same size and class mix (science: a random-trim control); the random arm never looks easier than it is, because
it gets the true label where that is known and the tool's best guess elsewhere.

Beside predictions stand groups of samples that are removed. For networks that are not convex the effect of one sample
drowns in the noise of training, so groups are judged: the samples that hurt most, that help most, that are most
suspicious, and random ones, at 2.5, 5 and 10 % of the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence_core.repair.repairs import Repair, changes_of, each
from influence_core.runs.run import Run

ARMS = ("nothing", "repair", "random", "oracle")
SIZES = (0.05, 0.10, 0.025)


def nothing(run: Run) -> Repair:
    """No change."""
    return Repair("no change", run.id, changes_of([]))


def oracle(run: Run, truth: pd.Series) -> Repair:
    """Every label as it should be, by the truth of a demonstration dataset."""
    given = run.samples["label"].astype(str)
    right = truth.reindex(given.index).astype(str)
    wrong = given.index[(given != right).to_numpy() & right.isin(run.classes).to_numpy()]
    rows = [(str(i), "relabel", str(given[i]), str(right[i]), 1.0, "truth") for i in wrong]
    return Repair("every true error corrected", run.id, changes_of(rows))


def random(run: Run, repair: Repair, truth: pd.Series | None, seed: int) -> Repair:
    """As many samples of each given label as the repair changes, drawn at random; removed ones are removed, the
    others get their true label, or without a truth the label the run finds most probable."""
    chosen = drawn(run, repair, seed)
    rows = []
    for sample, (action, weight) in chosen.items():
        before = str(run.samples.at[sample, "label"])
        if action != "relabel":
            rows.append((sample, action, before, None, weight, f"random, seed {seed}"))
        elif (after := _best_label(run, sample, truth)) != before:
            rows.append((sample, "relabel", before, after, 1.0, f"random, seed {seed}"))
    return Repair("a random repair of the same size", run.id, changes_of(rows))


def scrambled(run: Run, repair: Repair, seed: int) -> Repair:
    """The very changes of the repair on random samples of the same given labels."""
    generator, rows = np.random.default_rng((seed, 2)), []
    for label, part in repair.changes.groupby("label_before", sort=True):
        members = _members(run, str(label))
        picked = generator.choice(members, size=min(len(part), len(members)), replace=False)
        for sample, change in zip(picked, each(part), strict=False):
            after = change.label_after if change.action == "relabel" else None
            rows.append((str(sample), change.action, str(label), after, change.weight, "scrambled"))
    return Repair("the same changes on random samples", run.id, changes_of(rows))


def drawn(run: Run, repair: Repair, seed: int) -> dict[str, tuple[str, float]]:
    """Random samples with the action and weight of the change they stand for, in a fixed order."""
    generator, chosen = np.random.default_rng((seed, 1)), {}
    for label, part in repair.changes.groupby("label_before", sort=True):
        members = _members(run, str(label))
        picked = generator.choice(members, size=min(len(part), len(members)), replace=False)
        pairs: Sequence = list(zip(part["action"], part["weight"], strict=True))
        chosen |= {str(sample): (str(pairs[at][0]), float(pairs[at][1])) for at, sample in enumerate(picked)}
    return chosen


def _members(run: Run, label: str) -> np.ndarray:
    return run.samples.index[(run.samples["label"] == label).to_numpy()].to_numpy(dtype=object)


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
    influence = (
        run.samples["influence_utility"].to_numpy(float) if "influence_utility" in run.samples else None
    )
    suspicion = run.samples["suspicion"].to_numpy(float)
    orders = {"most suspicious": np.argsort(-suspicion, kind="stable")}
    if influence is not None:
        orders["hurting most"] = np.argsort(influence, kind="stable")
        orders["helping most"] = np.argsort(-influence, kind="stable")
    found = []
    for at, share in enumerate(SIZES):
        size = max(1, round(share * n))
        orders["random"] = np.random.default_rng((seed, 3, at)).permutation(n)
        found += [
            Group(f"{name}, {100 * share:g} %", np.sort(order[:size])) for name, order in orders.items()
        ]
    return [group for group in found if _keeps_every_class(run, group)][:count]


def _keeps_every_class(run: Run, group: Group) -> bool:
    """A group that is a whole class says nothing about a prediction; nothing could be trained without it."""
    left = run.samples["label"].drop(run.samples.index[group.positions]).value_counts()
    return all(int(left.get(str(name), 0) or 0) > 1 for name in run.samples["label"].unique())
