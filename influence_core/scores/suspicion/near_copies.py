"""Groups of samples that are near-copies of each other, so that a sample's label is left out together with its copies'.

A picture that was saved twice with the same wrong label confirms itself: every reader that leaves out one of the two
still sees the other. Two samples are twins when each is among the other's nearest and they lie closer to each other
than CLOSE times the distance from either to its sixth nearest: a copy stands out from its surroundings, whatever the
scale. Groups are the samples that twins connect. More than LARGEST of them are a cluster, not copies, and stay apart.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from influence_core.scores.neighbours.nearest import distances
from influence_core.scores.suspicion.evidence import LARGEST, View, scaled

CLOSE = 0.45
"""Of 800 samples it counted 0 to 15 natural pictures as copies, and nearly all of 350 planted copies."""


def twin_groups(view: View, *, seed: int = 0) -> np.ndarray:
    """Group number (n,) of each training sample; a sample without a twin is a group of one."""
    standardised, n = scaled(view, seed), len(view.train)
    if n < LARGEST + 3:
        return np.arange(n)
    nearest = standardised.nearest[:, : LARGEST + 1]
    lengths = distances(standardised.rows, standardised.rows, nearest)
    reach = CLOSE * lengths[:, -1]
    one = np.repeat(np.arange(n), LARGEST)
    two, lengths = nearest[:, :LARGEST].ravel(), lengths[:, :LARGEST].ravel()
    close = (lengths < reach[one]) & (lengths < reach[two])
    links = coo_array((np.ones(close.sum()), (one[close], two[close])), shape=(n, n))
    groups = connected_components(links, directed=False)[1]
    crowded = np.bincount(groups)[groups] > LARGEST
    groups[crowded] = groups.max() + 1 + np.arange(crowded.sum())
    return groups


def members(groups: np.ndarray) -> dict[int, np.ndarray]:
    """Positions of the samples of all groups of one size, (g, size), by size."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    sizes = np.diff(np.append(starts, len(groups)))
    return {int(size): order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes)}
