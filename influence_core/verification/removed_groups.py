"""Which groups of samples are removed to see whether predictions come true? Several sizes, from both ends.

For non-convex networks the effect of one sample drowns in the noise of training, so predictions are judged on groups:
the samples that hurt most, that help most, that are most suspicious, and random ones, at 2.5, 5 and 10 % of the data.
"""

from dataclasses import dataclass

import numpy as np

from influence_core.run_files.tables import Run

SIZES = (0.05, 0.10, 0.025)


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
