"""Arrays as samples: named arrays of a file (array_files.py), or arrays in memory.

Arrays are found by their names (array_names.py): x_train, y_train and optionally x_val, y_val, x_test, y_test, group
(or group_train, group_val, group_test) and classes (names by label number). Inputs are features (n, d), or images
(n, h, w), (n, h, w, c) or (n, c, h, w): bytes or whole numbers 0..255, or floats 0..1. A sample's id is its split and
row number: "train/0", "train/1", ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence_core.data.readers.array_inputs import as_inputs, inputs_of
from influence_core.data.readers.array_labels import (
    UNLABELLED,
    check_plain,
    class_names,
    means_unlabelled,
    named_labels,
    read_labels,
)
from influence_core.data.readers.array_names import Arrangement
from influence_core.data.rows import Rows, counted, some
from influence_core.data.samples import Samples, Split
from influence_core.data.storage.content import ArrayRows
from influence_core.errors import DataError


def samples_from_arrays(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    groups: pd.DataFrame | None = None,
    split: Split = "train",
) -> Samples:
    """Wrap arrays in memory as Samples; labels (n,) are class numbers, ids default to row numbers as text."""
    content = ArrayRows(as_inputs(np.asarray(inputs), "inputs"))
    numbers = np.asarray(labels, dtype=np.int64)
    sample_ids = [str(row) for row in range(len(content))] if ids is None else list(ids)
    no_groups = pd.DataFrame(index=pd.Index(sample_ids))
    digests = b"".join(content.digest(row) for row in range(len(content)))
    return Samples(
        content,
        rows=np.arange(len(content)),
        ids=sample_ids,
        labels=numbers,
        classes=tuple(map(str, range(numbers.max() + 1))) if classes is None else tuple(classes),
        split=split,
        groups=no_groups if groups is None else groups.set_axis(sample_ids, axis=0),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
    )


@dataclass(frozen=True)
class Part:
    """A split of the arrays: its inputs, its labels as stored, and the rows that have one."""

    split: Split
    name: str
    inputs: np.ndarray
    labels: list
    rows: np.ndarray


def rows_of_arrays(arrays: Mapping[str, np.ndarray], arranged: Arrangement, where: str) -> Rows:
    """Join the splits of named arrays as rows of one array."""
    parts, notes = labelled_parts(arrays, arranged, where)
    names = None if arranged.classes is None else class_names(arrays[arranged.classes], arranged.classes)
    inputs, said = inputs_of({part.name: part.inputs for part in parts})
    if arranged.unnamed:
        notes.append(
            f"Ignored {counted(len(arranged.unnamed), 'array')} of {where}: {some(arranged.unnamed)}."
        )
    kept = [
        array[part.rows] if len(part.rows) < len(array) else array
        for array, part in zip(inputs, parts, strict=True)
    ]
    labels = [part.labels[row] for part in parts for row in part.rows]
    return Rows(
        ArrayRows(kept[0] if len(kept) == 1 else np.concatenate(kept)),
        ids=[f"{part.split}/{row}" for part in parts for row in part.rows],
        labels=named_labels(labels, names, where),
        splits=[part.split for part in parts for _ in part.rows],
        groups=read_groups(arrays, arranged, parts),
        classes=names,
        notes=(*notes, *said),
    )


def labelled_parts(
    arrays: Mapping[str, np.ndarray], arranged: Arrangement, where: str
) -> tuple[list[Part], list[str]]:
    """Return the splits with their labelled rows, and notes; a split without labels is left out, unless it is train."""
    parts, notes = [], []
    for split, name in arranged.inputs.items():
        if split not in arranged.labels and split != "train":
            notes.append(f"Left out {name} of {where}: it has no labels (y_{split} is missing).")
            continue
        labels, said = labels_of(arrays, arranged, split)
        notes += said
        parts.append(Part(split, name, arrays[name], labels, np.arange(len(labels))))
    every = [label for part in parts for label in part.labels]
    if means_unlabelled(every) or alone_in_a_split(parts):
        return without_unlabelled(parts, notes, where)
    if (count := every.count(UNLABELLED)) and 0 in every:
        notes.append(
            f"-1 is one of the labels of {where} ({counted(count, 'row')}) and was kept as a class. If it means no "
            "label, leave these rows out."
        )
    return parts, notes


def alone_in_a_split(parts: Sequence[Part]) -> bool:
    """Whether a split has the label -1 alone, which train never has: it was published without its labels."""
    train = next((part.labels for part in parts if part.split == "train"), [UNLABELLED])
    return UNLABELLED not in train and any(set(part.labels) == {UNLABELLED} for part in parts)


def labels_of(
    arrays: Mapping[str, np.ndarray], arranged: Arrangement, split: Split
) -> tuple[list, list[str]]:
    """Return one label for each input of a split, and notes."""
    name = arranged.inputs[split]
    if split not in arranged.labels:
        raise DataError(f"{name} has no labels: y_{split} is missing.")
    labels, notes = read_labels(arrays[arranged.labels[split]], arranged.labels[split])
    inputs = arrays[name]
    rows = len(inputs) if inputs.ndim else 0
    if len(labels) != rows:
        shape = arrays[arranged.labels[split]].shape
        raise DataError(
            f"{name} has {rows:,} rows, {arranged.labels[split]} has shape {shape}; expected one label each."
        )
    return labels, notes


def without_unlabelled(parts: list[Part], notes: list[str], where: str) -> tuple[list[Part], list[str]]:
    """Leave out the rows whose label is -1, and the splits that have no other."""
    kept = []
    for part in parts:
        rows = np.array([row for row, label in enumerate(part.labels) if label != UNLABELLED], dtype=np.int64)
        if missing := len(part.labels) - len(rows):
            notes.append(f"Left out {counted(missing, 'row')} of {part.name} without a label (label -1).")
        if len(rows):
            kept.append(Part(part.split, part.name, part.inputs, part.labels, rows))
    if "train" not in {part.split for part in kept}:
        raise DataError(
            f"{where}: every label of train is -1, which means no label. Give the labels of train."
        )
    return kept, notes


def read_groups(
    arrays: Mapping[str, np.ndarray], arranged: Arrangement, parts: Sequence[Part]
) -> pd.DataFrame:
    """Return the column `group` of all splits; empty where a split has none."""
    if not any(part.split in arranged.groups for part in parts):
        return pd.DataFrame(index=pd.RangeIndex(sum(len(part.rows) for part in parts)))
    column: list = []
    for part in parts:
        name, values = arranged.groups.get(part.split), [None] * len(part.labels)
        if name is not None:
            check_plain(arrays[name], name)
            values = arrays[name].reshape(-1).tolist()
            if len(values) != len(part.labels):
                raise DataError(
                    f"The group of {part.split}, {name}, has shape {arrays[name].shape}; expected one value for each "
                    f"of {len(part.labels):,} rows."
                )
        column += [values[row] for row in part.rows]
    return pd.DataFrame({"group": column})
