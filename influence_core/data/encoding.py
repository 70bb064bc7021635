"""Encoding of a table's cells as numbers, the same for every split and for the model trained on them.

    a column of numbers   one feature, unchanged; a missing value becomes the median of train
    a column of words     one feature per word that train holds (1 or 0); an unknown word is all zeros

Fitted on the training rows alone. Numbers keep their unit. The mean and standard deviation of train are kept with the
encoding, and the model's preprocessing standardises with them (`mean`, `std`), so that inputs stay readable and weights
stay comparable.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from influence_core.errors import DataError

MISSING = "(missing)"
"""The word of an empty cell in a column of words."""
MOST_WORDS = 100
"""The most different words of a column in train; a column with more is free text or an identifier."""

LARGEST = 1e37
"""The largest number of a cell: float32 ends at 3.4e38, and differences from a mean must fit too."""
MOSTLY = 0.9
"""Share of words from which a column is one of numbers with slips."""
SOME_WORDS = 10
"""Words from which a column is no short scale, such as bins of ages."""
FREE_TEXT = "like free text or an identifier"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS = re.compile(r"\W*\d")


@dataclass(frozen=True)
class Column:
    """One column: its words in order; for numbers, `words` is None and `median` replaces a missing value."""

    name: str
    words: tuple[str, ...] | None
    median: float = 0.0

    def to_json(self) -> dict[str, Any]:
        if self.words is None:
            return {"name": self.name, "median": self.median}
        return {"name": self.name, "words": list(self.words)}


@dataclass(frozen=True)
class Encoding:
    """Columns in order, with the mean and standard deviation on train of each of the d features."""

    columns: tuple[Column, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the d features: 'age', 'sex=Female', 'sex=Male'."""
        named = (
            [column.name] if column.words is None else [f"{column.name}={word}" for word in column.words]
            for column in self.columns
        )
        return tuple(chain.from_iterable(named))

    def to_json(self) -> dict[str, Any]:
        """Return the entry of model.json, without mean and std."""
        return {"columns": [column.to_json() for column in self.columns]}

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows as float32 (n, d).

        Raises:
            DataError: a column is missing, or holds words where numbers are expected.
        """
        return np.concatenate([_encoded(frame, column) for column in self.columns], axis=1)


def fit_encoding(train: pd.DataFrame) -> tuple[Encoding, tuple[str, ...]]:
    """Fit the encoding of the training rows (n, columns); return it with notes on the columns left out.

    Raises:
        DataError: no column is left.
    """
    columns, notes = [], []
    for name in train.columns:
        values = column_of(train, name)
        if values.isna().all():
            notes.append(f"Column '{name}' is empty on all training rows and is left out.")
        elif holds_numbers(values):
            columns.append(Column(str(name), None, float(np.nanmedian(numbers_of(values)))))
        elif (count := values.nunique()) > MOST_WORDS:
            notes.append(
                f"Column '{name}' holds {count:,} different words on train (more than {MOST_WORDS}), "
                f"{likeness(values)}, and is left out."
            )
        else:
            columns.append(Column(str(name), tuple(sorted(set(as_words(values))))))
            notes += _as_categories(str(name), values)
    if not columns:
        said = "The table has no column to learn from. Expected numbers or words beside the label."
        raise DataError(" ".join([said, *notes]))
    encoded = np.concatenate([_encoded(train, column) for column in columns], axis=1).astype(np.float64)
    std = encoded.std(0)
    spread = tuple(float(value) for value in np.where(std > 1e-8, std, 1.0))
    return Encoding(tuple(columns), tuple(map(float, encoded.mean(0))), spread), tuple(notes)


def _as_categories(name: str, values: pd.Series) -> list[str]:
    """Return a sentence on words that look like numbers or dates: each becomes a feature of its own."""
    words = pd.Series(values.dropna().unique())
    if len(words) < SOME_WORDS or all(map(_NUMBER.fullmatch, as_words(words))):
        return []
    seems = likeness(words)
    if seems == FREE_TEXT:
        return []
    return [f"Column {name!r} was read as {len(words)} words, each a feature of its own: {seems}."]


def likeness(values: pd.Series) -> str:
    """Say what so many words of a column look like: numbers that could not be read, or text."""
    words = as_words(values.dropna())
    plain = [word for word in words if _NUMBER.fullmatch(word)]
    odd = next((word for word in words if not _NUMBER.fullmatch(word)), "")
    if len(plain) >= MOSTLY * len(words):
        return (
            f"numbers, but for {len(words) - len(plain):,} of {len(words):,} cells such as {odd[:40]!r} (correct these "
            "or leave them empty)"
        )
    if sum(_DIGITS.match(word) is not None for word in words) >= MOSTLY * len(words):
        return f"dates or numbers in a spelling that is not read, such as {odd[:40]!r} (write 1234.5)"
    return FREE_TEXT


def column_of(frame: pd.DataFrame, name: Any) -> pd.Series:
    """Return one column; names are unique, which a type checker cannot know."""
    column: Any = frame[name]
    return column


def holds_numbers(values: pd.Series) -> bool:
    """Whether a column holds numbers; true and false count as words."""
    kinds = pd.api.types
    return bool(kinds.is_numeric_dtype(values)) and not bool(kinds.is_bool_dtype(values))


def numbers_of(values: pd.Series) -> np.ndarray:
    """Return the cells as float64, a missing one as NaN."""
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def as_words(values: pd.Series) -> list[str]:
    """Return the cells as text, an empty one as MISSING."""
    cells = values.astype(object)  # a column of text is slow to walk
    return [MISSING if pd.isna(value) else str(value).strip() or MISSING for value in cells]


def encoding_from(entry: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]) -> Encoding:
    """Read an encoding from its entry in model.json.

    Raises:
        KeyError, TypeError, ValueError: the entry has another form.
    """
    columns = tuple(
        Column(
            str(column["name"]),
            tuple(map(str, column["words"])) if "words" in column else None,
            float(column.get("median", 0.0)),
        )
        for column in entry["columns"]
    )
    return Encoding(columns, tuple(mean), tuple(std))


def _encoded(frame: pd.DataFrame, column: Column) -> np.ndarray:
    if column.name not in frame:
        raise DataError(
            f"The table has no column '{column.name}', which the model was trained on; it has "
            f"{', '.join(map(str, frame.columns[:12]))}. Use the table the model was trained on. (Columns that "
            "number or name the rows are left out.)"
        )
    values = column_of(frame, column.name)
    if column.words is None:
        if not holds_numbers(values):
            raise DataError(
                f"Column '{column.name}' holds words such as {str(values.iloc[0])!r}; the model expects numbers there."
            )
        numbers = numbers_of(values)
        with np.errstate(over="ignore"):  # rows above LARGEST are never used: their digest refuses them
            return np.where(np.isnan(numbers), column.median, numbers).astype(np.float32)[:, None]
    number = {word: index for index, word in enumerate(column.words)}
    indices = np.array([number.get(word, -1) for word in as_words(values)])
    return (indices[:, None] == np.arange(len(column.words))).astype(np.float32)
