"""Scores of TRAK and kronfluence for the same models, by their packages as documented.

Scores (n, m) have our sign: positive = training on the sample helps the test sample. Both packages are optional; a
missing one is named in its row. traker projects to 128 numbers on the CPU; kronfluence fits EK-FAC factors on labels
that it draws itself.
"""

import logging
import tempfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from influence_core.data import Samples
from influence_core.models import OpenedModel

PROJECTED = 128  # below n = 500: at 512 its Gram matrix has no inverse, and its scores were chance
BATCH = 100

Scores = Callable[[list[OpenedModel], Samples, Samples], np.ndarray]


def trak_package(models: list[OpenedModel], train: Samples, test: Samples) -> np.ndarray:
    """Scores (n, m) of traker over these checkpoints."""
    from trak import TRAKer  # pyright: ignore[reportMissingImports]

    learned, asked = _tensors(train, models[0]), _tensors(test, models[0])
    with tempfile.TemporaryDirectory() as folder:
        traker = TRAKer(
            model=deepcopy(models[0]), task="image_classification", train_set_size=len(train), device="cpu",
            proj_dim=PROJECTED, save_dir=folder, use_half_precision=False, logging_level=logging.ERROR,
        )  # fmt: skip
        for number, model in enumerate(models):
            traker.load_checkpoint(model.state_dict(), model_id=number)
            for batch in DataLoader(learned, BATCH):
                traker.featurize(batch=batch, num_samples=len(batch[0]))
        traker.finalize_features()
        for number, model in enumerate(models):
            traker.start_scoring_checkpoint(
                exp_name="lds", checkpoint=model.state_dict(), model_id=number, num_targets=len(test)
            )
            for batch in DataLoader(asked, BATCH):
                traker.score(batch=batch, num_samples=len(batch[0]))
        return np.array(traker.finalize_scores(exp_name="lds"), dtype=float)


def kronfluence_package(models: list[OpenedModel], train: Samples, test: Samples) -> np.ndarray:
    """Scores (n, m) of kronfluence with EK-FAC, the mean over these models."""
    return np.mean([_kronfluence(model, train, test) for model in models], axis=0)


def _kronfluence(model: OpenedModel, train: Samples, test: Samples) -> np.ndarray:
    from kronfluence.analyzer import Analyzer, prepare_model  # pyright: ignore[reportMissingImports]

    described = _task()
    prepared = prepare_model(deepcopy(model), described)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "lds",
            prepared,
            described,
            cpu=True,
            disable_tqdm=True,
            output_dir=folder,
            log_level=logging.ERROR,
        )
        learned, asked = _tensors(train, model), _tensors(test, model)
        analyzer.fit_all_factors("ekfac", dataset=learned, per_device_batch_size=BATCH)
        analyzer.compute_pairwise_scores(
            "scores", factors_name="ekfac", query_dataset=asked, train_dataset=learned,
            per_device_query_batch_size=BATCH, per_device_train_batch_size=BATCH,
        )  # fmt: skip
        return analyzer.load_pairwise_scores("scores")["all_modules"].float().numpy().T


def _task() -> Any:
    from kronfluence.task import Task  # pyright: ignore[reportMissingImports]

    class Loss(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            outputs, labels = model(batch[0]), batch[1]
            if sample:  # the true Fisher matrix: labels drawn from the model itself
                labels = torch.multinomial(outputs.detach().softmax(1), 1).squeeze(1)
            return nn.functional.cross_entropy(outputs, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    return Loss()


def _tensors(samples: Samples, model: OpenedModel) -> TensorDataset:
    expects = model.preprocessing
    return TensorDataset(*samples.resized(expects.channels, expects.size).batch(range(len(samples))))


PEERS: dict[str, tuple[str, Scores]] = {
    "traker": ("trak", trak_package),
    "kronfluence EK-FAC": ("kronfluence", kronfluence_package),
}
