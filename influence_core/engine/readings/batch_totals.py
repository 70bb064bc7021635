"""Where does everything that is read off one batch go? Into one tensor of sums, and one sketch for all parameters of a
modulus (sketch.py), added to in place as the backward pass goes on.

Of each parameter, tensors of its own would stay behind between the activations that are freed, and keep the heap from
giving them back: 62 parameters and a sketch of 256 made 4 MB of them, and as much again when they were stacked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from influence_core.engine.readings.contract import Buffer, Wanted, contract
from influence_core.engine.readings.tiles import totals
from influence_core.engine.rules.factors import Factor, samples_of, tensor_of, wide


@dataclass
class Account:
    """What was read of b samples. sums (parameters, b, 2 + k): squared L2 norm, L1 norm, products; by modulus the
    sketch (b, modulus) of all its parameters, before it is closed. Both in float64 where the device has it."""

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
