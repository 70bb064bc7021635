"""Preprocessing of a network's inputs: channels, size and normalisation, or the encoding of a table."""

import math
from dataclasses import dataclass
from typing import Any

from influence_core.data.encoding import Encoding
from influence_core.errors import ModelError

MAX_CHANNELS, MAX_SIDE = 1_000_000, 4_096
"""Largest number of channels or features, and of pixels a side; what is larger is a mistake or an attack."""


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a picture in [0, 1] to a network's input: channels, size, then (x - mean) / std.

    For feature arrays `channels` is the number of features and `size` is None. `mean` and `std` hold one number for all
    channels, or one per channel.
    """

    channels: int
    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    table: Encoding | None = None
    """For tables: the encoding of columns as features."""

    def __post_init__(self):
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ModelError(f"Preprocessing has {self.channels} channels; expected 1 (grey) or 3 (colour).")
        if self.size is not None and (
            len(self.size) != 2 or not 1 <= min(self.size) <= max(self.size) <= MAX_SIDE
        ):
            raise ModelError(
                f"Preprocessing has size {self.size}; expected (height, width), each from 1 to {MAX_SIDE:,}."
            )
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


def table_preprocessing(encoding: Encoding) -> Preprocessing:
    """Return the preprocessing for a table: d features, standardised by the mean and std of train."""
    return Preprocessing(
        channels=len(encoding.features), size=None, mean=encoding.mean, std=encoding.std, table=encoding
    )


def preprocessed(samples: Any, preprocessing: Preprocessing) -> Any:
    """Return our samples in the model's input format: its channels and size, or the features of its table.

    Raises:
        DataError: the columns of the table are not those of the model.
    """
    if preprocessing.table is not None:
        return samples.encoded_by(preprocessing.table)
    return samples.resized(preprocessing.channels, preprocessing.size)


def described(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the entry of model.json; `table` is left out where there is none."""
    facts = {name: getattr(preprocessing, name) for name in ("channels", "size", "mean", "std")}
    return facts if preprocessing.table is None else facts | {"table": preprocessing.table.to_json()}
