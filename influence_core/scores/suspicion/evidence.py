"""Out-of-sample evidence about each label: readers of one view of the samples that never saw the sample's own label.

A model that has memorised its labels agrees with every one of them, so its own output proves nothing. Three readers of
a view (features of a layer, or of the inputs themselves) leave out each sample's own label exactly, and those of its
near-copies (views.py):

    probe        a ridge classifier on the one-hot given labels (ridge_reader.py): n refits cost one eigendecomposition
    kernel       the same ridge on a Gaussian kernel, seen from some landmarks (kernel_reader.py): curved borders
    neighbours   the labels of the 15 nearest samples by cosine, the sample's own group excluded

Each reader scores the training samples (own label left out) and the held-out samples, if any (none of their labels
used). With validation labels there is a fourth reader: a kernel fitted to those labels alone. It has never seen errors
that training labels share, such as a class whose members often carry one other class's name. Probes on inner layers as
in Alain and Bengio 2016 (arXiv 1610.01644).
"""

from dataclasses import dataclass

import numpy as np

from influence_core.scores.nearest import nearest_rows, unit
from influence_core.scores.suspicion.class_mix import class_mix
from influence_core.scores.suspicion.kernel_reader import kernel
from influence_core.scores.suspicion.ridge_reader import fit_ridge, of_columns
from influence_core.scores.views import NEIGHBOURS, Scaled

VALIDATION_READER = "validation"
FEWEST_LABELS = 20
"""Validation samples (and two a class) below which no reader is fitted to them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of one reader of one view: train (n, c) and held_out (m, c), large = this class."""

    reader: str
    layer: str
    train: np.ndarray
    held_out: np.ndarray


def readings(
    view: Scaled, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray], *, seed: int = 0
) -> tuple[list[Evidence], np.ndarray]:
    """All three readers of a view, and the positions (n, k) of the nearest training samples, nearest first.

    groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    near, nearest = neighbours(view, labels, classes, groups)
    plain, plain_held_out = _with_constant(view.train), _with_constant(view.held_out)
    straight = fit_ridge(of_columns(plain), labels, classes, groups)
    straight_held_out = (plain_held_out @ straight.weights.astype(plain.dtype)).astype(np.float64)
    curved = kernel(view.train, seed=seed)
    fit = fit_ridge(curved.axes, labels, classes, groups)
    return [
        Evidence("probe", view.name, straight.left_out, straight_held_out),
        Evidence("kernel", view.name, fit.left_out, curved.scores(view.held_out, fit.weights)),
        near,
    ], nearest


def taught_by_validation(
    view: Scaled, labels: np.ndarray, held_out_labels: np.ndarray, classes: int, *, seed: int = 0
) -> list[Evidence]:
    """The reader that saw no training label, leaving its own m labels out one by one.

    Empty where m is too small, or where classes are mixed unlike the training labels (n,): class_mix.py.
    """
    m = len(held_out_labels)
    if m < max(FEWEST_LABELS, 2 * classes) or len(class_mix(labels, held_out_labels, classes).unlike):
        return []
    curved, alone = kernel(view.held_out, seed=seed), {1: np.arange(m)[:, None]}
    fit = fit_ridge(curved.axes, held_out_labels, classes, alone)
    return [Evidence(VALIDATION_READER, view.name, curved.scores(view.train, fit.weights), fit.left_out)]


def neighbours(
    view: Scaled, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray]
) -> tuple[Evidence, np.ndarray]:
    """Label shares among the nearest training samples, as log shares, and their positions (n, k), nearest first.

    Groups have at most LARGEST members.
    """
    nearest = view.nearest[:, : NEIGHBOURS + max(groups) - 1]
    prior = np.bincount(labels, minlength=classes) / len(labels)
    of_train = _log_shares(_outside_own_group(nearest, groups), labels, prior)
    of_held_out = np.zeros((0, classes))
    if len(view.held_out):
        nearest_to_held_out = nearest_rows(unit(view.held_out), view.rows, NEIGHBOURS)
        of_held_out = _log_shares(nearest_to_held_out, labels, prior)
    return Evidence("neighbours", view.name, of_train, of_held_out), nearest[:, :NEIGHBOURS]


def _outside_own_group(nearest: np.ndarray, groups: dict[int, np.ndarray]) -> np.ndarray:
    """The first NEIGHBOURS of each row that are not in the row's own group; -1 where there are fewer."""
    group = np.empty(len(nearest), dtype=np.int64)
    start = 0
    for rows in groups.values():
        group[rows] = start + np.arange(len(rows))[:, None]
        start += len(rows)
    other = group[nearest] != group[:, None]
    slot = np.where(other, np.cumsum(other, axis=1) - 1, NEIGHBOURS)
    outside = np.full((len(nearest), NEIGHBOURS + 1), -1)
    np.put_along_axis(outside, np.minimum(slot, NEIGHBOURS), nearest, axis=1)
    return outside[:, :NEIGHBOURS]


def _log_shares(nearest: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Log label shares (n, c) of positions (n, k), -1 = no neighbour; one neighbour's worth of prior is added."""
    neighbour_labels = np.where(nearest < 0, -1, labels[nearest])
    counts = np.stack([(neighbour_labels == c).sum(1) for c in range(len(prior))], axis=1)
    return np.log((counts + prior + 1e-3) / ((neighbour_labels >= 0).sum(1, keepdims=True) + 1))


def _with_constant(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, np.ones(len(x), dtype=x.dtype)])
