"""A model and its dataset opened as a pair, with the same classes in the order of the model's outputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from influence_core.data import Dataset, open_dataset
from influence_core.models import OpenedModel, check_fits, open_model
from influence_core.system import memory


def open_pair(
    model: str | Path,
    dataset: str | Path,
    *,
    model_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
) -> tuple[OpenedModel, Dataset]:
    """Open a model and its dataset, each from its path with the keywords of open_model and open_dataset.

    Raises:
        InfluenceError: one of them cannot be read.
        ModelError: they name their classes differently.
    """
    network = open_model(model, **(model_options or {}))  # first: a wrong weight file is reported at once
    with memory.limited():
        opened = open_dataset(dataset, **(dataset_options or {}))
    return network, paired(network, opened)


def paired(model: OpenedModel, dataset: Dataset) -> Dataset:
    """Return the dataset with its classes in the order of the model's outputs.

    Raises:
        ModelError: they name their classes differently.
    """
    ordered = in_order(dataset, model.classes)
    check_fits(model, ordered)
    return ordered


def in_order(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the dataset with its classes in this order, perhaps some without samples; unchanged if it has others."""
    return dataset.with_classes(classes) if set(dataset.classes) <= set(classes) else dataset
