"""Reader of a table: rows of numbers and words with a label column, from .csv or .parquet.

Columns: the label (`label`, or the requested name), optionally `split`, optionally `sample_id` or `id` (the ids, where
all values differ; else an id is the row number as text). All other columns are features. Those of words with 2 to
MOST_GROUPS values are groups as well, so that fairness can be measured between them by name.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence_core.data.encoding import MISSING, as_words, column_of, holds_numbers
from influence_core.data.readers.parquet import holds_pictures, read_columns
from influence_core.data.rows import Rows, some, splits_of
from influence_core.data.storage.content import TableRows
from influence_core.errors import DataError

MAX_BYTES = 1024**3
MOST_GROUPS = 50
IDS = ("sample_id", "id")
USUAL = ("label", "labels", "class", "target", "y", "category", "species", "outcome")
"""Common names of label columns: such a column is offered first, never chosen without asking."""
SHOWN_VALUES = 5


def read_table(path: Path, label: str | None = None) -> Rows:
    """Read a table as rows.

    Raises:
        DataError: the table cannot be read, or has no label column.
    """
    frame = _frame(path)
    column = _label_column(frame, label, path)
    ids, id_column = _ids(frame)
    taken = [column, "split", *([id_column] if id_column else [])]
    cells = frame.drop(columns=[name for name in taken if name in frame])
    if not len(cells.columns):
        raise DataError(f"{path} has no column beside the label to learn from.")
    words = frame["split"] if "split" in frame else [None] * len(frame)
    return Rows(
        TableRows(cells.reset_index(drop=True)),
        ids=ids,
        labels=[_label(value) for value in frame[column]],
        splits=splits_of(words, f"{path.name}, column split,"),
        groups=group_columns(cells),
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


def is_table(path: Path) -> bool:
    """Whether a Parquet file holds no column of pictures."""
    try:
        return not any(holds_pictures(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError, UnicodeError):
        return False  # the reader of pictures reports the fault


def label_columns(path: Path) -> list[dict[str, Any]]:
    """Describe the columns among which the user must choose the label; none where the choice is clear.

    The choice is clear when a column is called `label` and no other has a common name of label columns. Likely columns
    come first: those with such a name, else the last column if it has 2 to MOST_GROUPS values. Likely is not chosen.
    """
    if path.suffix.lower() != ".csv" and not (path.suffix.lower() == ".parquet" and is_table(path)):
        return []
    frame = _frame(path)
    named = [str(name) for name in frame if str(name).strip().lower() in USUAL]
    if named == ["label"]:
        return []
    columns = [_described(frame, str(name), named) for name in frame if str(name) not in ("split", *IDS)]
    if not any(column["likely"] for column in columns) and columns and columns[-1]["classes"]:
        columns[-1]["likely"] = True
    return sorted(columns, key=lambda column: (not column["likely"], not column["classes"]))


def _described(frame: pd.DataFrame, name: str, named: list[str]) -> dict[str, Any]:
    """Describe a column: its number of values, the most common ones, and whether it is likely the label."""
    values = column_of(frame, name)
    common = values.value_counts().head(SHOWN_VALUES)
    different = int(values.nunique())
    return {
        "name": name,
        "different": different,
        "common": [(_label(value) or "", int(count)) for value, count in common.items()],
        "classes": 2 <= different <= MOST_GROUPS,
        "likely": name in named,
    }


def _frame(path: Path) -> pd.DataFrame:
    if path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size:,} bytes; tables of at most {MAX_BYTES:,} are read."
        )
    try:
        if path.suffix.lower() == ".csv":
            frame = pd.read_csv(path, skipinitialspace=True, low_memory=False)
        else:
            frame = read_columns(path).to_pandas(ignore_metadata=True)
    except (ValueError, OSError, UnicodeError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    _check_names(frame, path)
    return frame


def _check_names(frame: pd.DataFrame, path: Path) -> None:
    names = [str(name) for name in frame.columns]
    if len(frame) == 0 or not names:
        raise DataError(f"{path} has {len(frame)} rows and {len(names)} columns. Expected a header and rows.")
    if len(set(names)) < len(names):
        raise DataError(f"{path} has columns of the same name: {some(names, 12)}. Rename the repeated ones.")
    nested = [name for name in names if isinstance(frame[name].iloc[0], dict | list | np.ndarray | bytes)]
    if nested:
        raise DataError(f"{path} holds lists or bytes in {some(nested)}. Expected one number or word a cell.")


def _label_column(frame: pd.DataFrame, label: str | None, path: Path) -> str:
    name = label or "label"
    if name not in frame:
        raise DataError(
            f"{path} has no column called {name}; its columns are {some([str(column) for column in frame], 12)}. Name "
            "the column of the classes (label=..., or --label)."
        )
    values = column_of(frame, name)
    if holds_numbers(values) and values.nunique() > MOST_GROUPS and bool((values.dropna() % 1 != 0).any()):
        raise DataError(
            f"{path} has measurements in the label column {name}. Expected classes: names or whole numbers."
        )
    return name


def _label(value: Any) -> str | None:
    if pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value).strip()


def _ids(frame: pd.DataFrame) -> tuple[list[str], str | None]:
    for name in IDS:
        if name in frame and len(set(column_of(frame, name).dropna())) == len(frame):
            return [str(value) for value in frame[name]], name
    return [str(row) for row in range(len(frame))], None
