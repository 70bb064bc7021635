"""An objective's value with its interval; for a gap also whether chance alone would produce it.

Interval: percentile bootstrap over held-out samples, 95 %, with the groups at the ends of a gap fixed, so that it can
cross zero. The largest of several differences is positive even where groups mean nothing. So a gap must also beat a
permutation test (readings shuffled among samples of the same label; among all, for demographic parity): it counts as
present when its interval lies above zero and p <= 0.05.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence_core.objectives.gradients import Measured
from influence_core.objectives.objective import Objective

DRAWS = 500
"""Bootstrap samples."""
DEALS = 200
"""Permutations: the smallest p is 1/201."""
LEVEL = 0.05


def judged(measured: Measured, *, seed: int = 0) -> dict[str, Any]:
    """The entry of run.json for an objective: value, low, high, present (None unless it is a gap), words, notes.

    `rate` holds the same for the model's decisions, where there is such a reading.
    """
    objective = measured.objective
    summary = {
        "title": objective.title,
        "unit": objective.unit,
        "samples": len(measured.readings),
        **_interval(objective, measured.readings, seed),
        **objective.words(measured.readings),
        "notes": list(objective.notes),
    }
    if measured.decisions is not None:
        rate = _interval(objective, measured.decisions, seed)
        summary["rate"] = {**rate, **objective.words(measured.decisions)}
    return summary


def _interval(objective: Objective, readings: Tensor, seed: int) -> dict[str, Any]:
    value = float(objective.value(readings, readings.new_ones(len(readings))))
    low, high = _bootstrap(objective.fixed(readings), readings, np.random.default_rng(seed))
    if not objective.gap:
        return {"value": value, "low": low, "high": high, "present": None}
    p = _permuted(objective, readings, value, np.random.default_rng(seed))
    present = low is not None and low > 0 and p <= LEVEL
    return {"value": value, "low": low, "high": high, "p_value": p, "present": present}


def _bootstrap(
    objective: Objective, readings: Tensor, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """The 95 % interval; None for a single reading, which cannot be resampled."""
    m = len(readings)
    if m < 2:
        return None, None
    counts = rng.multinomial(m, np.full(m, 1 / m), size=DRAWS)
    values = objective.value(readings, torch.from_numpy(counts).to(readings))
    low, high = np.nanquantile(values.numpy(), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def _permuted(objective: Objective, readings: Tensor, value: float, rng: np.random.Generator) -> float:
    """Share of permutations with a gap at least as large, the observed one included."""
    strata, ones = objective.strata.numpy(), readings.new_ones(len(readings))
    strata_rows = [np.flatnonzero(strata == number) for number in np.unique(strata[strata >= 0])]
    as_large = 0
    for _ in range(DEALS):
        permuted = np.arange(len(strata))
        for rows in strata_rows:
            permuted[rows] = rng.permutation(rows)
        as_large += float(objective.value(readings[torch.from_numpy(permuted)], ones)) >= value
    return (1 + as_large) / (1 + DEALS)
