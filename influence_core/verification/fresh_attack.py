"""What does a model answer when somebody nudges its inputs against it? A fresh attack on every trained model.

One step of FGSM (attacks.py) in the model's own input range. Adversarial samples of one model are no attack
on another, so each is attacked anew after every training.
"""

import numpy as np
import torch

from influence_core.data.samples import Samples
from influence_core.engine.batches import batches
from influence_core.engine.losses import loss_by_name
from influence_core.engine.watching.watch import scoring
from influence_core.models.opened import OpenedModel
from influence_core.models.preprocessing import fitted
from influence_core.objectives.objective import Seen
from influence_core.objectives.perturbed import attacks
from influence_core.objectives.perturbed.input_space import input_space

EPSILON = 8 / 255
"""Share of the pixel range, as is customary; of a standard deviation for the features of a table."""


def attacked(model: OpenedModel, samples: Samples, epsilon: float = EPSILON) -> np.ndarray:
    """Class probabilities (m, c) float32 on samples moved by epsilon in every coordinate against this model."""
    samples = fitted(samples, model.preprocessing)
    space, loss, found = input_space(model, samples), loss_by_name("cross_entropy"), []
    with scoring(model):
        for batch in batches(samples, 256, like=model):
            rows = torch.arange(batch.start, batch.stop)
            seen = Seen(model, batch.inputs, batch.labels, rows, loss)
            moved = attacks.attacked(seen, space, "fgsm", epsilon)
            with torch.no_grad():
                found.append(model(moved).softmax(1).cpu())
    return torch.cat(found).numpy()
