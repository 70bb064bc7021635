"""What does the model say about the samples it was not trained on? One row per validation and test sample.

    held_out.parquet   split ("val", "test"), sample_id, label, predicted, confidence, loss, grad_norm (NaN for test)

Written so that a page can show the predictions that went most wrong without opening model or data again.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

FILE = "held_out.parquet"
SPLITS = ("val", "test")


def held_out_table(
    split: str,
    *,
    ids: Sequence[str],
    labels: np.ndarray,
    logits: Tensor,
    losses: Tensor,
    grad_norms: Tensor | None,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The rows of one split of m samples: labels (m,), logits (m, c), losses (m,), norms (m,) where they were swept."""
    chances = logits.double().softmax(1)
    names, best = np.asarray(classes, dtype=object), chances.argmax(1).numpy()
    return pd.DataFrame(
        {
            "split": split,
            "sample_id": list(ids),
            "label": names[labels],
            "predicted": names[best],
            "confidence": chances.amax(1).numpy(),
            "loss": losses.numpy().astype(np.float32),
            "grad_norm": np.nan if grad_norms is None else grad_norms.numpy(),
        }
    )
