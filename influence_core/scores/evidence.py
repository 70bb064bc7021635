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
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 15
WIDEST = 1024
"""Features beyond this are projected at random first: the eigendecomposition costs their cube (1 s at 1,024)."""
LANDMARKS = 800
VALIDATION_READER = "validation"
FEWEST_LABELS = 20
"""Validation samples, and two a class, below which nobody is taught by them."""
JITTER = 1e-5
"""Added to the landmarks' kernel, whose diagonal is 1: two equal landmarks must not make it singular."""
RIDGES = 10.0 ** np.arange(-5, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-one-out squared error wins."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to see the samples: a layer's features, or the inputs. train (n, f), held_out (m, f), m may be 0."""

    name: str
    train: np.ndarray
    held_out: np.ndarray


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
    x, other = scaled(view, seed)
    near, nearest = neighbours(view.name, x, other, labels, classes, groups)
    return [
        probe("probe", view.name, _with_constant(x), _with_constant(other), labels, classes, groups),
        probe("kernel", view.name, *_kernel_columns(x, other, seed), labels, classes, groups),
        near,
    ], nearest


def taught_by_validation(
    view: View, held_out_labels: np.ndarray, classes: int, *, seed: int = 0
) -> list[Evidence]:
    """The reader that has seen no training label at all, leaving its own m labels out one by one; none of too few."""
    m = len(held_out_labels)
    if m < max(FEWEST_LABELS, 2 * classes):
        return []
    x, other = scaled(view, seed)
    columns, alone = _kernel_columns(other, x, seed), {1: np.arange(m)[:, None]}
    found = probe(VALIDATION_READER, view.name, *columns, held_out_labels, classes, alone)
    return [Evidence(VALIDATION_READER, view.name, train=found.held_out, held_out=found.train)]


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
    targets = np.eye(classes)[labels] - 1 / classes
    eigenvalues, axes = np.linalg.eigh(x.T @ x)
    eigenvalues = np.maximum(eigenvalues, 1e-9)
    rotated = x @ axes
    moments = rotated.T @ targets
    best = (np.inf, targets, moments)
    for ridge in RIDGES * eigenvalues.mean():
        shrink = 1 / (eigenvalues + ridge)
        weights = moments * shrink[:, None]
        residual = _left_out(rotated, shrink, targets - rotated @ weights, groups)
        error = float((residual**2).mean())
        if error < best[0]:
            best = (error, targets - residual, weights)
    return Evidence(reader, layer, best[1], other @ axes @ best[2])


def _left_out(
    rotated: np.ndarray, shrink: np.ndarray, residual: np.ndarray, groups: dict[int, np.ndarray]
) -> np.ndarray:
    """(I - H_gg)^-1 r_g for every group: the residuals (n, c) of fits that never saw the group."""
    found = np.empty_like(residual)
    for size, rows in groups.items():
        if size == 1:
            alone = rows[:, 0]
            leverage = rotated[alone] ** 2 @ shrink
            found[alone] = residual[alone] / np.maximum(1 - leverage, 1e-6)[:, None]
            continue
        inside = np.einsum("gif,gjf->gij", rotated[rows] * shrink, rotated[rows])
        found[rows] = np.linalg.solve((1 + 1e-6) * np.eye(size) - inside, residual[rows])
    return found


def neighbours(
    layer: str,
    x: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    classes: int,
    groups: dict[int, np.ndarray],
) -> tuple[Evidence, np.ndarray]:
    """Label shares among the nearest training samples, as log shares, and their positions (n, k), nearest first."""
    rows, queries = unit(x), unit(other)
    nearest, _ = nearest_rows(None, rows, NEIGHBOURS + max(groups) - 1)
    prior = np.bincount(labels, minlength=classes) / len(labels)
    of_train = _log_shares(_strangers(nearest, groups), labels, prior)
    of_held_out = np.zeros((0, classes))
    if len(queries):
        of_held_out = _log_shares(nearest_rows(queries, rows, NEIGHBOURS)[0], labels, prior)
    return Evidence("neighbours", layer, of_train, of_held_out), nearest[:, :NEIGHBOURS]


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


def nearest_rows(queries: np.ndarray | None, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (m, k) int32 and distances (m, k) of the nearest unit rows, nearest first; exact, in bounded memory.

    Rows have length 1, so the nearest are those with the largest cosine. queries None: the rows themselves, each
    without itself.
    """
    k = min(k, len(rows) - int(queries is None))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    distances, positions = search.kneighbors(queries)
    return positions.astype(np.int32), distances


def _log_shares(nearest: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Positions (n, k), -1 = nobody -> (n, c) log of the label shares, one neighbour's worth of prior added."""
    seen = np.where(nearest < 0, -1, labels[nearest])
    counts = np.stack([(seen == c).sum(1) for c in range(len(prior))], axis=1)
    return np.log((counts + prior + 1e-3) / ((seen >= 0).sum(1, keepdims=True) + 1))


def _kernel_columns(x: np.ndarray, other: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns whose inner products are a Gaussian kernel as seen from the landmarks; width: the median distance."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:LANDMARKS])
    marks = x[chosen]
    width = np.median(_square_distances(marks, marks)) + 1e-9
    # any square root of the landmarks' kernel gives the same inner products; Cholesky's is the cheapest
    root = np.linalg.cholesky(np.exp(-_square_distances(marks, marks) / width) + JITTER * np.eye(len(marks)))
    columns = (
        solve_triangular(root, np.exp(-_square_distances(rows, marks) / width).T, lower=True).T
        for rows in (x, other)
    )
    return tuple(_with_constant(c, 0.3) for c in columns)  # pyright: ignore[reportReturnType]


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)


def scaled(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Projected to at most WIDEST columns, centred and scaled by the training split; constant columns become zero."""
    train, held_out = (np.asarray(values, dtype=np.float64) for values in (view.train, view.held_out))
    if train.shape[1] > WIDEST:
        mixing = np.random.default_rng(seed).standard_normal((train.shape[1], WIDEST)) / np.sqrt(WIDEST)
        train, held_out = train @ mixing, held_out @ mixing
    centre, spread = train.mean(0), train.std(0) + 1e-6
    return (train - centre) / spread, (held_out - centre) / spread


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; a row of zeros stays."""
    values = values.astype(np.float32)
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-9)


def _with_constant(x: np.ndarray, value: float = 1.0) -> np.ndarray:
    return np.column_stack([x, np.full(len(x), value)])
