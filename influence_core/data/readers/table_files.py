"""Files that hold a table, each read as one frame: delimited text, also compressed, JSON lines, Excel and Parquet.

Text files give text alone; their label is read as written, and `cells.py` decides the types of the other columns.
"""

import gzip
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence_core.data.readers.delimited import read_delimited
from influence_core.data.readers.header import alike, check_different, with_header
from influence_core.data.readers.json_lines import read_json_lines
from influence_core.data.readers.needs import MAX_RATIO, most_unpacked
from influence_core.data.readers.parquet import holds_pictures, read_columns
from influence_core.data.readers.spreadsheet import read_spreadsheet
from influence_core.data.rows import some, unreadable
from influence_core.errors import DataError
from influence_core.system.missed_files import in_place_of

MAX_BYTES = 1024**3
CHUNK = 2**20
MANY_ROWS, CELL_BYTES = 1_000_000, 8
"""Rows above which the bytes must account for the cells: 20 million rows of 165 KB took minutes."""
DELIMITED = {".csv": ",", ".tsv": "\t", ".txt": ","}
"""Suffixes of delimited text, with the separator that is expected."""
LINES = (".jsonl", ".ndjson")
TEXTS = (*DELIMITED, *LINES)
SUFFIXES = (*TEXTS, *[f"{suffix}.gz" for suffix in TEXTS], ".xlsx")
"""Suffixes of files that can only be tables. A .parquet may hold pictures instead."""
NOT_DATA = re.compile(
    r"(read.?me|licen[cs]e|requirements|notes?|classes|class_names|labels)\.txt|truth\.csv|.*submission.*",
    re.IGNORECASE,
)
"""Files that lie beside data without being any."""
IDS = ("sample_id", "id")
USUAL = ("label", "labels", "class", "target", "y", "category", "species", "outcome")
"""Common names of label columns: such a column is offered first, never chosen without asking."""


@dataclass(frozen=True)
class TableFile:
    """A table under checked names, as text or as the file types it.

    `separator` is that of delimited text, else None; `typed` says that the file itself tells text from numbers.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...]
    separator: str | None = None
    typed: bool = False


def table_suffix(name: str) -> str:
    """Return the suffix of a file that holds a table, such as .csv or .csv.gz; "" for other files."""
    lowered = PurePath(name).name.lower()
    return max((suffix for suffix in SUFFIXES if lowered.endswith(suffix)), key=len, default="")


def is_table(path: Path) -> bool:
    """Whether a file holds a table: of the Parquet files, those without a column of pictures."""
    if path.suffix.lower() != ".parquet":
        return bool(table_suffix(path.name))
    try:
        return not any(holds_pictures(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError, UnicodeError):
        return False  # the reader of pictures reports the fault


def may_be_table(path: Path) -> bool:
    """Whether a file in a folder is a table by its suffix, and no note on the data by its name."""
    return not NOT_DATA.fullmatch(path.name) and is_table(path)


def read_table_file(path: Path) -> TableFile:
    """Read the table of one file.

    Raises:
        DataError: it cannot be read, is too large, has no header or no rows, or two columns of the same name.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{path.name} has {path.stat().st_size:,} bytes; tables of at most {MAX_BYTES:,} are read."
        )
    if came := in_place_of(path):  # as text it would be a table of one column
        raise DataError(f"{path.name} is {came}.")
    suffix = table_suffix(path.name)
    if suffix == ".xlsx":
        table = _of_text(*read_spreadsheet(path, path.name), path.name)
    elif suffix:
        table = _text_file(path, suffix.removesuffix(".gz"))
    else:
        table = _parquet(path)
    if len(table.frame) == 0 or not len(table.frame.columns):
        raise DataError(
            f"{path.name} has {len(table.frame)} rows and {len(table.frame.columns)} columns. Expected a header and "
            "rows."
        )
    return table


def _text_file(path: Path, suffix: str) -> TableFile:
    with _uncompressed(path) as file:
        if suffix in LINES:
            frame, notes = read_json_lines(file, path.name)
            return TableFile(frame, notes + alike(list(frame)))
        text = read_delimited(file, path.name, expected=DELIMITED[suffix])
    return _of_text(text.frame, text.notes, path.name, text.separator)


def _of_text(
    frame: pd.DataFrame, notes: tuple[str, ...], shown: str, separator: str | None = None
) -> TableFile:
    named, more = with_header(frame, shown, (*USUAL, *IDS, "split"), separator or ",")
    return TableFile(named, notes + more, separator)


@contextmanager
def _uncompressed(path: Path) -> Iterator[BinaryIO]:
    """Open a file; one that ends in .gz is uncompressed first, in a temporary file of limited size."""
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    limit = most_unpacked(path.stat().st_size, MAX_BYTES)
    with tempfile.TemporaryFile() as plain:
        try:
            with gzip.open(path) as packed:
                while piece := packed.read(CHUNK):
                    plain.write(piece)
                    if plain.tell() > limit:
                        raise DataError(
                            f"{path.name} unpacks to more than {limit:,} bytes; tables of at most {MAX_BYTES:,} are "
                            f"read, of at most {MAX_RATIO} times the size of the file."
                        )
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path.name} is no whole gzip file. Compress the table again, or bring it as it is."
            ) from error
        plain.seek(0)
        yield plain


def _parquet(path: Path) -> TableFile:
    try:
        _check_cells(pq.read_metadata(path), path)
        names = [str(name) for name in pq.read_schema(path).names]
        check_different(names, path.name)
        table = read_columns(path)
        frame = _decimals_as_numbers(table).to_pandas(ignore_metadata=True)
    except (ValueError, OSError, UnicodeError, pa.ArrowException) as error:
        raise unreadable(path, "read as a table", error, "Write it again.") from error
    nested = [
        name for name in names if pa.types.is_nested(table[name].type) or pa.types.is_binary(table[name].type)
    ]
    if nested:
        raise DataError(
            f"{path.name} holds lists or bytes in {some(nested)}. Expected one number or word a cell."
        )
    return TableFile(frame, alike(names), typed=True)


def _check_cells(claimed: pq.FileMetaData, path: Path) -> None:
    """Raise DataError for a file whose rows would take far more memory than its bytes."""
    size = claimed.num_rows * claimed.num_columns * CELL_BYTES
    if claimed.num_rows > MANY_ROWS and size > MAX_RATIO * path.stat().st_size:
        raise DataError(
            f"{path.name} holds {claimed.num_rows:,} rows and {claimed.num_columns:,} columns in "
            f"{path.stat().st_size:,} bytes; at most {MAX_RATIO} times the size of the file is read. Leave out columns "
            "of a single value, or bring the table as CSV."
        )


def _decimals_as_numbers(table: pa.Table) -> pa.Table:
    fields = [
        field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))
