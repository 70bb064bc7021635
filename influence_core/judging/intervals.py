"""`Estimate`: a number with its 95 % interval, and the interval of a share."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def measurable(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def estimate_from(content: dict[str, Any]) -> Estimate:
    """An estimate as `to_json` wrote it."""
    return Estimate(float(content["value"]), float(content["low"]), float(content["high"]))


def wilson(hits: int, trials: int) -> Estimate:
    """A share with Wilson's interval; NaN in [0, 1] for zero trials."""
    from scipy.stats import binomtest  # up to a second to load; 0.05 to 0.4 ms a call

    if trials == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    interval = binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return Estimate(hits / trials, float(interval.low), float(interval.high))


def share(right: np.ndarray) -> Estimate:
    """The share of true values in (n,) bool, with Wilson's interval."""
    return wilson(int(np.count_nonzero(right)), len(right))
