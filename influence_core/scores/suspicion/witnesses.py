"""Who says what about each label: three groups of readers, the class each names, and how far it moved the verdict.

    unseen        the probe and the kernel of every view: they never saw the sample's own label
    neighbours    the labels of the most similar samples
    validation    readers taught by validation labels alone, where there are any

The model's own answer is none of them: it is in probabilities.npy, and a reader of the run is told it apart.

    p_g(t | x)  ~  exp(k * sum over the group's readers of (share / the group's share) * log p(t | x))
    weight_g    =  the group's share of all trust * k * log(p(suggested | x) / p(given | x)), by the same pool

k is the steepness of suspicion, so that witnesses are as sure as the bars beside them. With the model's outputs, the
weights add up to the log odds of the suggestion in the whole pool: a witness above zero speaks for the suggestion, one
below zero for the given label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.scores.plain.outputs import softmax
from influence_core.scores.suspicion.evidence import VALIDATION_READER, Evidence
from influence_core.scores.suspicion.trust import Trust

GROUPS = {"unseen": ("probe", "kernel"), "neighbours": ("neighbours",), "validation": (VALIDATION_READER,)}


@dataclass(frozen=True, slots=True)
class Witness:
    """One group: the class (n,) it finds likeliest, its probability (n,), and its signed weight (n,); see above.

    view: the name of the view in which this group is trusted most.
    """

    group: str
    view: str
    says: np.ndarray
    probability: np.ndarray
    weight: np.ndarray


def witnesses(
    read: Sequence[Evidence],
    trust: Sequence[Trust],
    labels: np.ndarray,
    suggested: np.ndarray,
    steepness: float,
) -> list[Witness]:
    """One witness for each group that has a reader; read: log probabilities, labels and suggested (n,)."""
    pairs = list(zip(read, trust, strict=True))
    members = {name: [pair for pair in pairs if pair[0].reader in kinds] for name, kinds in GROUPS.items()}
    return [_witness(name, own, labels, suggested, steepness) for name, own in members.items() if own]


def weightiest_view(read: Sequence[Evidence], trust: Sequence[Trust]) -> str:
    """The view whose readers have the largest share together; the first of equals."""
    shares: dict[str, float] = {}
    for e, t in zip(read, trust, strict=True):
        shares[e.layer] = shares.get(e.layer, 0.0) + t.share
    return max(shares, key=shares.__getitem__)


def _witness(
    group: str,
    own: Sequence[tuple[Evidence, Trust]],
    labels: np.ndarray,
    suggested: np.ndarray,
    steepness: float,
) -> Witness:
    rows, share = np.arange(len(labels)), sum(t.share for _, t in own)
    logs = steepness * np.sum([t.share * e.train for e, t in own], axis=0)
    beliefs = softmax(logs / max(share, 1e-300))
    says = beliefs.argmax(1)
    weight = logs[rows, suggested] - logs[rows, labels]
    return Witness(group, weightiest_view(*zip(*own, strict=True)), says, beliefs[rows, says], weight)
