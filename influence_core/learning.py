"""How was each sample learned? Its loss and margin in every epoch, recorded while training anyway.

    record = LearningRecord()
    train(model, samples, recipe, on_epoch=record)
    record.aum()          area under the margin: mean margin over epochs; low = fits badly to its class
    record.forgetting()   how often a sample was right in one epoch and wrong in the next

Sources: Pleiss et al., NeurIPS 2020 (arXiv 2001.10528); Toneva et al., ICLR 2019 (arXiv 1812.05159). Both read the
outputs of the training step itself, as here; forgetting counts epochs, not single presentations in between.
"""

import numpy as np

from influence_core.errors import InfluenceError
from influence_core.training import Epoch


class LearningRecord:
    """Losses and margins (epochs, n), float32; NaN where a sample took no part. Give it to train as on_epoch."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def __call__(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    @property
    def losses(self) -> np.ndarray:
        return np.stack([epoch.losses for epoch in self._recorded()])

    @property
    def margins(self) -> np.ndarray:
        return np.stack([epoch.margins for epoch in self._recorded()])

    def aum(self) -> np.ndarray:
        """Mean margin over epochs (n,), in logits; negative = another class was preferred all along."""
        return self.margins.mean(axis=0)

    def forgetting(self) -> np.ndarray:
        """How often each sample was forgotten (n,) int64; the number of epochs for one that was never right."""
        right = self.margins > 0
        forgotten = (right[:-1] & ~right[1:]).sum(axis=0)
        return np.where(right.any(axis=0), forgotten, len(right))

    def _recorded(self) -> list[Epoch]:
        if not self.epochs:
            raise InfluenceError("No epoch was recorded: give this record to train() as on_epoch, then ask.")
        return self.epochs
