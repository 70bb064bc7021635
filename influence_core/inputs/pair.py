"""A model and its dataset opened as a pair: classes in the order of the model's outputs, checked to fit each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from influence_core.data import Dataset, open_dataset
from influence_core.models import OpenedModel, check_fits, open_model


def open_pair(
    model: str | Path,
    dataset: str | Path,
    *,
    model_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
) -> tuple[OpenedModel, Dataset]:
    """Open both.

    Args:
        model: For open_model, with keywords such as architecture.
        dataset: For open_dataset, with keywords such as skip_unreadable.

    Raises:
        InfluenceError: one of them cannot be read.
        ModelError: they name their classes differently.
    """
    network = open_model(model, **(model_options or {}))  # first: a wrong file of weights is told at once
    return network, paired(network, open_dataset(dataset, **(dataset_options or {})))


def paired(model: OpenedModel, dataset: Dataset) -> Dataset:
    """The dataset with its classes in the order of the model's outputs.

    Raises:
        ModelError: they name their classes differently.
    """
    ordered = in_order(dataset, model.classes)
    check_fits(model, ordered)
    return ordered


def in_order(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The dataset with its classes in this order where they are the same names; else as it is."""
    return dataset.with_classes(classes) if set(dataset.classes) == set(classes) else dataset
