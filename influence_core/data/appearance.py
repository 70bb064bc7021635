"""Measured properties of a split's inputs: size, channels, mean and standard deviation."""

from collections import Counter
from typing import Any

import numpy as np

from influence_core.data.samples import Samples

MEASURED = 256
"""The largest number of samples whose size and values are measured."""


def appearance(samples: Samples) -> dict[str, Any]:
    """Measure sizes, channels, mean and standard deviation of the inputs, on at most MEASURED samples.

    Pixels are in [0, 1], mean and standard deviation per channel; features keep their unit, per feature. One picture is
    in memory at a time, a large one at a fraction of its size, as it is before any network sees it.
    """
    positions = np.linspace(0, len(samples) - 1, min(MEASURED, len(samples))).astype(int).tolist()
    if (encoding := samples.encoding) is not None:
        return {
            "features": len(encoding.features),
            "mean": list(encoding.mean),
            "std": list(encoding.std),
            "table": encoding.to_json(),
        }
    if samples.kind == "array":
        rows = np.stack([samples[position][0].numpy() for position in positions])
        spread = np.where(rows.std(0) > 1e-6, rows.std(0), 1.0)
        return {"features": rows.shape[1], "mean": rows.mean(0).tolist(), "std": spread.tolist()}
    return of_pictures(samples, positions)


def of_pictures(samples: Samples, positions: list[int]) -> dict[str, Any]:
    """Measure these pictures; a grey one counts as colour where others have colour."""
    sizes: Counter[tuple[int, int]] = Counter()
    means, squares = [], []
    measured: dict[bytes, tuple] = {}
    for position in positions:
        content = samples.digests[position].tobytes()
        if content not in measured:
            measured[content] = measures(*samples.glance(position))
        size, mean, square = measured[content]
        sizes[size] += 1
        means.append(mean)
        squares.append(square)
    channels = max(map(len, means))
    mean, square = (np.mean([np.resize(part, channels) for part in parts], 0) for parts in (means, squares))
    return {
        "size": list(sizes.most_common(1)[0][0]),
        "sizes": len(sizes),
        "channels": channels,
        "mean": mean.round(4).tolist(),
        "std": np.sqrt(np.maximum(square - mean**2, 1e-6)).round(4).tolist(),
    }


def measures(value: np.ndarray, size: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """The size of a picture, and the mean and mean square of each channel."""
    flat = value.reshape(len(value), -1)
    return size, flat.mean(1), (flat**2).mean(1)
