"""`Rows`: the result of every reader, before anything is checked, skipped or split.

Readers return the rows as they are in the source; `splits.py` checks and divides them. So each promise about bad data
is kept in one place, whatever the format.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.data.samples import Split
from influence_core.data.storage.content import Content
from influence_core.errors import DataError
from influence_core.system.missed_files import in_place_of

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Rows:
    """The rows of a source, by position: n inputs, ids, label names and splits.

    `labels` holds None where a label is missing; `splits` holds None where the source names no split;
    `classes` is the order of the class names when the source fixes one.
    """

    content: Content
    ids: list[str]
    labels: list[str | None]
    splits: list[Split | None]
    groups: pd.DataFrame
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def split_of(word: str) -> Split | None:
    """Return the split of a word such as "validation"; None for any other word."""
    return SPLIT_NAMES.get(word.strip().lower())


def splits_of(words: Iterable[Any], where: str) -> list[Split | None]:
    """Return the split of each cell of a split column, None for an empty one.

    Raises:
        DataError: a word names no split; the text lists those that do.
    """
    texts = [None if pd.isna(word) else str(word) for word in words]
    splits: list[Split | None] = [None if text is None else split_of(text) for text in texts]
    for text, split in zip(texts, splits, strict=True):
        if text is not None and split is None:
            raise DataError(f"{where} names a split {text!r}; expected one of {', '.join(SPLIT_NAMES)}.")
    return splits


def label_name(label: object, where: str) -> str | None:
    """Return a label of `where` as the name of its class: 3.0 as "3", NaN as None; a measurement is a DataError."""
    if not isinstance(label, float):
        return str(label)
    if math.isnan(label):
        return None
    if not label.is_integer():
        raise DataError(
            f"{where} has the label {label}, a measurement. Expected classes: names or whole numbers."
        )
    return str(int(label))


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun: '1 sample', '2 samples'; `nouns` is an irregular plural, as in '2 classes'."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def some(items: Sequence[str], limit: int = 5) -> str:
    """Return the first few items as text, with the number of those left out."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit:,} more"


def fault(error: Exception) -> str:
    """Return the kind of a library's error and its first words, without the folders of this machine."""
    words = (str(error).strip().splitlines() or [""])[0][:200]
    shown = re.sub(r"/[^\s'\":,]*/", "", words).rstrip(".")
    return f"{type(error).__name__}, {shown}" if shown else type(error).__name__


def unreadable(path: Path, how: str, error: Exception, advice: str) -> DataError:
    """Return the error for a file that a library cannot read: what came in its place, else the library's words."""
    if path.is_file() and (came := in_place_of(path)):
        return DataError(f"{path.name} is {came}.")
    return DataError(f"{path.name} cannot be {how}: {fault(error)}. {advice}")
