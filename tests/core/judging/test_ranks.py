"""Ties share their mean rank in every rank correlation, and a share has one interval."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from influence_core.engine import agreement
from influence_core.judging import intervals, paired, ranks, signals
from influence_core.runs import shortlist
from pages.ui.words import robustness

ROOT = Path(ranks.__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("influence_core/**/*.py"), *ROOT.glob("pages/**/*.py")])
TIED = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0])
OTHER = np.array([5.0, 1.0, 1.0, 2.0, 2.0, 0.0, 7.0, 7.0, 7.0, 7.0])


def of_paired(some: np.ndarray, others: np.ndarray) -> float:
    found = paired.rank_correlation(some, others)
    assert found is not None
    return found.value


CORRELATIONS = {
    "the home": ranks.rank_correlation,
    "agreement": lambda a, b: agreement.rank_correlation(torch.tensor(a), torch.tensor(b)),
    "shortlist": lambda a, b: shortlist._agreement(a, b, np.ones(len(a)))[1],
    "paired": of_paired,
    "signals": lambda a, b: signals.agreement(pd.DataFrame({"a": a, "b": b})).loc["a", "b"],
    "robustness": lambda a, b: robustness.relation(a, b, k=3).rank,
}


@pytest.mark.parametrize("name", CORRELATIONS)
def test_ties_share_their_mean_rank(name):
    """argsort(argsort(x)) gives ties different ranks, by where they happen to stand."""
    turned = np.arange(10)[::-1]
    found = CORRELATIONS[name](TIED, OTHER)
    assert found == pytest.approx(stats.spearmanr(TIED, OTHER).statistic, abs=1e-12)
    assert CORRELATIONS[name](TIED[turned], OTHER[turned]) == pytest.approx(found, abs=1e-12)
    assert -1.0 <= CORRELATIONS[name](TIED, TIED) <= 1.0


def test_no_file_ranks_or_correlates_on_its_own():
    """A seventh implementation would treat ties, constants or NaN its own way."""
    forbidden = re.compile(r"corrcoef|spearmanr|argsort\([^()\n]*argsort|\.argsort\(\)\.argsort|\.rank\(\)")
    found = [path.name for path in SOURCES if forbidden.search(path.read_text(encoding="utf-8"))]
    home = Path(agreement.__file__).name  # of the engine, which lies below the ranks
    assert found == [home], f"{found}: use ranks.rank_correlation"


@pytest.mark.parametrize("values", [np.ones(5), np.array([1.0, 2.0, np.nan, 3.0, 4.0]), np.ones(1)])
def test_what_has_no_order_has_no_correlation(values):
    assert np.isnan(ranks.rank_correlation(values, np.arange(float(len(values)))))


def test_a_derivative_that_is_the_same_for_all_finds_no_order():
    true, same = torch.arange(5.0), torch.ones(5)
    assert agreement.rank_correlation(same, true) == 0.0
    assert agreement.rank_correlation(true, same) == 1.0, "there is no order to disagree with"
    assert np.isnan(agreement.rank_correlation(true, true / 0))


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (3, 10), (81, 263), (4_999, 10_000)])
def test_the_interval_of_a_share_is_wilsons(hits, trials):
    z, share = stats.norm.ppf(0.975), hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    found = intervals.wilson(hits, trials)
    assert (found.value, found.low, found.high) == pytest.approx(
        (share, centre - half, centre + half), abs=1e-9
    )
    right = np.arange(trials) < hits
    assert intervals.share(right) == found


def test_nothing_tried_says_nothing():
    found = intervals.wilson(0, 0)
    assert np.isnan(found.value) and (found.low, found.high) == (0.0, 1.0)
