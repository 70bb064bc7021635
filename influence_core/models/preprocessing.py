"""What does a network expect of a picture before it sees it?"""

import math
from dataclasses import dataclass

from influence_core.errors import ModelError


@dataclass(frozen=True)
class Preprocessing:
    """How a picture in [0, 1] becomes a network's input: channels, size, then (x - mean) / std.

    For feature arrays `channels` is the number of features and `size` is None. `mean` and `std` hold one
    number for all channels, or one for each.
    """

    channels: int
    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self):
        if self.channels < 1:
            raise ModelError(f"Preprocessing has {self.channels} channels; expected 1 (grey) or 3 (colour).")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ModelError(f"Preprocessing has size {self.size}; expected (height, width), each 1 or more.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ModelError(
                    f"Preprocessing has {len(values)} values of {name} for {self.channels} channels; "
                    "expected 1 for all channels or one for each."
                )
        if not all(0 < value < math.inf for value in self.std) or not all(map(math.isfinite, self.mean)):
            raise ModelError(
                f"Preprocessing has mean {self.mean} and std {self.std}; every value must be finite, every "
                "std greater than 0."
            )
