"""Which cells of a row are unusual? Those a reader's eye should fall on first.

A number is unusual when fewer than RARE of the rows lie as far out on its side; a word when fewer than RARE of the rows
hold it. A missing cell follows the same rule. No model is asked: this is what the table alone says.
"""

import numpy as np
import pandas as pd

from influence_core.data.encoding import as_words, column_of, holds_numbers, numbers_of

RARE = 0.02


def rarity(cells: pd.DataFrame) -> np.ndarray:
    """Share of rows (n, columns) that are at least as far out, in (0, 1]; small = unusual."""
    return np.column_stack([_rarity(column_of(cells, name)) for name in cells.columns])


def _rarity(values: pd.Series) -> np.ndarray:
    if not holds_numbers(values):
        words = pd.Series(as_words(values))
        return words.map(words.value_counts(normalize=True)).to_numpy(dtype=float)
    numbers = numbers_of(values)
    known = np.sort(numbers[~np.isnan(numbers)])
    below = np.searchsorted(known, numbers, side="right") / len(numbers)
    above = 1 - np.searchsorted(known, numbers, side="left") / len(numbers)
    missing = np.isnan(numbers).mean()
    return np.where(np.isnan(numbers), missing, np.minimum(below, above))
