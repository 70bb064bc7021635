"""Measured properties of a split's inputs: size, channels, mean and standard deviation."""

from collections import Counter
from typing import Any

import numpy as np

from influence_core.data.samples import Samples

MEASURED = 256
"""The largest number of samples whose size and values are measured."""


def appearance(samples: Samples) -> dict[str, Any]:
    """Measure sizes, channels, mean and standard deviation of the inputs, on at most MEASURED samples.

    Pixels are in [0, 1], mean and standard deviation per channel; features keep their unit, per feature.
    """
    positions = np.linspace(0, len(samples) - 1, min(MEASURED, len(samples))).astype(int)
    values = [samples[int(position)][0].numpy() for position in positions]
    if (encoding := samples.encoding) is not None:
        return {
            "features": len(encoding.features),
            "mean": list(encoding.mean),
            "std": list(encoding.std),
            "table": encoding.to_json(),
        }
    if samples.kind == "array":
        rows = np.stack(values)
        spread = np.where(rows.std(0) > 1e-6, rows.std(0), 1.0)
        return {"features": rows.shape[1], "mean": rows.mean(0).tolist(), "std": spread.tolist()}
    sizes = Counter((value.shape[1], value.shape[2]) for value in values)
    channels = max(len(value) for value in values)
    flat = [value.reshape(len(value), -1) for value in values]
    flat = [np.repeat(value, channels, 0) if len(value) < channels else value for value in flat]
    mean = np.mean([value.mean(1) for value in flat], 0)
    square = np.mean([(value**2).mean(1) for value in flat], 0)
    return {
        "size": list(sizes.most_common(1)[0][0]),
        "sizes": len(sizes),
        "channels": channels,
        "mean": mean.round(4).tolist(),
        "std": np.sqrt(np.maximum(square - mean**2, 1e-6)).round(4).tolist(),
    }
