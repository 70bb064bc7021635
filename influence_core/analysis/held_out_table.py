"""What did the model make of each held-out sample? One row a validation or test sample, beside samples.parquet."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from influence_core.inputs import facts as identity
from influence_core.scores.plain.outputs import baselines


def held_out_table(
    samples: Any,
    logits: Tensor,
    classes: tuple[str, ...],
    groups: pd.DataFrame | None,
    grad_norms: Tensor | None = None,
) -> pd.DataFrame:
    """sample_id, label, predicted, confidence, loss (cross-entropy, nats) and the group columns, m rows.

    grad_norm is there where the samples were swept: each one's gradient norm (m,), all layers.
    """
    labels = identity.labels_of(samples)
    plain = baselines(logits.numpy(), labels)
    losses = torch.nn.functional.cross_entropy(logits.double(), torch.from_numpy(labels), reduction="none")
    table = pd.DataFrame(
        {
            "sample_id": list(identity.ids_of(samples)),
            "label": [classes[label] for label in labels],
            "predicted": [classes[int(label)] for label in plain.predicted],
            "confidence": plain.confidence,
            "loss": losses.numpy().astype("float32"),
        }
    )
    if grad_norms is not None:
        table["grad_norm"] = grad_norms.numpy()
    if groups is not None:
        table = table.assign(**{str(name): groups[name].to_numpy() for name in groups.columns})
    return table
