"""Laws of nearest rows: exact among few, linear in n among many, copies found whatever their number"""

import numpy as np
import pytest

from influence_core.scores.nearest import PIECE, cells, largest, nearest_rows, unit


@pytest.mark.parametrize("n, k", [(5, 3), (700, 19), (1003, 19), (4000, 1)])
def test_the_k_largest_are_those_of_a_full_sort(n, k):
    values = np.random.default_rng(n).normal(size=(30, n)).astype(np.float32)
    expected = np.argsort(-values, axis=1)[:, :k]
    assert np.array_equal(largest(values, k), expected), "a block with one of the largest was not looked into"
    tied = np.round(values, 1)
    found = np.take_along_axis(tied, largest(tied, k), axis=1)
    assert np.array_equal(found, -np.sort(-tied, axis=1)[:, :k]), "equal values pushed a larger one out"


def clustered(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(30, 24))[rng.integers(0, 30, n)] + 0.4 * rng.normal(size=(n, 24)))


def test_among_many_rows_most_neighbours_and_every_copy_are_found():
    rows = clustered(6000)
    rows[3000:3200] = unit(rows[:200] + 1e-4 * np.random.default_rng(1).normal(size=(200, 24)))
    exact, near = (nearest_rows(None, rows, 15, exact=count) for count in (10**6, 1024))
    same = np.mean([len(np.intersect1d(a, b)) / 15 for a, b in zip(exact, near, strict=True)])
    assert same > 0.95, f"only {same:.0%} of the neighbours are in the cells around"
    assert (near != np.arange(6000)[:, None]).all(), "a sample is its own neighbour"
    assert (near[:200, 0] == np.arange(3000, 3200)).all(), "a copy lay in a cell that nobody looked into"
    asked = nearest_rows(rows[:50], rows, 1, exact=1024)[:, 0]
    assert np.isin(asked, np.r_[0:50, 3000:3050]).all(), "a query that is one of the rows did not find it"


def test_cells_hold_every_row_once_and_none_grows_with_n():
    rows = clustered(5000)
    rows[:4900] = rows[0]
    found = cells(rows)
    assert np.array_equal(np.sort(np.concatenate(found.members)), np.arange(5000)), (
        "rows lost, or in two cells"
    )
    assert max(map(len, found.members)) <= PIECE, (
        "rows that are alike make a cell, and time, that grows with n"
    )
    for cell, mine in enumerate(found.members):
        around = found.around(cell, 1024)
        assert np.array_equal(around[: len(mine)], mine), "a cell's own rows must come first"
        assert len(np.unique(around)) == len(around) >= 1024
