"""What would a model that never saw this sample's label say? Out-of-sample evidence from one view of the samples.

A model that has memorised its labels agrees with every one of them, so its own output proves nothing. Three readers
of a view (features of a layer, or of the inputs themselves) leave each sample's own label out exactly, and those of its
near-copies (near_copies.py):

    probe        a ridge classifier on the one-hot given labels (ridge_reader.py): n refits cost one eigendecomposition
    kernel       the same ridge on a Gaussian kernel, seen from some landmarks (kernel_reader.py): curved borders
    neighbours   the labels of the 15 nearest samples by cosine, the sample's own group excluded

Each is read for the training samples (own label left out) and for held-out samples, if there are any (no label of
theirs was used). With validation labels a fourth reader is taught by those alone, as kernel: errors that training
labels share, such as a class whose members often carry one other class's name, it has never seen. Probes on inner
layers as in Alain and Bengio 2016 (arXiv 1610.01644). A view is scaled once for all its readers.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from influence_core.scores.neighbours.nearest import nearest_rows, unit
from influence_core.scores.suspicion.kernel_reader import kernel
from influence_core.scores.suspicion.ridge_reader import fitted, of_columns

NEIGHBOURS = 15
LARGEST = 5
"""Samples that are left out together, at most (near_copies.py)."""
WIDEST = 1024
"""Features beyond this are projected at random first: the eigendecomposition costs their cube."""
VALIDATION_READER = "validation"
FEWEST_LABELS = 20
"""Validation samples, and two a class, below which nobody is taught by them."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to see the samples: a layer's features, or the inputs. train (n, f), held_out (m, f), m may be 0."""

    name: str
    train: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Scaled(View):
    """A view whose columns can be compared, float32: at most WIDEST, centred, of spread 1 over the training split."""

    @cached_property
    def rows(self) -> np.ndarray:
        """Training rows of length one."""
        return unit(self.train)

    @cached_property
    def nearest(self) -> np.ndarray:
        """Positions (n, k) int32 of each row's nearest others, nearest first: enough to skip a whole group."""
        return nearest_rows(None, self.rows, NEIGHBOURS + LARGEST - 1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reader of one view. train (n, c) and held_out (m, c): a class's score, large = this class."""

    reader: str
    layer: str
    train: np.ndarray
    held_out: np.ndarray


def readings(
    view: View, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray], *, seed: int = 0
) -> tuple[list[Evidence], np.ndarray]:
    """All three readers of a view, and the nearest training samples (n, k) by position, nearest first.

    groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    seen = scaled(view, seed)
    near, nearest = neighbours(seen, labels, classes, groups)
    plain = (_with_constant(seen.train), _with_constant(seen.held_out))
    curved = kernel(seen.train, seed=seed)
    found = fitted(curved.axes, labels, classes, groups)
    return [
        probe("probe", view.name, *plain, labels, classes, groups),
        Evidence("kernel", view.name, found.left_out, curved.scores(seen.held_out, found.weights)),
        near,
    ], nearest


def taught_by_validation(
    view: View, held_out_labels: np.ndarray, classes: int, *, seed: int = 0
) -> list[Evidence]:
    """The reader that has seen no training label at all, leaving its own m labels out one by one; none of too few."""
    m = len(held_out_labels)
    if m < max(FEWEST_LABELS, 2 * classes):
        return []
    seen = scaled(view, seed)
    curved, alone = kernel(seen.held_out, seed=seed), {1: np.arange(m)[:, None]}
    found = fitted(curved.axes, held_out_labels, classes, alone)
    of_train = curved.scores(seen.train, found.weights)
    return [Evidence(VALIDATION_READER, view.name, of_train, found.left_out)]


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
    found = fitted(of_columns(x), labels, classes, groups)
    return Evidence(reader, layer, found.left_out, (other @ found.weights.astype(x.dtype)).astype(np.float64))


def neighbours(
    view: Scaled, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray]
) -> tuple[Evidence, np.ndarray]:
    """Label shares among the nearest training samples, as log shares, and their positions (n, k), nearest first.

    Groups have at most LARGEST members.
    """
    nearest = view.nearest[:, : NEIGHBOURS + max(groups) - 1]
    prior = np.bincount(labels, minlength=classes) / len(labels)
    of_train = _log_shares(_strangers(nearest, groups), labels, prior)
    of_held_out = np.zeros((0, classes))
    if len(view.held_out):
        asked = nearest_rows(unit(view.held_out), view.rows, NEIGHBOURS)
        of_held_out = _log_shares(asked, labels, prior)
    return Evidence("neighbours", view.name, of_train, of_held_out), nearest[:, :NEIGHBOURS]


def _strangers(nearest: np.ndarray, groups: dict[int, np.ndarray]) -> np.ndarray:
    """The first NEIGHBOURS of each row that are not of the row's own group; -1 where there are fewer."""
    group = np.empty(len(nearest), dtype=np.int64)
    start = 0
    for rows in groups.values():
        group[rows] = start + np.arange(len(rows))[:, None]
        start += len(rows)
    other = group[nearest] != group[:, None]
    place = np.where(other, np.cumsum(other, axis=1) - 1, NEIGHBOURS)
    found = np.full((len(nearest), NEIGHBOURS + 1), -1)
    np.put_along_axis(found, np.minimum(place, NEIGHBOURS), nearest, axis=1)
    return found[:, :NEIGHBOURS]


def _log_shares(nearest: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Positions (n, k), -1 = nobody -> (n, c) log of the label shares, one neighbour's worth of prior added."""
    seen = np.where(nearest < 0, -1, labels[nearest])
    counts = np.stack([(seen == c).sum(1) for c in range(len(prior))], axis=1)
    return np.log((counts + prior + 1e-3) / ((seen >= 0).sum(1, keepdims=True) + 1))


def scaled(view: View, seed: int) -> Scaled:
    """Projected to at most WIDEST columns, centred and scaled by the training split; constant columns become zero."""
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
