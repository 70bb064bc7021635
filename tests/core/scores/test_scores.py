"""Scores against their definitions, slow refits and data whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from influence_core.errors import InfluenceError
from influence_core.judging.detection import detection_table
from influence_core.judging.intervals import share
from influence_core.scores.gradient_map import gradient_map
from influence_core.scores.nearest import distances, nearest_rows
from influence_core.scores.plain.outlier_gradient import forest_outlierness, share_below
from influence_core.scores.plain.outputs import baselines, softmax


def test_baselines_by_hand():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
    found = baselines(logits, np.array([0, 2]))
    assert np.allclose(found.margin, [0.5, -0.3]), "negative margin: the model prefers another label"
    assert np.allclose(found.el2n, [np.sqrt(0.09 + 0.04 + 0.01), np.sqrt(0.01 + 0.36 + 0.49)])
    assert found.predicted.tolist() == [0, 1] and np.allclose(found.confidence, [0.7, 0.6])
    assert np.allclose(softmax(np.array([[1e4, 0.0]])), [[1, 0]]), "large logits must not overflow"


def test_outliers_stand_out_and_shares_are_shares():
    rng = np.random.default_rng(0)
    sketches = rng.normal(size=(200, 16))
    sketches[7] += 30
    assert forest_outlierness(sketches).argmax() == 7
    assert share_below(np.array([3.0, 1.0, 2.0, 2.0])).tolist() == [0.75, 0.0, 0.25, 0.25]
    assert forest_outlierness(np.zeros((0, 4))).shape == (0,)


def test_nearest_rows_are_exact_and_skip_the_sample_itself():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    expected = np.argsort(-likeness, axis=1)[:, :5]
    assert np.array_equal(nearest_rows(None, rows, 5), expected)
    apart = np.linalg.norm(rows[:, None].astype(float) - rows[expected], axis=2)
    assert np.allclose(distances(rows, rows, expected), apart, atol=1e-6)
    assert not distances(rows, rows, np.arange(50)[:, None]).any(), "a row lies at a distance from itself"


def test_the_map_keeps_neighbours_together_and_repeats():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 32)) * 4
    sketches = (centres[np.arange(90) % 3] + rng.normal(size=(90, 32))).astype(np.float32)
    layout = gradient_map(sketches, seed=1)
    assert np.array_equal(layout, gradient_map(sketches, seed=1)), "the same seed gave another map"
    near = nearest_rows_by_distance(layout, 5)
    assert (near % 3 == (np.arange(90) % 3)[:, None]).mean() > 0.9
    assert gradient_map(sketches[:10]).shape == (10, 2)


def nearest_rows_by_distance(points: np.ndarray, k: int) -> np.ndarray:
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1)[:, :k]


def test_detection_table_puts_random_beside_and_knows_the_signs():
    wrong = pd.Series([True, True, False, False, False, False], index=list("abcdef"))
    samples = pd.DataFrame(
        {"suspicion": [0.9, 0.8, 0.1, 0.2, 0.3, 0.1], "margin": [-1, -0.5, 0.5, 0.6, 0.7, 0.8]},
        index=wrong.index,
    )
    table = detection_table(samples, wrong)
    assert table.loc["suspicion", "auroc"] == 1.0
    assert table.loc["margin", "auroc"] == 1.0, "a small margin speaks against the label"
    assert "random" in table.index
    with pytest.raises(InfluenceError, match="both kinds"):
        detection_table(samples, wrong & False)
    with pytest.raises(InfluenceError, match="covers 5 of 6"):
        detection_table(samples, wrong.iloc[:5])


def test_wilson_interval_by_hand():
    found = share(np.array([True] * 8 + [False] * 2)).to_json()
    assert found == pytest.approx({"value": 0.8, "low": 0.4902, "high": 0.9433}, abs=1e-3)
