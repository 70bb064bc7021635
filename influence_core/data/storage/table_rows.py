"""Rows of a table in memory, encoded as numbers."""

import hashlib
import math
from functools import cached_property

import numpy as np
import pandas as pd
from PIL import Image

from influence_core.data.encoding import Encoding
from influence_core.data.storage.content import Kind, Size
from influence_core.errors import DataError


class TableRows:
    """Rows of a table in memory. Their numbers need an encoding, fitted later on the training rows."""

    kind: Kind = "array"

    def __init__(self, frame: pd.DataFrame, encoding: Encoding | None = None):
        self.frame = frame
        self.encoding = encoding
        self._encoded = None if encoding is None else encoding.encode(frame)

    def __len__(self) -> int:
        return len(self.frame)

    def with_encoding(self, encoding: Encoding) -> "TableRows":
        """Return the same rows under another encoding."""
        return self if encoding == self.encoding else TableRows(self.frame, encoding)

    def values(self, row: int, channels: int | None, size: Size) -> np.ndarray:
        assert self._encoded is not None, "with_encoding() comes first"
        return self._encoded[row]

    def picture(self, row: int) -> Image.Image | None:
        return None

    def encoded(self, row: int) -> tuple[bytes, str]:
        raise DataError("Rows of a table have no picture to export; export them as a table.")

    def digest(self, row: int) -> bytes:
        cells = self._lists[row]
        if any(isinstance(cell, float) and math.isinf(cell) for cell in cells):
            raise DataError("holds infinity")
        return hashlib.sha256(repr(cells).encode("utf-8", "surrogatepass")).digest()

    @cached_property
    def _lists(self) -> list[list]:
        """The column names and the cells of each row, as plain Python values."""
        names = [str(name) for name in self.frame.columns]
        return [[*names, *cells] for cells in self.frame.astype(object).to_numpy().tolist()]
