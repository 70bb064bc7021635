"""What does a model answer when somebody nudges its inputs against it? A fresh attack on every trained model.

FGSM (Goodfellow et al., ICLR 2015): x' = x + epsilon sign(gradient of the loss in x), for pictures kept in [0, 1].
Adversarial samples of one model are no attack on another, so each is attacked anew after every training.
"""

import numpy as np
import torch
from torch import nn

from influence_core.data.samples import Samples
from influence_core.engine.batches import batches
from influence_core.engine.taps import scoring
from influence_core.models.opened import OpenedModel

EPSILON = 0.03  # about 8 of 255 steps of brightness


def attacked(model: OpenedModel, samples: Samples, epsilon: float = EPSILON) -> np.ndarray:
    """Class probabilities (m, c) float32 on samples moved by epsilon in every coordinate against this model."""
    preprocessing = model.preprocessing
    fitted = samples.fitted(preprocessing.channels, preprocessing.size)
    found = []
    with scoring(model):
        for batch in batches(fitted, 256, like=model):
            inputs = batch.inputs.clone().requires_grad_(True)
            with torch.enable_grad():
                loss = nn.functional.cross_entropy(model(inputs), batch.labels, reduction="sum")
                (slope,) = torch.autograd.grad(loss, inputs)
            moved = inputs.detach() + epsilon * slope.sign()
            if samples.kind != "array":
                moved = moved.clamp(0, 1)
            with torch.no_grad():
                found.append(model(moved).softmax(1).cpu())
    return torch.cat(found).numpy()
