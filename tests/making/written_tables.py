"""Tables as people write them: columns of cells as text, to a file as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

ROWS = 60


def measured(seed: int = 0, rows: int = ROWS) -> list[str]:
    """A column of measurements with three decimals, some below 1."""
    return [f"{value:.3f}" for value in np.random.default_rng(seed).normal(0, 1, rows)]


def classes(*names: str, rows: int = ROWS) -> list[str]:
    """A column of labels, each in turn."""
    return [names[row % len(names)] for row in range(rows)]


def written(
    path: Path, columns: Mapping[str, Sequence[object]], separator: str = ",", encoding: str = "utf-8"
) -> Path:
    """Write the columns; cells hold their own quotes."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(text.encode(encoding))
    return path
