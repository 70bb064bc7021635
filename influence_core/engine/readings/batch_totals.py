"""Where readings go: those of one batch to an Account while it runs backward, finished rows to a Table of all samples.

Both are written in place. Tensors of each parameter's own would stay behind between the activations that are freed, and
keep the heap from giving them back: 62 parameters and a sketch of 256 made 4 MB of them, and as much again when they
were stacked. Parts of a table that are kept apart and joined at the end exist twice for a moment; here a row is written
where it stays, and rows not yet written take no memory.
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
    """What was read of one batch of b samples, in float64 where the device has it.

    sums (parameters, b, 2 + k): squared L2 norm, L1 norm, products; by modulus (sketch.py) one sketch (b, modulus) of
    all its parameters, before it is closed.
    """

    wanted: Mapping[str, Wanted]
    b: int
    k: int
    buffer: Buffer
    _sums: Tensor | None = None
    _folded: dict[int, Tensor] = field(default_factory=dict)

    def read(self, name: str, factor: Factor, low: int) -> None:
        """Add what is wanted of one parameter's gradient, for the samples from row `low` of the batch on."""
        wanted, like, high = self.wanted[name], wide(tensor_of(factor)[:0]), low + samples_of(factor)
        folded = None
        if wanted.sketch is not None:
            if wanted.sketch.modulus not in self._folded:
                self._folded[wanted.sketch.modulus] = totals(like, self.b, 0, wanted.sketch).folded
            folded = self._folded[wanted.sketch.modulus][low:high]
        read = contract(factor, wanted, self.buffer, folded)
        self.sums(read.sums)[list(self.wanted).index(name), low:high] = read.sums

    def sums(self, like: Tensor) -> Tensor:
        """The sums of all parameters, zero where nothing was read; made like these numbers at the first call."""
        if self._sums is None:
            self._sums = like.new_zeros(len(self.wanted), self.b, 2 + self.k)
        return self._sums

    def sketches(self, q: int, like: Tensor) -> Tensor:
        """The sum of all parameters' sketches, (b, q), in the format of `like`."""
        total = like.new_zeros(self.b, q)
        maps = {wanted.sketch.modulus: wanted.sketch for wanted in self.wanted.values() if wanted.sketch}
        for modulus, folded in self._folded.items():
            total = total + maps[modulus].closed(folded)
        return total.to(like.dtype)


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
