"""Resumable trainings: after each epoch one file holds everything that decides the rest.

It holds weights, optimizer, schedule, torch's random state, the epochs so far and the best one by validation loss. Its
key ties it to one training: it is never continued with other samples, another recipe or another start.
"""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from influence_core.data.samples import Samples
from influence_core.models.opened import OpenedModel
from influence_core.models.weight_files.unpickle import read
from influence_core.system import atomic
from influence_core.training.recipe import Recipe

ARRAYS = ("losses", "margins")


def key_of(model: OpenedModel, samples: Samples, recipe: Recipe, weights: np.ndarray) -> str:
    """SHA-256 of everything that decides a training: start, samples with labels, weights, recipe, threads."""
    facts = [recipe.to_json(), model.fingerprint, samples.fingerprint, torch.get_num_threads()]
    return hashlib.sha256(json.dumps(facts).encode() + weights.tobytes()).hexdigest()


class State:
    """The state of one training between its epochs. Without a file only the best epoch is kept, in memory."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        file: Path | None,
        key: str,
    ) -> None:
        self._parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
        self._file, self._key = file, key
        self._epochs: list[dict[str, Any]] = []
        self._best: dict[str, Any] | None = None
        self._best_epoch = 0

    @property
    def epochs_done(self) -> int:
        return len(self._epochs)

    def resumed(self) -> Iterator[dict[str, Any]]:
        """Restore the state after the last whole epoch, and yield the fields of each earlier epoch."""
        content = self._read()
        if content is None:
            return
        for name, part in self._parts.items():
            part.load_state_dict(content[name])
        torch.set_rng_state(content["random"])
        self._best, self._best_epoch = content["best"], content["best_epoch"]
        self._epochs = [e | {name: e[name].numpy() for name in ARRAYS} for e in content["epochs"]]
        yield from self._epochs

    def keep(self, epoch: Any, *, watched: bool) -> None:
        """Add an epoch, and write the file if there is one; `watched`: keep the weights of lowest validation loss."""
        self._epochs.append(asdict(epoch))
        if watched and epoch.validation_loss <= min(e["validation_loss"] for e in self._epochs):
            self._best, self._best_epoch = deepcopy(self._parts["model"].state_dict()), epoch.number
        if self._file is not None:
            content = {name: part.state_dict() for name, part in self._parts.items()}
            content |= {"key": self._key, "random": torch.get_rng_state(), "best": self._best}
            content |= {"best_epoch": self._best_epoch}
            # as tensors: torch's safe reader does not read NumPy arrays
            content["epochs"] = [
                e | {name: torch.from_numpy(e[name]) for name in ARRAYS} for e in self._epochs
            ]
            with atomic.writing(self._file, durable=False) as file:
                torch.save(content, file)

    def waited_in_vain(self, patience: int) -> bool:
        """Whether the last `patience` epochs brought no lower validation loss; False for a patience of 0."""
        return bool(patience) and self.epochs_done - self._best_epoch >= patience

    def settle(self, *, best: bool) -> None:
        """End the training: load the weights of the best epoch if `best`, and delete the file."""
        if best and self._best is not None:
            self._parts["model"].load_state_dict(self._best)
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        """The content of the file; None when it is missing or belongs to another training."""
        if self._file is None or not self._file.exists():
            return None
        with self._file.open("rb") as file:
            content: Any = read(file)
        return content if content.get("key") == self._key else None
