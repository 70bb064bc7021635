"""Storage of readings: an Account for one batch during its backward pass, a Table for the finished rows of all samples.

Both are written in place. A separate tensor for each parameter would lie between the activations that are freed, and
keep the heap from returning their memory: 62 parameters and a sketch of 256 made 4 MB of such tensors, and as much
again when they were stacked. Parts of a table joined at the end would exist twice for a moment. Here a row is written
to its final place, and rows not yet written take no memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from influence_core.engine.readings.contract import Buffer, Wanted, contract
from influence_core.engine.readings.tiles import totals
from influence_core.engine.rules.factors import Factor, samples_of, tensor_of, wide
from influence_core.errors import InfluenceError


@dataclass
class Account:
    """Readings of one batch of b samples, in float64 on a CPU, else in the format of the gradients.

    sums (parameters, b, 2 + k): squared L2 norm, L1 norm, products. For each modulus (sketch.py), one sketch
    (b, modulus) of all parameters with it, before it is closed.
    """

    wanted: Mapping[str, Wanted]
    b: int
    k: int
    buffer: Buffer
    _sums: Tensor | None = None
    _folded: dict[int, Tensor] = field(default_factory=dict)

    def read(self, name: str, factor: Factor, low: int) -> None:
        """Add the readings of one parameter's gradient, for the samples from row `low` of the batch on."""
        wanted, like, high = self.wanted[name], wide(tensor_of(factor)[:0]), low + samples_of(factor)
        folded = None
        if wanted.sketch is not None:
            if wanted.sketch.modulus not in self._folded:
                self._folded[wanted.sketch.modulus] = totals(like, self.b, 0, wanted.sketch).folded
            folded = self._folded[wanted.sketch.modulus][low:high]
        readings = contract(factor, wanted, self.buffer, folded)
        self.sums(readings.sums)[list(self.wanted).index(name), low:high] = readings.sums

    def sums(self, like: Tensor) -> Tensor:
        """Sums of all parameters, zero where nothing was read; allocated at the first call, in the format of `like`."""
        if self._sums is None:
            self._sums = like.new_zeros(len(self.wanted), self.b, 2 + self.k)
        return self._sums

    def sketches(self, q: int, like: Tensor) -> Tensor:
        """Sum of all parameters' sketches, (b, q), in the format of `like`."""
        total = like.new_zeros(self.b, q)
        maps = {wanted.sketch.modulus: wanted.sketch for wanted in self.wanted.values() if wanted.sketch}
        for modulus, folded in self._folded.items():
            total = total + maps[modulus].closed(folded)
        return total.to(like.dtype)


@dataclass
class Table:
    """Columns by name, each (n, ...), always on the CPU; rows not yet written are uninitialised."""

    n: int
    columns: dict[str, Tensor] = field(default_factory=dict)

    def put(self, start: int, columns: Mapping[str, Tensor]) -> int:
        """Write rows from `start` on, and return the number of the row after them.

        Raises:
            InfluenceError: rows of another shape than those before, as when outputs grow with inputs.
        """
        stop = start
        for name, value in columns.items():
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
        """Views of rows `start` to `stop`, by column."""
        return {name: column[start:stop] for name, column in self.columns.items()}
