"""Levels of a group column and their samples; levels with too few samples and missing values are left out."""

from typing import Any

import numpy as np
import pandas as pd

FEWEST = 5  # samples of a class or group below which its accuracy or rate means nothing
MOST_LEVELS = 12


def levels(groups: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """Level -> positions (g,) int64, sorted by name; a sample without a value belongs to no level."""
    names: Any = groups[column].astype("string")
    all_levels = {
        str(name): np.flatnonzero((names == name).fillna(False)) for name in sorted(names.dropna().unique())
    }
    return {name: members for name, members in all_levels.items() if len(members) >= FEWEST}
