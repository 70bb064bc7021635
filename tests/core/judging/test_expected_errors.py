"""The number of wrong labels: what decisions and vague suspicions do to it."""

import numpy as np
import pytest

from influence_core.judging.expected_errors import SHIFT, UNTOLD_SHIFT, expected_errors

SUSPICION = np.array([0.0, 0.001, 0.02, 0.2, 0.5, 0.9, 0.999, 1.0])


def slow_sum(suspicion: np.ndarray, shift: float) -> float:
    """Log odds one by one, as the definition says."""
    total = 0.0
    for s in suspicion:
        total += s if s in (0.0, 1.0) else 1 / (1 + np.exp(-(np.log(s / (1 - s)) + shift)))
    return total


def test_the_interval_is_the_sum_of_shifted_suspicions():
    told = expected_errors(SUSPICION, support=1.0)
    assert told.value == pytest.approx(SUSPICION.sum())
    assert told.low == pytest.approx(slow_sum(SUSPICION, -SHIFT)), "not the shift of log odds"
    assert told.high == pytest.approx(slow_sum(SUSPICION, SHIFT))


def test_where_errors_cannot_be_told_there_may_be_none():
    untold = expected_errors(SUSPICION, support=0.0)
    assert untold.low == 0.0, "claims errors that nothing shows"
    assert untold.high == pytest.approx(slow_sum(SUSPICION, UNTOLD_SHIFT))


def test_what_is_decided_is_known():
    decided = np.full(8, np.nan)
    decided[[4, 5, 7]] = 1.0, 0.0, 1.0
    rest = np.isnan(decided)
    after, others = expected_errors(SUSPICION, 1.0, decided), expected_errors(SUSPICION[rest], 1.0)
    for end in ("value", "low", "high"):
        assert getattr(after, end) == pytest.approx(2 + getattr(others, end)), (
            "a decided sample is still estimated"
        )
    everything = expected_errors(SUSPICION, 0.0, np.ones(8))
    assert (everything.low, everything.value, everything.high) == (8.0, 8.0, 8.0)


def test_sure_suspicions_give_a_narrow_interval():
    sure, vague = np.repeat([0.001, 0.999], 50), np.full(100, 0.5)
    widths = [e.high - e.low for e in (expected_errors(sure, 1.0), expected_errors(vague, 1.0))]
    assert widths[0] < 1 and widths[1] > 50, "the interval does not depend on how sure the suspicions are"
