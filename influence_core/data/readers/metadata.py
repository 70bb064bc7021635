"""Reader of metadata.csv and metadata.jsonl beside pictures, as in Hugging Face's image folders.

One row per picture: `file_name`, relative to the folder of the file, then any columns: label, split, groups. Accents,
case and slashes may be spelled in another way than on the disk. The files are not trusted: size, rows and columns are
limited before they are parsed, and nested values are left out. A .csv is read as tables are (delimited.py, cells.py).
"""

import json
from itertools import chain
from pathlib import Path

import pandas as pd

from influence_core.data.encoding import column_of
from influence_core.data.readers.cells import typed
from influence_core.data.readers.delimited import read_delimited
from influence_core.data.readers.header import with_names
from influence_core.data.readers.picture_names import key
from influence_core.data.rows import counted, some
from influence_core.errors import DataError
from influence_core.system.safe_tables import unguarded

NAMES = ("metadata.csv", "metadata.jsonl")
MAX_BYTES = 256 * 1024**2
MAX_COLUMNS = 1_000
SPARE_ROWS = 1_000
"""Rows that are read beyond the number of pictures, so that rows that repeat or name none can be told by name."""
TEXT = ("file_name", "label", "split")
MISSING = ("", "nan", "NaN")
"""Cells of a .csv that are missing in any column; a class may be called "None" or "NA"."""
Scalar = str | int | float | bool | None


def read_metadata(root: Path, ids: list[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns of the metadata files below a folder, one row per picture in the order of `ids`, with notes.

    Without such a file there are no columns. It may lie at the top or in each split's folder.
    """
    files = [
        file for name in NAMES for file in [root / name, *sorted(root.glob(f"*/{name}"))] if file.is_file()
    ]
    if not files:
        return pd.DataFrame(index=pd.Index(ids)), ()
    spelled: dict[str, str] = {}
    for sample in ids:
        spelled[key(sample)] = sample if key(sample) not in spelled else ""
    tables, notes = zip(*[read_one(file, root, ids, spelled) for file in files], strict=True)
    table = pd.concat(tables)
    check_names(table.index, ids)
    if "label" in table:
        table["label"] = table["label"].fillna("")  # empty, where a picture without a row has none
    return table.reindex(ids), tuple(dict.fromkeys(chain(*notes)))


def read_one(
    file: Path, root: Path, ids: list[str], spelled: dict[str, str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one metadata file as a table, indexed by the ids of the pictures, which `spelled` finds by their `key`."""
    where = file.relative_to(root).as_posix()
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{where} has {size:,} bytes; at most {MAX_BYTES:,} are read. Leave columns out.")
    most = len(ids) + SPARE_ROWS
    read = read_lines if file.suffix == ".jsonl" else read_csv
    table, notes = read(file, where, most)
    check_rows(len(table), most, where)
    base = file.parent.relative_to(root)
    if "file_name" not in table:
        table = table.rename(columns={named_column(table, base, ids, where): "file_name"})
    names = [(base / str(name)).as_posix() for name in table.pop("file_name")]
    known = set(ids)
    table = table.set_axis(
        [name if name in known else spelled.get(key(name)) or name for name in names], axis=0
    )
    return table, notes


def named_column(table: pd.DataFrame, base: Path, ids: list[str], where: str) -> str:
    """Return the column whose values are the paths of pictures, under whatever name."""
    known = {key(sample) for sample in ids}
    for name in table:
        if len(table) and all(key((base / str(value)).as_posix()) in known for value in table[name]):
            return str(name)
    raise DataError(
        f"{where} has the columns {some(list(map(str, table)), 12)}; expected one called file_name."
    )


def check_rows(rows: int, most: int, where: str) -> None:
    """Raise DataError for more rows than pictures: read to its end, a small archive could hold millions of them."""
    if rows > most:
        raise DataError(
            f"{where} has more than {most:,} lines, more than there are pictures. Keep one row per picture."
        )


def read_csv(file: Path, where: str, most: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read delimited text: file_name, label and split stay text without the spaces around it, all else is typed."""
    with file.open("rb") as opened:
        read = read_delimited(opened, where, most_rows=most)
    check_columns(len(read.frame.columns), where)
    named, notes = with_names(read.frame, where)
    given = pd.DataFrame({str(name): cells.str.strip() for name, cells in named.items()})
    present: pd.DataFrame = given.where(~given.isin(MISSING))
    text = unguarded(present)  # an exported dataset has apostrophes before "=x" and "nan"
    cells, spelled = typed(text.drop(columns=list(TEXT), errors="ignore"), read.separator)
    return text.assign(**{str(name): column_of(cells, name) for name in cells}), (
        *read.notes,
        *notes,
        *spelled,
    )


def read_lines(file: Path, where: str, most: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read one JSON object per line. Text and numbers stay; nested values (boxes, captions) are left out."""
    rows: list[dict[str, Scalar]] = []
    columns: set[str] = set()
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            check_rows(number, 2 * most, where)  # blank lines included
            if line.strip():
                rows.append(scalars(line, f"{where}, line {number:,}"))
                columns |= rows[-1].keys()
                check_columns(len(columns), where)
    table = pd.DataFrame(rows)
    for name in set(TEXT) & set(table):
        table[name] = [None if pd.isna(value) else plain_text(value) for value in table[name]]
    return table, ()


def scalars(line: bytes, where: str) -> dict[str, Scalar]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON: {str(error)[:120]}. Expected one object per line, in UTF-8."
        ) from error
    if not isinstance(row, dict):
        raise DataError(f"{where} holds a {type(row).__name__}; expected a table with file_name and label.")
    return {name: value for name, value in row.items() if isinstance(value, Scalar)}


def plain_text(value: object) -> str:
    """Return a value as text. pandas writes the number 3 as 3.0 beside a missing value: both become "3"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_columns(count: int, where: str) -> None:
    if count > MAX_COLUMNS:
        raise DataError(
            f"{where} has {count:,} columns; at most {MAX_COLUMNS:,} are read. Leave columns out."
        )


def check_names(names: pd.Index, ids: list[str]) -> None:
    """Raise DataError unless every row names an existing picture, and none twice."""
    twice = list(names[names.duplicated()].unique())
    if twice:
        raise DataError(
            f"The metadata names {counted(len(twice), 'file')} more than once: {some(twice)}. Keep one row each."
        )
    absent = sorted(set(names) - set(ids))
    if absent:
        raise DataError(
            f"The metadata names {counted(len(absent), 'picture')} that cannot be found: {some(absent)}. file_name is "
            "the path relative to the folder of metadata.csv or metadata.jsonl."
        )
