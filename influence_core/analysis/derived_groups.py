"""Groups derived from pictures: by their appearance, and by the direction of their gradients.

    brightness, contrast, sharpness   thirds of the training pictures, at the size the model sees
    size                              thirds by width times height of the stored picture
    colour_cast                       reddish, greenish, bluish (the third of train with the strongest cast) or neutral
    gradient_cluster                  k-means over the directions of the gradient sketches (the map of gradients)

Cuts are fitted on train, so a group means the same in every split. Clusters are fitted on validation, whose sketches
exist before the objectives are measured. A column of the dataset with the same name takes precedence. A measure that
does not vary makes no groups.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from influence_core.data import Samples
from influence_core.data.storage.pictures import picture_size

AT_ONCE = 256
CLUSTER_COLUMN = "gradient_cluster"
CLUSTERS = 6
FEWEST_A_CLUSTER = 20
LUMA = (0.299, 0.587, 0.114)
CASTS = ("reddish", "greenish", "bluish")
THIRDS = {
    "brightness": ("dark", "medium", "bright"),
    "contrast": ("flat", "medium", "strong"),
    "sharpness": ("blurred", "medium", "sharp"),
    "size": ("small", "medium", "large"),
}


def with_derived_groups(train: Any, *others: Any) -> list[Any]:
    """The same splits with derived group columns; anything but Samples of pictures stays unchanged."""
    if not isinstance(train, Samples) or train.kind != "image":
        return [train, *others]
    looks = _measured(train)
    return [train.with_groups(_grouped(looks, looks))] + [
        None if split is None else split.with_groups(_grouped(looks, _measured(split))) for split in others
    ]


def _grouped(train: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Group names by the cuts of train; measures that do not vary on train are left out."""
    columns: dict[str, list[str]] = {}
    for name, words in THIRDS.items():
        cuts = np.quantile(train[name].to_numpy(), [1 / 3, 2 / 3])
        if cuts[0] < cuts[1]:
            places = np.searchsorted(cuts, measures[name].to_numpy(), side="right")
            columns[name] = [words[place] for place in places]
    strongest = float(np.quantile(train["cast"].to_numpy(), 2 / 3))
    if strongest > 0:
        columns["colour_cast"] = [
            CASTS[int(channel)] if cast > strongest else "neutral"
            for cast, channel in zip(measures["cast"], measures["channel"], strict=True)
        ]
    return pd.DataFrame(columns, index=measures.index)


def _measured(samples: Samples) -> pd.DataFrame:
    """Brightness, contrast, sharpness in [0, 1], size in pixels, cast and its channel; one row a picture."""
    parts = []
    for low in range(0, len(samples), AT_ONCE):
        inputs, _ = samples.batch(range(low, min(low + AT_ONCE, len(samples))))
        parts.append(_looks(inputs))
    names = ["brightness", "contrast", "sharpness", "cast", "channel"]
    looks = pd.DataFrame(np.concatenate(parts), columns=names, index=list(samples.ids))
    sizes = [picture_size(samples.image_bytes(row)[0]) for row in range(len(samples))]
    return looks.assign(size=[float(width * height) for width, height in sizes])


def _looks(inputs: Tensor) -> np.ndarray:
    """The measures (b, 5) of pictures (b, c, h, w) in [0, 1]."""
    colours = inputs.shape[1] == 3
    grey = torch.einsum("bchw,c->bhw", inputs, torch.tensor(LUMA)) if colours else inputs[:, 0]
    across, down = grey.diff(dim=2).abs().flatten(1).mean(1), grey.diff(dim=1).abs().flatten(1).mean(1)
    means = inputs.flatten(2).mean(2)
    cast, channel = (means - means.mean(1, keepdim=True)).max(1)
    flat = grey.flatten(1)
    return torch.stack(
        [flat.mean(1), flat.std(1), across + down, cast.clamp(min=0), channel.to(cast)], 1
    ).numpy()


def has_clusters(train: Any) -> bool:
    """Whether gradient clusters become a group column: only of Samples, so that other datasets keep their columns."""
    return isinstance(train, Samples)


Assign = Callable[[Tensor], list[str]]
"""(n, q) sketches -> n names of clusters."""


def gradient_clusters(sketches: Tensor, *, seed: int) -> Assign | None:
    """Clusters of the directions of validation sketches (m, q), numbered by size, the largest first.

    None with fewer than two times FEWEST_A_CLUSTER sketches.
    """
    count = min(CLUSTERS, len(sketches) // FEWEST_A_CLUSTER)
    if count < 2:
        return None
    from sklearn.cluster import KMeans

    kmeans = KMeans(count, n_init="auto", random_state=seed).fit(_directions(sketches))
    labels: Any = kmeans.labels_
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    names = {int(cluster): f"cluster {place + 1}" for place, cluster in enumerate(order)}
    return lambda others: [names[int(cluster)] for cluster in kmeans.predict(_directions(others))]


def _directions(sketches: Tensor) -> np.ndarray:
    rows = sketches.double().numpy()
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
