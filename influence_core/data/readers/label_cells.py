"""Labels of a table's rows: the cells of its label column as class names, as written.

The name of a class is its cell as written, without the spaces around it:

    "007", "NA", "None"        stay as they are
    1.0, 2.0 in every cell     become 1, 2: so tables with an empty cell write whole numbers
    NaN, NA, ? among numbers   no label
    -1 beside other classes    no label, as many tools write it; not beside 1 or 0 and 1 alone, or others below zero
    empty                      no label

Each change is said.
"""

import re
from collections import Counter, defaultdict
from typing import Any

import pandas as pd

from influence_core.data.readers.cells import MISSING_WORDS
from influence_core.data.rows import counted, some

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)(\.0+)?")
"""A whole number without leading zeros, perhaps with an empty fraction."""


def labels_of(values: pd.Series) -> tuple[list[str | None], tuple[str, ...]]:
    """Return the class name of each cell, None where there is none, and notes on names that were changed."""
    written = [cell_text(value) for value in values.astype(object)]
    labels = [None if text is None else text.strip() or None for text in written]
    labels, missing = _without_missing_words(labels)
    labels, whole = _without_fraction(labels)
    labels, unlabelled = _without_minus_one(labels)
    return labels, (*_joined(written), *missing, *whole, *unlabelled)


def cell_text(value: Any) -> str | None:
    """Return a cell as text, None if it is missing; a whole number has no fraction."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _without_missing_words(labels: list[str | None]) -> tuple[list[str | None], tuple[str, ...]]:
    """Take words such as NaN for no label where all others are whole numbers."""
    counts = Counter(label for label in labels if label is not None)
    words = [name for name in counts if name.lower() in MISSING_WORDS]
    numbers = set(counts) - set(words)
    if not words or len(numbers) < 2 or not all(map(_WHOLE.fullmatch, numbers)):
        return labels, ()
    listed = some([f"{word!r} ({counted(counts[word], 'row')})" for word in words])
    note = f"Among labels that are whole numbers, {listed} was taken for 'no label'."
    return [None if label in words else label for label in labels], (note,)


def _without_fraction(labels: list[str | None]) -> tuple[list[str | None], tuple[str, ...]]:
    """Write 1.0 as 1 where all labels are whole numbers."""
    names = {label for label in labels if label is not None}
    if not any("." in name for name in names) or not all(map(_WHOLE.fullmatch, names)):
        return labels, ()
    example = next(name for name in sorted(names) if "." in name)
    note = f"All labels are whole numbers, some written like {example}: they are read as {example.split('.')[0]}."
    return [label and label.split(".")[0] for label in labels], (note,)


def _without_minus_one(labels: list[str | None]) -> tuple[list[str | None], tuple[str, ...]]:
    """Take -1 for no label, unless beside 1 or 0 and 1 alone, or one of several below zero."""
    counts = Counter(label for label in labels if label is not None)
    others = set(counts) - {"-1"}
    sides = {name.lstrip("+") for name in others} in (
        {"1"},
        {"0", "1"},
    )  # -1, 0, 1: negative, neutral, positive
    two_sides = sides or any(re.fullmatch(r"-\d+", name) for name in others)
    if "-1" not in counts or len(others) < 2 or two_sides:
        return labels, ()
    note = (
        f"The label -1 ({counted(counts['-1'], 'row')}) was taken for 'no label', beside {some(sorted(others))}. If it "
        "is a class, write it as a word."
    )
    return [None if label == "-1" else label for label in labels], (note,)


def _joined(written: list[str | None]) -> tuple[str, ...]:
    """Return a note on names that became one because the spaces around them were removed."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for text in written:
        if text is not None and text.strip():
            spellings[text.strip()][text] += 1
    joined = [
        f"{some([f'{text!r} ({count:,})' for text, count in found.most_common()])} as {name!r}"
        for name, found in sorted(spellings.items())
        if len(found) > 1
    ]
    return (f"Spaces around labels were removed: {some(joined)}.",) if joined else ()
