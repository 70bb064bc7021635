"""What the Compare page says: signals are compared as they point, and what each adds is counted against chance."""

import numpy as np
import pandas as pd
import pytest

from influence_core.judging.detection import doubts
from influence_core.judging.signals import agreement, curves, decided_errors, marginal_yield, overlap


def table() -> pd.DataFrame:
    ids = [f"s{i}" for i in range(100)]
    rank = np.arange(100.0)
    return pd.DataFrame(
        {"suspicion": rank / 100, "loss": rank, "margin": -rank, "knn_shapley": rank, "outlier_l1": 1.0},
        index=ids,
    )


def test_signals_are_turned_the_way_they_point_before_they_are_compared():
    found = agreement(doubts(table()))
    assert found.at["loss", "margin"] == pytest.approx(1), "a small margin is a large doubt"
    assert found.at["loss", "knn_shapley"] == pytest.approx(-1), "a small value is a large doubt"
    assert np.isnan(found.at["loss", "outlier_l1"]), "a signal without an order has no agreement"


def test_overlap_counts_what_two_heads_share():
    found = overlap(doubts(table()), 10)
    assert found.at["suspicion", "margin"] == 1 and found.at["suspicion", "knn_shapley"] == 0
    assert np.allclose(np.diag(found), 1) and np.allclose(found, found.T)


def test_yield_counts_only_errors_that_the_queue_does_not_hold():
    samples = doubts(table())
    queue = np.arange(100) >= 90
    wrong = pd.Series(False, index=samples.index)
    wrong.iloc[[95, 96, 85, 3]] = True
    found = {y.signal: y for y in marginal_yield(samples, queue, wrong, k=20)}
    assert found["suspicion"].errors == 1, (
        "the errors in the queue were counted again, or the next 20 begin elsewhere"
    )
    assert found["knn_shapley"].errors == 1 and found["suspicion"].looked == 20
    assert found["suspicion"].by_chance == pytest.approx(20 * 2 / 90), "chance is the rate of the rest"


def test_yield_from_decisions_counts_only_what_was_judged():
    samples = doubts(table())
    decisions = pd.DataFrame({"action": ["relabel", "keep", "remove"]}, index=["s85", "s84", "s2"])
    wrong = decided_errors(decisions, samples.index)
    found = {y.signal: y for y in marginal_yield(samples, np.arange(100) >= 90, wrong, k=20)}
    assert (found["suspicion"].judged, found["suspicion"].errors) == (2, 1), (
        "an unseen sample counted as judged"
    )
    assert found["knn_shapley"].errors == 1


def test_curves_end_at_full_recall_and_stand_beside_chance():
    samples = doubts(table())
    wrong = pd.Series(np.arange(100) >= 80, index=samples.index)
    found = curves(samples, wrong)
    assert found["suspicion"].precision[19] == 1 and found["suspicion"].recall[-1] == 1
    assert found["random"].precision[-1] == pytest.approx(0.2)
    assert curves(samples, wrong & False) == {}, "without any error there is no recall"
