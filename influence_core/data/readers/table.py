"""Reader of a table: rows of numbers and words with a label column.

Columns: the label (`label`, or the requested name), optionally the split (`split`, or one of split words), optionally
`sample_id` or `id` (the ids, where all values differ; else an id is the row number as text). All other columns are
features, but those that number or name the rows (`identifiers.py`). Those of words with 2 to MOST_GROUPS values are
groups as well, so that fairness can be measured between them by name.

Rows without a label are left out and counted. Nothing is left out, joined or read in another spelling without a note.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.data.encoding import MISSING, as_words, column_of, holds_numbers
from influence_core.data.readers.cells import is_text, typed
from influence_core.data.readers.identifiers import identifying
from influence_core.data.readers.label_cells import cell_text, labels_of
from influence_core.data.readers.spelled_numbers import PLAIN
from influence_core.data.readers.table_files import (
    IDS,
    USUAL,
    TableFile,
    is_table,
    read_table_file,
    table_suffix,
)
from influence_core.data.readers.table_folder import read_tables, table_place, tables_of
from influence_core.data.rows import SPLIT_NAMES, Rows, counted, some, split_of, splits_of
from influence_core.data.samples import Split
from influence_core.data.storage.content import TableRows
from influence_core.errors import DataError

MOST_GROUPS = 50
SHOWN_VALUES = 5


def read_table(path: Path, label: str | None = None, shown: str | None = None) -> Rows:
    """Read a table as rows, from a file or from a folder with a file a split; messages call it `shown`.

    Raises:
        DataError: the table cannot be read, or has no label column.
    """
    table = _opened(path, label)
    frame, shown = table.frame, shown or path.name
    column = _label_column(frame, label, shown)
    labels, label_notes = labels_of(column_of(frame, column))
    ids, id_columns, id_notes = _ids(frame.drop(columns=column))
    split, split_notes = _split_column(frame.drop(columns=[column, *id_columns]), shown)
    words = [None] * len(frame) if split is None else frame[split]
    splits = splits_of([_blank_as_none(word) for word in words], f"{shown}, column {split},")
    again = _again(frame, column)
    taken = [name for name in (column, split, *id_columns, *again) if name is not None]
    kept, left_out = _labelled(labels, splits)
    rest = frame.drop(columns=taken).iloc[kept].reset_index(drop=True)
    cells, cell_notes = _features(table, rest, [splits[row] for row in kept], shown)
    return Rows(
        TableRows(cells),
        ids=[ids[row] for row in kept],
        labels=[labels[row] for row in kept],
        splits=[splits[row] for row in kept],
        groups=group_columns(cells),
        notes=(*table.notes, *id_notes, *split_notes, *again.values(), *label_notes, *left_out, *cell_notes),
    )


def group_columns(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of words with 2 to MOST_GROUPS values, for groups; a missing value stays missing."""
    columns = {str(name): column_of(cells, name) for name in cells}
    groups = {
        name: [None if word == MISSING else word for word in as_words(values)]
        for name, values in columns.items()
        if not holds_numbers(values) and 2 <= values.nunique() <= MOST_GROUPS
    }
    return pd.DataFrame(groups, index=pd.RangeIndex(len(cells)))


def label_columns(path: Path) -> list[dict[str, Any]]:
    """Describe the columns among which the user must choose the label; none where the choice is clear.

    The choice is clear when a column is called `label` and no other has a common name of label columns. Likely columns
    come first: those with such a name, else the last column if it has 2 to MOST_GROUPS values. Likely is not chosen.
    """
    if path.is_dir():
        if (place := table_place(path)) is None:
            return []
        tables = tables_of(place)
        path = tables["train" if "train" in tables else "all"]
    if not table_suffix(path.name) and not (path.suffix.lower() == ".parquet" and is_table(path)):
        return []
    frame = read_table_file(path).frame
    named = [str(name) for name in frame if str(name).strip().lower() in USUAL]
    if named == ["label"]:
        return []
    columns = [_described(frame, str(name), named) for name in frame if str(name) not in ("split", *IDS)]
    if not any(column["likely"] for column in columns) and columns and columns[-1]["classes"]:
        columns[-1]["likely"] = True
    return sorted(columns, key=lambda column: (not column["likely"], not column["classes"]))


def _described(frame: pd.DataFrame, name: str, named: list[str]) -> dict[str, Any]:
    """Describe a column: its number of values, the most common ones, and whether it is likely the label."""
    values = column_of(frame, name).replace("", None)
    common = values.value_counts().head(SHOWN_VALUES)
    different = int(values.nunique())
    return {
        "name": name,
        "different": different,
        "common": [((cell_text(value) or "").strip(), int(count)) for value, count in common.items()],
        "classes": 2 <= different <= MOST_GROUPS,
        "likely": name in named,
    }


def _opened(path: Path, label: str | None) -> TableFile:
    return read_tables(path, label or "label") if path.is_dir() else read_table_file(path)


def _features(
    table: TableFile, cells: pd.DataFrame, splits: Sequence[Split | None], shown: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns to learn from, with notes on those left out and on cells read in another spelling."""
    read, notes = typed(cells, table.separator, as_read=table.typed)
    left_out = identifying(read, splits)
    kept = read.drop(columns=list(left_out))
    if not len(kept.columns):
        raise DataError(
            " ".join([f"{shown} has no column beside the label to learn from.", *left_out.values()])
        )
    return kept, (*notes, *left_out.values())


def _label_column(frame: pd.DataFrame, label: str | None, shown: str) -> str:
    name = label or "label"
    if name not in frame:
        raise DataError(
            f"{shown} has no column called {name}; its columns are {some([str(column) for column in frame], 12)}. Name "
            "the column of the classes (label=..., or --label)."
        )
    values = column_of(frame, name)
    words = [text for text in map(cell_text, values.dropna().unique()) if text and text.strip()]
    if (
        len(words) > MOST_GROUPS
        and all(map(PLAIN.fullmatch, words))
        and any(float(word) % 1 for word in words)
    ):
        raise DataError(
            f"{shown} has measurements in the label column {name}. Expected classes: names or whole numbers."
        )
    return name


def _split_column(frame: pd.DataFrame, shown: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the column of splits, with a note if it is not called split: all its words are train, val, test.

    Raises:
        DataError: several columns hold such words.
    """
    if "split" in frame:
        return "split", ()
    found = [name for name in map(str, frame) if _holds_splits(column_of(frame, name))]
    if len(found) > 1:
        raise DataError(
            f"{shown} has several columns of split words: {some(found)}. Call the one to use 'split', and take the "
            "others out."
        )
    return (found[0], (f"The splits come from column {found[0]!r}.",)) if found else (None, ())


def _holds_splits(values: pd.Series) -> bool:
    """Whether a column holds the words of two splits or more, train among them, and nothing else."""
    if not is_text(values) or values.nunique() > 2 * len(SPLIT_NAMES):
        return False
    splits = {split_of(word) for word in values.dropna().unique() if word.strip()}
    return None not in splits and "train" in splits and len(splits) > 1


def _again(frame: pd.DataFrame, column: str) -> dict[str, str]:
    """Return further columns of the label's name, as pandas has renamed them (label.1), each with a note."""
    renamed = re.compile(re.escape(column) + r"\.\d+")
    return {
        name: f"Column {name!r} was left out: pandas calls a second column {column!r} so. To learn from it, rename it."
        for name in map(str, frame)
        if renamed.fullmatch(name)
    }


def _labelled(
    labels: Sequence[str | None], splits: Sequence[Split | None]
) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows to keep, with notes on others without a label.

    If no training row has a label, all stay, to be refused. A whole split without one stays too: `splits.py` says so.
    """
    kept = [row for row, label in enumerate(labels) if label is not None]
    if not any(splits[row] in ("train", None) for row in kept) or len(kept) == len(labels):
        return list(range(len(labels))), ()
    present = {splits[row] for row in kept}
    rest = [row for row, label in enumerate(labels) if label is None and splits[row] in present]
    listed = some([str(row + 1) for row in rest])
    note = f"Not read: {counted(len(rest), 'row')} without a label: {listed}, counted from the first sample."
    left_out = set(rest)
    return [row for row in range(len(labels)) if row not in left_out], (note,) if rest else ()


def _ids(frame: pd.DataFrame) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return the sample ids, the columns that are ids, and notes on those that could not be used."""
    notes, found = [], [name for name in frame if str(name).strip().lower() in IDS]
    for name in sorted(found, key=lambda name: IDS.index(str(name).strip().lower())):
        texts = [text and text.strip() for text in map(cell_text, column_of(frame, name))]
        empty = sum(not text for text in texts)
        if not empty and len(set(texts)) == len(texts):
            notes += [
                f"Column {other!r} was left out: ids come from {name!r}." for other in found if other != name
            ]
            return [str(text) for text in texts], found, tuple(notes)
        why = f"{counted(empty, 'empty cell')}" if empty else "cells that occur more than once"
        notes.append(
            f"Column {name!r} has {why}, so it was left out, and samples are called by the number of their row from 0."
        )
    return [str(row) for row in range(len(frame))], found, tuple(notes)


def _blank_as_none(word: Any) -> Any:
    return None if isinstance(word, str) and not word.strip() else word
