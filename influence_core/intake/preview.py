"""Preview of a dataset before anything runs: 24 samples, counts, splits, groups, and problems.

It runs in a separate process (inspection.py), the only one to open the files. It hands over plain JSON and raw pixels,
so that the page with the preview parses no picture, table or archive of unknown origin.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence_core.data import Dataset, Samples, open_dataset
from influence_core.data.appearance import appearance
from influence_core.data.dataset import reading
from influence_core.data.label_choice import label_columns
from influence_core.data.rows import counted, some
from influence_core.data.samples import Split
from influence_core.data.storage.pictures import picture_values
from influence_core.models.opened import carried_weights
from influence_core.system.report import Report

SHOWN = 24
SIDE = 256
"""Longer side of a sample that is handed over, in pixels."""
FEW = 5
FEW_HELD_OUT = 50
VALUES = 12


def preview(
    path: Path, pixels: Path, *, label: str | None = None, report: Report | None = None
) -> dict[str, Any]:
    """Open a dataset and describe it; the pixels of the shown samples go into one file, one sample after another.

    Args:
        path: Anything open_dataset reads. Unreadable samples are left out here, with a note in `skipped`.
        pixels: The file to write, uint8; `offset` and `shape` (c, h, w) of each sample are in the answer.
        label: Name of a table's label column. Without it, if more than one is possible, the answer is a question:
            `columns`, each with its name, its number of values, some of them, and whether it is likely.

    Raises:
        DataError: what an analysis would refuse, in the same words.
    """
    with reading(path):
        columns = label_columns(path) if label is None else []
    if columns:
        return {"columns": columns}
    dataset = open_dataset(path, skip_unreadable=True, label=label, on_progress=report)
    skipped = [note for note in dataset.notes if note.startswith("Left out")]
    return {
        "name": dataset.name,
        "kind": dataset.train.kind,
        "classes": list(dataset.classes),
        "counts": {split: counts(part) for split, part in dataset.parts.items()},
        "groups": groups(dataset.train),
        "notes": [note for note in dataset.notes if note not in skipped],
        "skipped": skipped,
        "problems": problems(dataset.parts, dataset.classes),
        "doubtful_order": doubtful_order(dataset.classes),
        "model": carried_model(path),
        **appearance(dataset.train),
        "samples": shown(dataset, pixels),
    }


def counts(samples: Samples) -> list[int]:
    """Samples of each class, in the order of the classes."""
    return np.bincount(samples.labels, minlength=len(samples.classes)).tolist()


def groups(samples: Samples) -> dict[str, list[tuple[str, int]]]:
    """The most common values of each group, with their counts."""
    tables = {str(name): samples.groups[name].astype(str).value_counts() for name in samples.groups}
    return {
        name: [(str(value), int(n)) for value, n in table.head(VALUES).items()]
        for name, table in tables.items()
    }


def problems(parts: Mapping[Split, Samples], classes: Sequence[str]) -> list[str]:
    """Sentences on what makes the numbers of an analysis uncertain: rare classes, few samples, repeated content."""
    train = parts["train"]
    by_class = dict(zip(classes, counts(train), strict=True))
    rare = [f"{name} ({count})" for name, count in by_class.items() if count < FEW]
    sentences = []
    if rare:
        sentences.append(
            f"{len(rare)} of {len(classes)} classes {'has' if len(rare) == 1 else 'have'} fewer than {FEW} training "
            f"samples: {some(rare)}."
        )
    if len(parts["val"]) < FEW_HELD_OUT:
        sentences.append(
            f"Only {counted(len(parts['val']), 'validation sample')}: accuracy and influence will be uncertain. "
            f"{FEW_HELD_OUT} or more are better, some hundred are good."
        )
    return sentences + repeated_content(parts)


def repeated_content(parts: Mapping[Split, Samples]) -> list[str]:
    """Sentences on repeated bytes: in two splits they make accuracy too good, with two labels one is wrong."""
    places: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for split, samples in parts.items():
        for digest, label in zip(samples.digests, samples.labels, strict=True):
            places[digest.tobytes()].append((split, int(label)))
    several = [occurrences for occurrences in places.values() if len(occurrences) > 1]
    leaks = sum(len({split for split, _ in occurrences}) > 1 for occurrences in several)
    torn = sum(len({label for _, label in occurrences}) > 1 for occurrences in several)
    doubles = sum(Counter(split for split, _ in occurrences)["train"] > 1 for occurrences in several)
    sentences = (
        (leaks, "stand", "in more than one split: measured accuracy will be too good."),
        (torn, "occur", "with two different labels: one of the two is wrong."),
        (doubles, "occur", "more than once in the training set."),
    )
    return [
        f"{counted(count, f'sample {verb}s', f'samples {verb}')} {rest}"
        for count, verb, rest in sentences
        if count
    ]


def doubtful_order(classes: Sequence[str]) -> bool:
    """Whether all classes are numbers but not in their numeric order, such as "10" before "2"."""
    numbers = [int(name) for name in classes if name.isdecimal()]
    return len(numbers) == len(classes) and numbers != sorted(numbers)


def carried_model(path: Path) -> str | None:
    """Path of the weights in a dataset's folder; None without any."""
    weights = carried_weights(path)
    return None if weights is None else str(weights)


def shown(dataset: Dataset, pixels: Path) -> list[dict[str, Any]]:
    """Describe up to SHOWN samples, of every class in turn, and write their pixels."""
    samples, cells = dataset.train, dataset.train.cells
    written, offset = [], 0
    with pixels.open("wb") as file:
        for position in chosen(samples.labels, SHOWN):
            fact: dict[str, Any] = {
                "id": samples.ids[position],
                "label": dataset.classes[samples.labels[position]],
            }
            picture = samples.picture(position, within=SIDE)
            if cells is not None:  # as in the source, not the encoded numbers
                row = cells.iloc[position][:VALUES]
                fact["cells"] = {str(name): "" if pd.isna(cell) else str(cell) for name, cell in row.items()}
            elif picture is None:
                fact["values"] = [round(float(value), 4) for value in samples[position][0][:VALUES]]
            else:
                raw = picture_values(picture, None, None)
                fact |= {"offset": offset, "shape": list(raw.shape)}
                offset += file.write(raw.tobytes())
            written.append(fact)
    return written


def chosen(labels: np.ndarray, count: int) -> list[int]:
    """Up to `count` positions, spread over the classes: the first of each, then the second of each."""
    by_class = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    rounds = [rows[turn] for turn in range(count) for rows in by_class if turn < len(rows)]
    return rounds[:count]
