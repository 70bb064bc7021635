"""Scores against their definitions, slow refits and data whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from influence_core.errors import InfluenceError
from influence_core.evaluation import detection_table
from influence_core.scores.baselines import baselines, softmax
from influence_core.scores.evidence import _prepared, nearest_rows, neighbours, probe
from influence_core.scores.gradient_map import gradient_map
from influence_core.scores.outlier_gradient import forest_outlierness, share_below
from influence_core.scores.suspicion import suspicion
from influence_core.tables import wilson


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


def test_leave_one_out_probe_equals_refitting_without_each_sample():
    """The closed form against n ridge regressions; equal to the in-sample fit means the own label leaked in."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(12, 3)), rng.integers(0, 2, 12)
    found = probe("layer", x, labels, x[:2], 2).train
    design, _ = _prepared(x, x[:2], 0)
    targets = np.eye(2)[labels]
    eigenvalues = np.linalg.eigvalsh(design.T @ design)
    gaps = []
    for strength in 10.0 ** np.arange(-4, 2.1, 0.5) * eigenvalues.mean():
        slow = np.zeros_like(found)
        for row in range(12):
            rest = np.arange(12) != row
            fit = Ridge(alpha=strength, fit_intercept=False).fit(design[rest], targets[rest])
            slow[row] = fit.predict(design[[row]])
        gaps.append(np.abs(slow - found).max())
    assert min(gaps) < 1e-8, f"no ridge strength reproduces the leave-one-out scores; nearest {min(gaps):.2g}"


def test_a_samples_own_label_never_reaches_its_evidence():
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(60, 8)), rng.integers(0, 3, 60)
    other = labels.copy()
    other[5] = (labels[5] + 1) % 3
    for read in (lambda y: probe("l", x, y, x[:3], 3), lambda y: neighbours("l", x, y, x[:3], 3)[0]):
        before, after = read(labels).train[5], read(other).train[5]
        # the ridge strength and the class prior may move by one label's worth, not the evidence itself
        assert np.abs(before - after).max() < 0.1, "flipping a sample's own label moved its own evidence"


def test_nearest_rows_are_exact_and_skip_the_sample_itself():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    expected = np.argsort(-likeness, axis=1)[:, :5]
    assert np.array_equal(nearest_rows(None, rows, 5)[0], expected)


def planted(regime: str, seed: int, n: int = 900, classes: int = 4, rate: float = 0.15):
    """Blobs with wrong labels; in the memorised regime the second layer's features carry the given label."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n + 300)
    centres = rng.normal(size=(classes, 10)) * 1.3
    inner = centres[truth] + rng.normal(size=(n + 300, 10))
    given = truth.copy()
    wrong = rng.random(n) < rate
    given[:n][wrong] = (truth[:n][wrong] + rng.integers(1, classes, wrong.sum())) % classes
    outer = inner.copy()
    if regime == "memorised":
        outer[:n] += 4 * centres[given[:n]]
        outer[n:] += 4 * centres[truth[n:]] * rng.random((300, 1))
    layers = {"inner": inner, "outer": outer}
    return {k: (v[:n], v[n:]) for k, v in layers.items()}, given[:n], truth[:n], truth[n:], wrong


@pytest.mark.parametrize("regime", ["early", "memorised"])
@pytest.mark.parametrize("seed", [0, 1])
def test_suspicion_finds_planted_errors_in_both_regimes(regime, seed):
    layers, given, truth, held_out, wrong = planted(regime, seed)
    evidence = []
    for name, (train, val) in layers.items():
        evidence += [probe(name, train, given, val, 4), neighbours(name, train, given, val, 4)[0]]
    found = suspicion(evidence, given, held_out, 4)
    singles = [roc_auc_score(wrong, 1 - softmax(e.train)[np.arange(len(given)), given]) for e in evidence]
    reached = roc_auc_score(wrong, found.suspicion)
    assert reached >= max(singles) - 0.01, f"{reached:.3f} is below the best single reader {max(singles):.3f}"
    assert ((found.suspicion >= 0) & (found.suspicion <= 1)).all()
    assert (found.suggested != given).all(), "a suggestion must differ from the given label"
    assert (found.suggested_probability <= found.suspicion + 1e-12).all()
    assert (found.suggested == truth)[wrong].mean() > 0.75, "suggestions should name the right class"
    if regime == "early":  # on memorised labels only the order is promised, see suspicion.py
        assert abs(found.suspicion.sum() - wrong.sum()) < 0.35 * wrong.sum(), "the expected count is off"


def test_suspicion_of_clean_labels_flags_almost_nothing():
    layers, given, _, held_out, wrong = planted("early", 3, rate=0.0)
    train, val = layers["inner"]
    evidence = [probe("inner", train, given, val, 4), neighbours("inner", train, given, val, 4)[0]]
    assert not wrong.any()
    # the blobs overlap: about 1 in 100 samples really lies deeper in another class
    assert (suspicion(evidence, given, held_out, 4).suspicion >= 0.5).mean() <= 0.02


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
    found = wilson(np.array([True] * 8 + [False] * 2))
    assert found == pytest.approx({"value": 0.8, "low": 0.4902, "high": 0.9433}, abs=1e-3)
