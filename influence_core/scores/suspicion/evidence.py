"""Out-of-sample evidence about each label: readers of one view of the samples that never saw the sample's own label.

A model that has memorised its labels agrees with every one of them, so its own output proves nothing. Three readers of
a view (features of a layer, or of the inputs themselves) leave out each sample's own label exactly, and those of its
near-copies (near_copies.py):

    probe        a ridge classifier on the one-hot given labels (ridge_reader.py): n refits cost one eigendecomposition
    kernel       the same ridge on a Gaussian kernel, seen from some landmarks (kernel_reader.py): curved borders
    neighbours   the labels of the 15 nearest samples by cosine, the sample's own group excluded

Each reader scores the training samples (own label left out) and the held-out samples, if any (none of their labels
used). With validation labels there is a fourth reader: a kernel fitted to those labels alone. It has never seen errors
that training labels share, such as a class whose members often carry one other class's name. Probes on inner layers as
in Alain and Bengio 2016 (arXiv 1610.01644). A view is scaled once for all its readers.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from influence_core.scores.neighbours.nearest import nearest_rows, unit
from influence_core.scores.suspicion.kernel_reader import kernel
from influence_core.scores.suspicion.ridge_reader import fit_ridge, of_columns

NEIGHBOURS = 15
LARGEST = 5
"""Most samples that are left out together (near_copies.py)."""
WIDEST = 1024
"""More features than this are projected at random first: the eigendecomposition costs their cube."""
VALIDATION_READER = "validation"
FEWEST_LABELS = 20
"""Validation samples (and two a class) below which no reader is fitted to them."""


@dataclass(frozen=True, slots=True)
class View:
    """One representation of the samples, a layer's or the inputs'. train (n, f), held_out (m, f), m may be 0."""

    name: str
    train: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Scaled(View):
    """A view with comparable columns, float32: at most WIDEST, centred, of spread 1 over the training split."""

    @cached_property
    def rows(self) -> np.ndarray:
        """Training rows of length one."""
        return unit(self.train)

    @cached_property
    def nearest(self) -> np.ndarray:
        """Positions (n, k) int32 of each row's nearest others, nearest first; k leaves room to skip a group."""
        return nearest_rows(None, self.rows, NEIGHBOURS + LARGEST - 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of one reader of one view: train (n, c) and held_out (m, c), large = this class."""

    reader: str
    layer: str
    train: np.ndarray
    held_out: np.ndarray


def readings(
    view: View, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray], *, seed: int = 0
) -> tuple[list[Evidence], np.ndarray]:
    """All three readers of a view, and the positions (n, k) of the nearest training samples, nearest first.

    groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    standardised = scaled(view, seed)
    near, nearest = neighbours(standardised, labels, classes, groups)
    plain = (_with_constant(standardised.train), _with_constant(standardised.held_out))
    curved = kernel(standardised.train, seed=seed)
    fit = fit_ridge(curved.axes, labels, classes, groups)
    return [
        probe("probe", view.name, *plain, labels, classes, groups),
        Evidence("kernel", view.name, fit.left_out, curved.scores(standardised.held_out, fit.weights)),
        near,
    ], nearest


def taught_by_validation(
    view: View, held_out_labels: np.ndarray, classes: int, *, seed: int = 0
) -> list[Evidence]:
    """The reader that saw no training label, leaving its own m labels out one by one; empty where m is too small."""
    m = len(held_out_labels)
    if m < max(FEWEST_LABELS, 2 * classes):
        return []
    standardised = scaled(view, seed)
    curved, alone = kernel(standardised.held_out, seed=seed), {1: np.arange(m)[:, None]}
    fit = fit_ridge(curved.axes, held_out_labels, classes, alone)
    of_train = curved.scores(standardised.train, fit.weights)
    return [Evidence(VALIDATION_READER, view.name, of_train, fit.left_out)]


def probe(
    reader: str,
    layer: str,
    x: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    classes: int,
    groups: dict[int, np.ndarray],
) -> Evidence:
    """Leave-group-out scores of a ridge classifier on columns (n, f), and its scores on held-out columns (m, f)."""
    fit = fit_ridge(of_columns(x), labels, classes, groups)
    return Evidence(reader, layer, fit.left_out, (other @ fit.weights.astype(x.dtype)).astype(np.float64))


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


def scaled(view: View, seed: int) -> Scaled:
    """The view with at most WIDEST columns, centred and scaled by the training split; constant columns become 0."""
    if isinstance(view, Scaled):
        return view
    train, held_out = view.train, view.held_out
    if train.shape[1] > WIDEST:
        mixing = np.random.default_rng(seed).standard_normal((train.shape[1], WIDEST)) / np.sqrt(WIDEST)
        train, held_out = (values @ mixing.astype(values.dtype) for values in (train, held_out))
    centre, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64) + 1e-6
    return Scaled(view.name, *(((v - centre) / spread).astype(np.float32) for v in (train, held_out)))


def _with_constant(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, np.ones(len(x), dtype=x.dtype)])
