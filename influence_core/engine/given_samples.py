"""Samples as a person gives them: rows that can be read again, read as pairs and joined into a batch.

What cannot be understood without a guess is refused: the sentence names the sample, what was found, what is expected,
and the line to write. An error of the dataset's own code is chained, so that its traceback stays visible.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from influence_core.engine.watching.nested import tensors_in
from influence_core.errors import DataError, InfluenceError

PAIR = "a pair (input, label)"


def as_rows(samples: Any) -> Any:
    """The samples as rows 0 to n - 1 that can be read again: of a plain DataLoader, its dataset in its own order.

    Raises:
        DataError: something without rows, or a loader that changes or leaves out samples.
    """
    if isinstance(samples, DataLoader):
        return as_rows(_loaded(samples))
    if isinstance(samples, IterableDataset):
        raise DataError(
            f"{type(samples).__name__} is an IterableDataset: its samples come one after another, once. Scores need "
            "rows that can be read again: if they fit into memory, give list(samples), else a dataset with __len__ and "
            "__getitem__."
        )
    if isinstance(samples, Tensor | np.ndarray):
        raise DataError(
            f"The samples are one {described(samples)}, without labels. Expected {PAIR} per sample: give "
            "torch.utils.data.TensorDataset(inputs, labels)."
        )
    if (
        samples is None
        or isinstance(samples, str | Path)
        or type(samples).__module__.split(".")[0] == "pandas"
    ):
        raise DataError(
            f"The samples are {described(samples)}; expected a dataset that returns {PAIR}. Files and tables are read "
            "by ic.open_dataset(path), whose .train and .val are such datasets."
        )
    if isinstance(samples, Mapping):
        raise DataError(
            f"The samples are a dictionary with {_keys(samples)}. Expected the samples of one split, {PAIR} each: "
            'give one entry, such as samples["train"].'
        )
    if not hasattr(samples, "__len__") and hasattr(samples, "train"):
        raise DataError(
            f"{type(samples).__name__} holds several splits. Expected the samples of one: give samples.train or "
            "samples.val."
        )
    if not hasattr(samples, "__len__"):
        raise DataError(
            f"{type(samples).__name__} has no length. Scores need rows that can be read again: give list(samples), or "
            "a map-style dataset with __len__ and __getitem__."
        )
    if not hasattr(samples, "__getitem__"):
        raise DataError(
            f"{type(samples).__name__} has a length but no __getitem__. Expected dataset[i] to return {PAIR}: give "
            "list(samples), or a map-style dataset."
        )
    return samples


def _loaded(loader: DataLoader) -> Any:
    """The dataset of a loader that only joins and shuffles; DataError when it does more."""
    sampler = loader.sampler
    plain = isinstance(sampler, SequentialSampler) or (
        isinstance(sampler, RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)  # pyright: ignore[reportArgumentType]
    )
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    if not plain or not isinstance(loader.batch_sampler, BatchSampler | None):
        raise DataError(
            f"The DataLoader chooses samples by a {type(loader.batch_sampler if plain else sampler).__name__}, so its "
            "rows are not those of its dataset. Expected a dataset, every row once: give loader.dataset, or "
            "torch.utils.data.Subset(loader.dataset, rows) for some of them."
        )
    if loader.collate_fn is not default_collate:
        raise DataError(
            f"The DataLoader joins samples by {getattr(loader.collate_fn, '__name__', 'a function')} of its own, which "
            f"may change them. Expected a dataset that returns {PAIR} ready for the model: do that work in its "
            "__getitem__, and give the dataset; or give loader.dataset if it is ready as it is."
        )
    return loader.dataset


def count(samples: Any) -> int:
    """Number of samples.

    Raises:
        DataError: something without rows.
    """
    return len(as_rows(samples))


def source_of(samples: Any, row: int) -> tuple[Any, int]:
    """The dataset that Subsets were taken from, and the number of a row in it."""
    while isinstance(samples, Subset):
        samples, row = samples.dataset, samples.indices[row]
    return samples, int(row)


def place_of(samples: Any, row: int) -> int:
    """The number of a row in the dataset that Subsets were taken from."""
    return source_of(samples, row)[1]


def read(samples: Any, row: int) -> Any:
    """One sample; DataError with its number when the dataset's own code fails."""
    try:
        return samples[row]
    except (InfluenceError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"Sample {place_of(samples, row)} could not be read: the dataset's own code raised "
            f"{type(error).__name__}: {error}. Its traceback stands above. Expected {PAIR} for each of the "
            f"{len(samples):,} rows that its length promises."
        ) from error


def joined(samples: Any, low: int, high: int) -> tuple[Any, Tensor]:
    """Rows low to high as one batch: inputs as default_collate joins them, and labels.

    Raises:
        DataError: an item that is no pair, or items that do not join.
    """
    items = [read(samples, row) for row in range(low, high)]
    for row, item in zip(range(low, high), items, strict=True):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(_no_pair(place_of(samples, row), item))
    try:
        inputs, labels = default_collate(items)
        labels = torch.as_tensor(labels)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        names = [place_of(samples, row) for row in range(low, high)]
        raise DataError(next(_faults(names, items), _do_not_join(names, error))) from error
    if isinstance(inputs, Mapping) and not isinstance(inputs, dict):
        inputs = dict(inputs)  # tokenizers return mappings of their own
    if not tensors_in(inputs):
        raise DataError(_no_numbers(place_of(samples, low), items[0][0]))
    return inputs, labels


def _no_pair(place: int, item: Any) -> str:
    if isinstance(item, Mapping):
        return (
            f"Sample {place} is a dictionary with {_keys(item)}; expected {PAIR}. Give pairs, for example "
            f"{_pairs_of_dictionaries(item)}, or return such a pair from the dataset's __getitem__."
        )
    if isinstance(item, tuple | list):
        kinds = ", ".join(described(part) for part in item)
        line = "[(item[0], item[1]) for item in dataset]"
        more = f"Give pairs, for example {line}, or return" if len(item) > 2 else "Return"
        found = f"{_article(type(item).__name__)} of {len(item)} ({kinds})"
        return (
            f"Sample {place} is {found}; expected {PAIR}. {more} (input, label) from its __getitem__; several "
            "inputs go into one tuple or dictionary: ((a, b), label)."
        )
    return (
        f"Sample {place} is {described(item)} without a label; expected {PAIR}. Wrap the dataset so that dataset[i] "
        "returns (input, label); of two arrays, torch.utils.data.TensorDataset(inputs, labels) does."
    )


def _pairs_of_dictionaries(item: Mapping[Any, Any]) -> str:
    words = ("label", "labels", "target", "y", "fine_label", "class")
    label = next((key for key in words if key in item), "label")
    first = next((key for key in item if key != label), "image")
    return f"[(item[{first!r}], item[{label!r}]) for item in dataset]"


def _faults(names: Sequence[int], items: Sequence[Any]) -> Iterator[str]:
    """Sentences about the first item that cannot be part of a batch."""
    for place, (inputs, label) in zip(names, items, strict=True):
        yield from _label_fault(place, label)
        yield from _input_fault(place, inputs)
    for part, word in ((0, "input"), (1, "label")):
        shapes = [
            tuple(np.shape(item[part]))
            for item in items
            if isinstance(item[part], Tensor | np.ndarray | int | float)
        ]
        for place, shape in zip(names, shapes, strict=False):
            if shape != shapes[0]:
                yield (
                    f"Samples {names[0]} and {place} do not stack into one batch: their {word}s have the shapes "
                    f"{shapes[0]} and {shape}. All {word}s of a split need one shape: resize, crop or pad them in the "
                    "dataset, or give the model's preprocessing."
                )


def _label_fault(place: int, label: Any) -> Iterator[str]:
    if label is None:
        yield (
            f"Sample {place} has no label (None); expected a class number from 0 on. Leave unlabelled samples out, for "
            "example by torch.utils.data.Subset(dataset, rows)."
        )
    elif isinstance(label, str | bytes | np.str_):
        yield (
            f"The label of sample {place} is the text {label!r}; expected a class number from 0 on. Number the names "
            "in the order of the model's outputs, and return (input, names.index(label))."
        )
    elif isinstance(label, Mapping):
        yield (
            f"The label of sample {place} is a dictionary with {_keys(label)}; expected a class number. Return "
            f"(input, label[{next(iter(label), 'labels')!r}])."
        )


def _input_fault(place: int, value: Any) -> Iterator[str]:
    if isinstance(value, str | bytes):
        yield _no_numbers(place, value)
    elif type(value).__module__.startswith("PIL."):
        yield (
            f"The input of sample {place} is a picture ({type(value).__name__}, size {getattr(value, 'size', '?')}); "
            "expected a tensor as the model was trained on. Give the dataset its transform, for example "
            "dataset.transform = torchvision.transforms.ToTensor()."
        )
    elif value is None or not isinstance(value, Tensor | np.ndarray | Mapping | list | tuple | int | float):
        yield (
            f"The input of sample {place} is {described(value)}; expected a tensor, an array or numbers. Return "
            "(torch.as_tensor(input), label)."
        )


def _no_numbers(place: int, value: Any) -> str:
    return (
        f"The input of sample {place} is {described(value)}, without numbers; expected a tensor. Turn it into numbers "
        "in the dataset first: tokenize a text, open a file."
    )


def _do_not_join(names: Sequence[int], error: Exception) -> str:
    return (
        f"Samples {names[0]} to {names[-1]} do not stack into one batch: {error}. "
        "All inputs of a split need one shape: resize them, or give the model's preprocessing."
    )


def described(value: Any) -> str:
    """A value by its kind: Tensor (3, 8) uint8, text 'a', NoneType."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, list | tuple):
        first = f", first {described(value[0])}" if value else ""
        return f"{_article(type(value).__name__)} of {len(value)}{first}"
    if isinstance(value, Mapping):
        return "a dictionary of " + ", ".join(
            f"{key}: {described(part)}" for key, part in list(value.items())[:4]
        )
    return "None" if value is None else _article(type(value).__name__)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def _keys(value: Mapping[Any, Any]) -> str:
    """The keys of a dictionary, the first six."""
    names = [str(key) for key in value]
    return f"the keys {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
