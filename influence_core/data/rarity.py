"""Rarity of the cells of a table, to highlight the unusual ones.

A number is unusual when less than a share RARE of the rows lies as far out on its side; a word when less than RARE of
the rows holds it. A missing cell follows the same rule. No model is used, only the table.
"""

import numpy as np
import pandas as pd

from influence_core.data.encoding import as_words, column_of, holds_numbers, numbers_of

RARE = 0.02


def rarity(cells: pd.DataFrame) -> np.ndarray:
    """Return the share of rows that are at least as far out, (n, columns), in (0, 1]; small = unusual."""
    return np.column_stack([_rarity(column_of(cells, name)) for name in cells.columns])


def _rarity(values: pd.Series) -> np.ndarray:
    if not holds_numbers(values):
        words = pd.Series(as_words(values))
        return words.map(words.value_counts(normalize=True)).to_numpy(dtype=float)
    numbers = numbers_of(values)
    ordered = np.sort(numbers[~np.isnan(numbers)])
    below = np.searchsorted(ordered, numbers, side="right") / len(numbers)
    above = 1 - np.searchsorted(ordered, numbers, side="left") / len(numbers)
    missing = np.isnan(numbers).mean()
    return np.where(np.isnan(numbers), missing, np.minimum(below, above))
