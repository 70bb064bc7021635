"""`Described`: anybody's split with what is known of each sample, read in one pass.

Our own Samples carry ids, labels, groups and a fingerprint. Any other map-style dataset is wrapped once, so that nobody
after it asks what kind it is, or decodes it again to learn its labels.
"""

import hashlib
from functools import cached_property
from typing import Any, final

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.data import Samples
from influence_core.engine.batches import batches, count
from influence_core.errors import DataError
from influence_core.inputs.fingerprints import absorb

READ_AT_ONCE = 256


def adapted(samples: Any) -> Any:
    """Samples as they are, another dataset as Described; None stays None."""
    return samples if samples is None or isinstance(samples, Samples | Described) else Described(samples)


@final
class Described(Dataset):
    """A map-style dataset of (input, label) that is not ours, with row numbers as ids; read on first use."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset: Any = dataset
        self.classes = getattr(dataset, "classes", None)
        self.ids = tuple(str(row) for row in range(count(dataset)))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Any:
        return self.dataset[row]

    @property
    def labels(self) -> np.ndarray:
        """Given labels (n,) int64, from the items: the dataset's own `labels` may stand before a target transform."""
        return self._read[0]

    @property
    def fingerprint(self) -> str:
        """The dataset's own, else SHA-256 over every input and label in order."""
        return getattr(self.dataset, "fingerprint", None) or self._read[1]

    @property
    def groups(self) -> pd.DataFrame:
        """Group columns, one row a sample; without columns where the dataset names none."""
        groups = getattr(self.dataset, "groups", None)
        return groups if groups is not None else pd.DataFrame(index=range(len(self)))

    @cached_property
    def _read(self) -> tuple[np.ndarray, str]:
        """Labels and digest, from one pass over the content."""
        digest, labels = hashlib.sha256(), []
        for batch in batches(self, READ_AT_ONCE, like=nn.Identity()):
            absorb(digest, batch.inputs)
            absorb(digest, batch.labels)
            labels.append(_one_each(batch.labels, len(batch)))
        return np.concatenate(labels) if labels else np.zeros(0, np.int64), digest.hexdigest()


def _one_each(labels: Tensor, samples: int) -> np.ndarray:
    """Labels (b,) int64 of a batch."""
    if labels.numel() != samples:
        raise DataError(
            f"The labels of {samples} samples have shape {tuple(labels.shape)}; expected one class number a sample."
        )
    return labels.reshape(-1).long().cpu().numpy()
