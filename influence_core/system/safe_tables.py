"""How is a table written, so that no spreadsheet can be made to run it and no reader sees half of it?"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from influence_core.errors import ExportError
from influence_core.system import atomic

Target = Path | str | BinaryIO

# A spreadsheet takes a cell that begins so for a formula, and runs it. Plain numbers stay numbers.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def write_csv(frame: pd.DataFrame, target: Target) -> int:
    """Write a table that no spreadsheet can take for formulas; returns the number of rows.

    A text cell that begins like a formula gets an apostrophe in front (one more, if it has one already):
    read_csv takes it away again.
    """
    safe = frame.copy()
    for place, kind in enumerate(safe.dtypes):
        if not is_numeric_dtype(kind) and not is_datetime64_any_dtype(kind):
            safe.isetitem(place, [harmless(value) for value in safe.iloc[:, place]])
    safe.columns = pd.Index([harmless(name) for name in safe.columns])
    # Line ends of the standard: then a carriage return in a cell is quoted, and cannot begin a row.
    text = safe.to_csv(index=False, lineterminator="\r\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    with opened(target) as file:
        file.write(text.encode())
    return len(frame)


def read_csv(source: Path | str) -> pd.DataFrame:
    """Read a table that write_csv wrote, all cells as text, apostrophes against formulas taken away."""
    frame = pd.read_csv(source, dtype="str", keep_default_na=False)
    return frame.map(_as_it_was).rename(columns=_as_it_was)


def write_parquet(frame: pd.DataFrame, target: Target) -> int:
    """Write a table as it is, with its types; returns the number of rows."""
    with opened(target) as file:
        frame.to_parquet(file, index=False)
    return len(frame)


def harmless(value: Any) -> Any:
    """The same cell, unable to act as a formula. Missing stays missing."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


@contextmanager
def opened(target: Target) -> Iterator[BinaryIO]:
    """A path, which appears only when complete, or a file object that somebody else closes."""
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


def _as_it_was(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
