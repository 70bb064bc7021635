"""Writing and reading of tables, atomically and safe against formulas in spreadsheets and words lost by pandas.

read_csv gives every cell back as it was. Plain pandas.read_csv gives a guarded cell with its apostrophe, and reads
columns of digits as numbers (007 as 7), which no CSV can prevent: add dtype=str, keep_default_na=False, or read the
Parquet file.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from influence_core.errors import ExportError
from influence_core.system import atomic

Target = Path | str | BinaryIO

# A spreadsheet runs a cell that begins so as a formula. Plain numbers stay numbers.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
# Words that pandas takes for a missing value in any column, also in quotes; those with a minus are guarded above.
_LOST = re.compile(r"'*(#N/A N/A|#N/A|#NA|1\.#IND|1\.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null)")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def write_csv(table: pd.DataFrame | Iterable[pd.DataFrame], target: Target) -> int:
    """Write a CSV file without cells that run as formulas or are lost as missing; returns the number of rows.

    A text cell that begins like a formula, or is a word such as NA, gets an apostrophe in front (one more, if it has
    one already). read_csv removes it again. A table too long for the memory comes in parts, each with all columns.
    """
    rows = 0
    with opened(target) as file:
        for number, part in enumerate([table] if isinstance(table, pd.DataFrame) else table):
            file.write(_csv(part, header=number == 0).encode())
            rows += len(part)
    return rows


def _csv(frame: pd.DataFrame, *, header: bool) -> str:
    safe = frame.copy()
    for position, kind in enumerate(safe.dtypes):
        if not is_numeric_dtype(kind) and not is_datetime64_any_dtype(kind):
            safe.isetitem(position, [harmless(value) for value in safe.iloc[:, position]])
    safe.columns = pd.Index([harmless(name) for name in safe.columns])
    # Line ends of the CSV standard: then a carriage return in a cell is quoted, and cannot begin a row.
    return safe.to_csv(index=False, header=header, lineterminator="\r\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def read_csv(source: Path | str) -> pd.DataFrame:
    """Read a table that write_csv wrote: all cells as text, without the apostrophes against formulas."""
    frame = pd.read_csv(source, dtype="str", keep_default_na=False)
    return unguarded(frame)


def unguarded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the apostrophes that write_csv puts in front of names and cells."""
    cells = frame.copy()
    for position, kind in enumerate(frame.dtypes):
        column = frame.iloc[:, position]
        if not isinstance(kind, pd.StringDtype) or column.str.startswith("'").any():
            cells.isetitem(position, column.map(_without_apostrophe))
    return cells.rename(columns=_without_apostrophe)


def write_parquet(frame: pd.DataFrame, target: Target) -> int:
    """Write a Parquet file with the types of the table; returns the number of rows."""
    with opened(target) as file:
        frame.to_parquet(file, index=False)
    return len(frame)


def harmless(value: Any) -> Any:
    """Return the cell in a form that no spreadsheet runs as a formula and pandas keeps. Missing stays missing."""
    if not isinstance(value, str) or not _is_risky(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def _is_risky(cell: str) -> bool:
    return _FORMULA.match(cell) is not None or _LOST.fullmatch(cell) is not None


@contextmanager
def opened(target: Target) -> Iterator[BinaryIO]:
    """Open a path, whose file appears only when complete; or pass a file object on, for the caller to close."""
    if not isinstance(target, str | Path):
        yield target
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(path) as file:
            yield file
    except OSError as error:
        raise ExportError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error


def _without_apostrophe(cell: Any) -> Any:
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _is_risky(cell) else cell
