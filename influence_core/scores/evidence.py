"""What would a model that never saw this sample's label say? Out-of-sample evidence from one view of the samples.

A model that has memorised its labels agrees with every one of them, so its own output proves nothing. Three readers
of a view (features of a layer, or of the inputs themselves) leave each sample's own label out exactly, and those of its
near-copies (twins.py):

    probe        a ridge classifier on the one-hot given labels; leaving a group g out has a closed form,
                 y_g - (I - H_gg)^-1 (y_g - f_g) with the hat matrix H, so n refits cost one eigendecomposition
    kernel       the same ridge on a Gaussian kernel, seen from at most LANDMARKS samples (Nystroem): curved borders.
                 Landmarks are chosen without labels, so leaving a group out stays exact
    neighbours   the labels of the 15 nearest samples by cosine, the sample's own group excluded

Each is read for the training samples (own label left out) and for held-out samples, if there are any (no label of
theirs was used). With validation labels a fourth reader is taught by those alone, as kernel: errors that training
labels share, such as a class whose members often carry one other class's name, it has never seen. Probes on inner
layers as in Alain and Bengio 2016 (arXiv 1610.01644); leaving one out is classical (PRESS).

Cost: features in float32; Gram matrices and their eigendecompositions in float64, because the smallest ridge is below
what float32 leaves of the smallest eigenvalues. A view is scaled once for all its readers.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import block_diag, cholesky, eigh, solve_triangular

from influence_core.scores.nearest import nearest_rows, unit

NEIGHBOURS = 15
LARGEST = 5
"""Samples that are left out together, at most (twins.py)."""
WIDEST = 1024
"""Features beyond this are projected at random first: the eigendecomposition costs their cube (1 s at 1,024)."""
LANDMARKS = 800
VALIDATION_READER = "validation"
FEWEST_LABELS = 20
"""Validation samples, and two a class, below which nobody is taught by them."""
JITTER = 1e-5
"""Added to the landmarks' kernel, whose diagonal is 1: two equal landmarks must not make it singular."""
ROWS = 4096
"""Rows of which a Gram matrix is made at a time."""
RIDGES = 10.0 ** np.arange(-5, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-one-out squared error wins."""


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
    kernel = _kernel_columns(seen.train, seen.held_out, seed)
    return [
        probe("probe", view.name, *plain, labels, classes, groups),
        probe("kernel", view.name, *kernel[:2], labels, classes, groups, metric=kernel[2]),
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
    x, other, metric = _kernel_columns(seen.held_out, seen.train, seed)
    alone = {1: np.arange(m)[:, None]}
    found = probe(VALIDATION_READER, view.name, x, other, held_out_labels, classes, alone, metric=metric)
    return [Evidence(VALIDATION_READER, view.name, train=found.held_out, held_out=found.train)]


def probe(
    reader: str,
    layer: str,
    x: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    classes: int,
    groups: dict[int, np.ndarray],
    *,
    metric: np.ndarray | None = None,
) -> Evidence:
    """Leave-group-out scores of a ridge classifier on columns (n, f), and its scores on held-out columns (m, f).

    metric K (f, f): the columns are x L^-T with L L^T = K, and never written out; None: they are x.
    """
    targets = (np.eye(classes)[labels] - 1 / classes).astype(x.dtype)
    eigenvalues, rotated, axes = _rotated(x, metric)
    moments = rotated.T @ targets
    shrinks = 1 / (eigenvalues[:, None] + RIDGES * (eigenvalues.sum() / x.shape[1]))
    leverages = rotated**2 @ shrinks.astype(x.dtype)
    best = (np.inf, targets, moments)
    for shrink, leverage in zip(shrinks.T.astype(x.dtype), leverages.T, strict=True):
        weights = moments * shrink[:, None]
        residual = _left_out(rotated, shrink, leverage, targets - rotated @ weights, groups)
        error = float((residual**2).mean(dtype=np.float64))
        if error < best[0]:
            best = (error, targets - residual, weights)
    return Evidence(reader, layer, best[1].astype(np.float64), (other @ (axes @ best[2])).astype(np.float64))


def _rotated(x: np.ndarray, metric: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (r,) of the columns' Gram matrix, the columns in its axes (n, r), and (f, r) that takes x there.

    With fewer samples than columns the Gram matrix of the samples has the same eigenvalues, and its axes are the
    rotated columns already.
    """
    if len(x) >= x.shape[1]:
        # with a metric: G v = e K v, that is L^-1 G L^-T in its own axes, v already taken back by L^-T
        values, axes = eigh(_gram(x), metric, check_finite=False)
        axes = axes.astype(x.dtype)
        return np.maximum(values, 1e-9), x @ axes, axes
    root = None if metric is None else cholesky(metric, lower=True)
    columns = x.T if root is None else solve_triangular(root, x.T, lower=True)
    values, axes = eigh(_gram(columns), check_finite=False)
    roots = np.sqrt(np.maximum(values, 1e-9))
    onto = columns @ (axes / roots)
    onto = onto if root is None else solve_triangular(root, onto, lower=True, trans=1)
    return roots**2, (axes * roots).astype(x.dtype), np.asarray(onto, dtype=x.dtype)


def _gram(x: np.ndarray) -> np.ndarray:
    """x.T @ x in float64, some rows at a time."""
    total = np.zeros((x.shape[1],) * 2)
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS].astype(np.float64)
        total += part.T @ part
    return total


def _left_out(
    rotated: np.ndarray,
    shrink: np.ndarray,
    leverage: np.ndarray,
    residual: np.ndarray,
    groups: dict[int, np.ndarray],
) -> np.ndarray:
    """(I - H_gg)^-1 r_g for every group: the residuals (n, c) of fits that never saw the group. leverage: H_ii."""
    found = np.empty_like(residual)
    for size, rows in groups.items():
        if size == 1:
            alone = rows[:, 0]
            found[alone] = residual[alone] / np.maximum(1 - leverage[alone], 1e-6)[:, None]
            continue
        inside = np.einsum("gif,gjf->gij", rotated[rows] * shrink, rotated[rows])
        found[rows] = np.linalg.solve((1 + 1e-6) * np.eye(size) - inside, residual[rows])
    return found


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


def _kernel_columns(x: np.ndarray, other: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns and the metric (f, f) in which their inner products are a Gaussian kernel as seen from the landmarks.

    Its width is the median distance. Last column: a constant.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:LANDMARKS])
    marks = x[chosen]
    apart = _square_distances(*[marks.astype(np.float64)] * 2)
    width = np.median(apart) + 1e-9
    metric = np.asarray(block_diag(np.exp(-apart / width) + JITTER * np.eye(len(marks)), 1.0))
    ours, theirs = (
        _with_constant(np.exp(_square_distances(rows, marks) * -x.dtype.type(1 / width)), 0.3)
        for rows in (x, other)
    )
    return ours, theirs, metric


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    apart = a @ (-2 * b.T)
    apart += (a**2).sum(1)[:, None]
    apart += (b**2).sum(1)
    return np.maximum(apart, 0, out=apart)


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


def _with_constant(x: np.ndarray, value: float = 1.0) -> np.ndarray:
    return np.column_stack([x, np.full(len(x), value, dtype=x.dtype)])
