"""Where do the rows of finished batches go? Into tensors of all n rows, made at the first batch.

Parts that are kept apart and joined at the end exist twice for a moment. Here a row is written where it stays; rows not
yet written take no memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from influence_core.errors import InfluenceError


@dataclass
class Table:
    """Columns by name, each (n, ...), on the CPU whatever they come from; rows not yet put are uninitialised."""

    n: int
    columns: dict[str, Tensor] = field(default_factory=dict)

    def put(self, start: int, found: Mapping[str, Tensor]) -> int:
        """Write rows from `start` on; returns the row after them.

        Raises:
            InfluenceError: a column of another shape than that of the rows before, as when outputs grow with inputs.
        """
        stop = start
        for name, value in found.items():
            if name not in self.columns:
                self.columns[name] = torch.empty(self.n, *value.shape[1:], dtype=value.dtype)
            column, stop = self.columns[name], start + len(value)
            if column.shape[1:] != value.shape[1:]:
                raise InfluenceError(
                    f"The {name} of samples {start} to {stop - 1} have shape {tuple(value.shape[1:])} each; those "
                    f"before them have {tuple(column.shape[1:])}. Expected one shape for all samples: "
                    "pad them, or cut them."
                )
            column[start:stop] = value
        return stop

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        """Views of some rows."""
        return {name: column[start:stop] for name, column in self.columns.items()}
