"""Columns of text that grow row by row, packed in blocks, so that memory follows the characters, not the cells."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

BLOCK = 500_000
"""Cells that are held as Python's strings, of about 50 bytes more than their characters each."""


class TextColumns:
    """A table of text while it is read."""

    def __init__(self, columns: int):
        """Begin with no rows."""
        self.columns = columns
        self._rows: list[Sequence[str]] = []
        self._blocks: list[list[pa.Array]] = []
        self._packed = 0

    def __len__(self) -> int:
        return self._packed + len(self._rows)

    def append(self, cells: Sequence[str]) -> None:
        """Add a row of as many cells as there are columns."""
        self._rows.append(cells)
        if len(self._rows) * self.columns >= BLOCK:
            self._pack()

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the rows as a frame of text; names may repeat."""
        if self._rows or not self._blocks:
            self._pack()
        columns = [
            pa.chunked_array([block[column] for block in self._blocks]) for column in range(self.columns)
        ]
        numbered = pa.table(columns, names=[str(column) for column in range(self.columns)])
        return numbered.to_pandas(ignore_metadata=True).set_axis(list(names), axis=1)

    def _pack(self) -> None:
        cells = zip(*self._rows, strict=True) if self._rows else [()] * self.columns
        self._blocks.append([pa.array(list(column), pa.string()) for column in cells])
        self._packed += len(self._rows)
        self._rows = []
