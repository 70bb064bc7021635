"""Reader of the first visible sheet of an .xlsx file, by openpyxl: the extra `excel`.

Numbers are read as stored, not as shown: 12.5 % is 0.125. Formulas give the value that was saved with them.
"""

import io
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.data.readers.delimited import MOST_COLUMNS
from influence_core.data.readers.needs import MAX_RATIO, Counted, most_unpacked
from influence_core.data.readers.text_columns import TextColumns
from influence_core.data.rows import counted, some
from influence_core.errors import DataError

MAX_BYTES = 256 * 1024**2
"""Most bytes of the sheet's XML; openpyxl holds about as much again of its words."""
LAST_ROW = 2**20
"""The last row of Excel. Of a row said to be the billionth, openpyxl would give all those above it, for minutes."""


def read_spreadsheet(path: Path, shown: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the first visible sheet as a frame of text (n, columns) under the names of its first row, with notes.

    Raises:
        DataError: openpyxl is not installed, the file is damaged or too large, or the sheet has no rows.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{shown} is an Excel file; reading it needs openpyxl: pip install 'influence-explorer[excel]'. Or save "
            "the sheet as CSV (UTF-8)."
        ) from error
    _check_size(path, shown)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheets = book.worksheets
        sheet = next((sheet for sheet in sheets if sheet.sheet_state == "visible"), sheets[0])
        sheet.reset_dimensions()  # the file's claim of its size
        frame, notes = _table(
            sheet.iter_rows(max_row=LAST_ROW, values_only=True), f"{shown}, sheet {sheet.title!r},", shown
        )
        others = [other.title for other in sheets if other is not sheet]
        book.close()
    except (DataError, MemoryError):
        raise
    except Exception as error:  # openpyxl raises whatever its XML, zip and date readers raise
        raise DataError(
            f"{shown} cannot be read as an Excel file ({type(error).__name__}). Save the sheet as CSV (UTF-8)."
        ) from error
    several = f"Read one of {len(sheets)} sheets of {shown}: {sheet.title!r}; not read: {some(others)}."
    return frame, (*notes, several) if others else notes


def _check_size(path: Path, shown: str) -> None:
    """Raise DataError where the unpacked sheets are too large, by the sizes that zipfile then holds them to."""
    try:
        with Counted(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(
            f"{shown} is not an Excel file of the kind .xlsx. Save the sheet as CSV (UTF-8)."
        ) from error
    if size > most_unpacked(path.stat().st_size, MAX_BYTES):
        raise DataError(
            f"{shown} unpacks to {size:,} bytes; at most {MAX_BYTES:,} are read, {MAX_RATIO} times the file. Save the "
            "sheet as CSV (UTF-8)."
        )


def _table(rows: Iterator[tuple], where: str, shown: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Take the first row that is not empty for the header; cells beyond it must be empty."""
    lines = ((line, _trimmed([_text(cell) for cell in row])) for line, row in enumerate(rows, 1))
    filled = ((line, cells) for line, cells in lines if cells)
    first, header = next(filled, (0, []))
    names = [name.strip() for name in header]
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{where} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read. Leave columns out."
        )
    kept, last = TextColumns(len(names)), first
    for line, cells in filled:
        if len(cells) > len(names):
            raise DataError(
                f"{where} has {counted(len(cells), 'cell')} in row {line:,}, but {len(names)} names in row {first:,}: "
                f"{some(names, 12)}. Expected one table, with its names in the first row; remove what stands beside it."
            )
        kept.append([*cells, *[""] * (len(names) - len(cells))])
        last = line
    empty = last - first - len(kept)
    return kept.frame(names), (f"Not read: {counted(empty, 'empty row')} of {shown}.",) if empty > 0 else ()


def _trimmed(cells: list[str]) -> list[str]:
    """Return the cells without the empty ones at the end."""
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _text(cell: Any) -> str:
    """Return a cell as CSV would hold it."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(cell)
