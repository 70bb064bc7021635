"""`Described`: a foreign dataset with ids, labels, groups and a fingerprint, read in one pass.

Our Samples have these attributes. Any other map-style dataset is wrapped once, so that later code need not test its
kind, nor decode it again for its labels.
"""

import hashlib
from functools import cached_property
from typing import Any, final

import numpy as np
import pandas as pd
from torch import nn
from torch.utils.data import Dataset

from influence_core.data import Samples
from influence_core.engine.batches import batches
from influence_core.engine.given_samples import as_rows, count
from influence_core.engine.losses import as_labels
from influence_core.engine.repeats import Steady, is_steady
from influence_core.inputs.fingerprints import absorb

READ_AT_ONCE = 256


def adapted(samples: Any) -> Any:
    """Wrap a dataset in Described; Samples, Described and None are returned unchanged, a plain DataLoader opened."""
    samples = samples if samples is None else as_rows(samples)
    return samples if samples is None or isinstance(samples, Samples | Described) else Described(samples)


@final
class Described(Dataset):
    """A foreign map-style dataset of (input, label), with row numbers as ids; read on first use.

    The pass that reads its labels is the first read of every sample, and each later one is compared with it.
    """

    reads_compared = True

    def __init__(self, dataset: Dataset) -> None:
        self.dataset: Any = dataset
        self._rows: Any = dataset if is_steady(dataset) else Steady(dataset)
        self.classes = getattr(dataset, "classes", None)
        self.ids = tuple(str(row) for row in range(count(dataset)))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Any:
        return self._rows[row]

    @property
    def labels(self) -> np.ndarray:
        """Given labels (n,) int64, from the items: the dataset's `labels` may lack a target transform."""
        return self._read[0]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the dataset, else SHA-256 over every input and label in order."""
        return getattr(self.dataset, "fingerprint", None) or self._read[1]

    @property
    def groups(self) -> pd.DataFrame:
        """Group columns, one row per sample; no columns where the dataset has none."""
        groups = getattr(self.dataset, "groups", None)
        return groups if groups is not None else pd.DataFrame(index=range(len(self)))

    @cached_property
    def _read(self) -> tuple[np.ndarray, str]:
        """Labels and digest, from one pass over the content."""
        digest, labels = hashlib.sha256(), []
        for batch in batches(self, READ_AT_ONCE, like=nn.Identity()):
            absorb(digest, batch.inputs)
            absorb(digest, batch.labels)
            labels.append(as_labels(batch).cpu().numpy())
        return np.concatenate(labels) if labels else np.zeros(0, np.int64), digest.hexdigest()
