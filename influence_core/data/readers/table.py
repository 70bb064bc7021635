"""How is a table read? Rows of numbers and words with a label column, from .csv or .parquet.

Columns: the label (`label`, or the name given), optionally `split`, optionally `sample_id` or `id` (used as ids where
all values differ, else the row number as text). Every other column is something to learn from; those of words with 2 to
MOST_GROUPS values are groups as well, so that fairness can be measured between them by name.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence_core.data.encoding import MISSING, as_words, column_of, holds_numbers
from influence_core.data.readers.parquet import holds_pictures
from influence_core.data.rows import Rows, some, split_name
from influence_core.data.samples import Split
from influence_core.data.storage.table_rows import TableRows
from influence_core.errors import DataError

MAX_BYTES = 1024**3
MOST_GROUPS = 50
IDS = ("sample_id", "id")
USUAL = ("label", "labels", "class", "target", "y", "category", "species", "outcome")
"""Names that columns of classes often have: reason enough to offer one first, never to take it."""
SHOWN_VALUES = 5


def read_table(path: Path, label: str | None = None) -> Rows:
    """Read a table as rows.

    Raises:
        DataError: it cannot be read, or has no label column.
    """
    frame = _frame(path)
    _check_names(frame, path)
    column = _label_column(frame, label, path)
    ids, id_column = _ids(frame)
    taken = [column, "split", *([id_column] if id_column else [])]
    cells = frame.drop(columns=[name for name in taken if name in frame])
    if not len(cells.columns):
        raise DataError(f"{path} has no column beside the label to learn from.")
    splits: list[Split | None] = [None] * len(frame)
    if "split" in frame:
        where = f"{path.name}, column split,"
        splits = [None if pd.isna(text) else split_name(str(text), where) for text in frame["split"]]
    return Rows(
        TableRows(cells.reset_index(drop=True)),
        ids=ids,
        labels=[_label(value) for value in frame[column]],
        splits=splits,
        groups=group_columns(cells),
    )


def group_columns(cells: pd.DataFrame) -> pd.DataFrame:
    """The columns of words with few enough values to be compared as groups; a missing value stays missing."""
    columns = {str(name): column_of(cells, name) for name in cells}
    found = {
        name: _groups(values)
        for name, values in columns.items()
        if not holds_numbers(values) and 2 <= values.nunique() <= MOST_GROUPS
    }
    return pd.DataFrame(found, index=pd.RangeIndex(len(cells)))


def _groups(values: pd.Series) -> list[str | None]:
    return [None if word == MISSING else word for word in as_words(values)]


def is_table(path: Path) -> bool:
    """Whether a Parquet file holds no column of pictures."""
    try:
        return not any(holds_pictures(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError, UnicodeError):
        return False  # the reader of pictures says what is wrong with the file


def label_columns(path: Path) -> list[dict[str, Any]]:
    """The columns among which a person has to say which holds the classes; none where only one can be meant.

    One can: the column is called `label`, and no other bears a name that labels often have. The likely ones, by name or
    as the last column of few values, come first; being likely is no choice.
    """
    if path.suffix.lower() != ".csv" and not (path.suffix.lower() == ".parquet" and is_table(path)):
        return []
    frame = _frame(path)
    _check_names(frame, path)
    named = [str(name) for name in frame if str(name).strip().lower() in USUAL]
    if named == ["label"]:
        return []
    found = [_described(frame, str(name), named) for name in frame if str(name) not in ("split", *IDS)]
    if not any(column["likely"] for column in found) and found and found[-1]["classes"]:
        found[-1]["likely"] = True
    return sorted(found, key=lambda column: (not column["likely"], not column["classes"]))


def _described(frame: pd.DataFrame, name: str, named: list[str]) -> dict[str, Any]:
    """A column for a person who looks for the classes: how many values, the most common ones, whether it is likely."""
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
            return pd.read_csv(path, skipinitialspace=True, low_memory=False)
        return pq.read_table(path).to_pandas(ignore_metadata=True)
    except (ValueError, OSError, UnicodeError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


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
    wanted = label or "label"
    if wanted not in frame:
        raise DataError(
            f"{path} has no column called {wanted}; its columns are {some([str(name) for name in frame], 12)}. Name "
            "the column of the classes (label=..., or --label)."
        )
    values = column_of(frame, wanted)
    if holds_numbers(values) and values.nunique() > MOST_GROUPS and bool((values.dropna() % 1 != 0).any()):
        raise DataError(
            f"{path} has measurements in the label column {wanted}. Expected classes: names or whole numbers."
        )
    return wanted


def _label(value: Any) -> str | None:
    if pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value).strip()


def _ids(frame: pd.DataFrame) -> tuple[list[str], str | None]:
    for name in IDS:
        if name not in frame:
            continue
        values = column_of(frame, name)
        if len(set(values.dropna())) == len(frame):
            return [str(value) for value in values], name
    return [str(row) for row in range(len(frame))], None
