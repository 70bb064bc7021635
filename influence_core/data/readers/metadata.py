"""Reader of metadata.csv and metadata.jsonl beside pictures, as in Hugging Face's image folders.

One row per picture: `file_name`, relative to the folder of the file, then any columns: label, split, groups. The files
are not trusted: size and columns are limited before pandas parses them, and nested values are left out.
"""

import json
from pathlib import Path

import pandas as pd

from influence_core.data.rows import counted, some
from influence_core.errors import DataError
from influence_core.system.safe_tables import unguarded

NAMES = ("metadata.csv", "metadata.jsonl")
MAX_BYTES = 256 * 1024**2
MAX_COLUMNS = 1_000
TEXT = ("file_name", "label", "split")
Scalar = str | int | float | bool | None


def read_metadata(root: Path, ids: list[str]) -> pd.DataFrame:
    """Return the columns of the metadata files below a folder, one row per picture in the order of `ids`.

    Without such a file there are no columns. It may lie at the top or in each split's folder.
    """
    files = [
        file for name in NAMES for file in [root / name, *sorted(root.glob(f"*/{name}"))] if file.is_file()
    ]
    if not files:
        return pd.DataFrame(index=pd.Index(ids))
    table = pd.concat([read_one(file, root) for file in files])
    check_names(table.index, ids)
    return table.reindex(ids)


def read_one(file: Path, root: Path) -> pd.DataFrame:
    """Read one metadata file as a table, indexed by the ids of the pictures."""
    where = file.relative_to(root).as_posix()
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{where} has {size:,} bytes; at most {MAX_BYTES:,} are read. Leave columns out.")
    table = read_lines(file, where) if file.suffix == ".jsonl" else read_csv(file, where)
    if "file_name" not in table:
        raise DataError(
            f"{where} has the columns {some(list(map(str, table)), 12)}; expected one called file_name."
        )
    base = file.parent.relative_to(root)
    names = [(base / str(name)).as_posix() for name in table.pop("file_name")]
    return table.set_axis(names, axis=0)


def read_csv(file: Path, where: str) -> pd.DataFrame:
    with file.open("rb") as opened:
        head = opened.readline(1024**2)
    check_columns(head.count(b",") + 1, where)
    if b"\x00" in head:
        raise DataError(f"{where} cannot be read as a CSV table: it holds zero bytes. Save it as UTF-8 text.")
    try:
        table = pd.read_csv(
            file,
            dtype=dict.fromkeys(TEXT, str),
            keep_default_na=False,  # a class may be called "None" or "NA"
            na_values=["", "nan", "NaN"],
        )
        return unguarded(table)  # an exported dataset has apostrophes before "=x" and "nan"
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read as a CSV table: {error}") from error


def read_lines(file: Path, where: str) -> pd.DataFrame:
    """Read one JSON object per line. Text and numbers stay; nested values (boxes, captions) are left out."""
    rows: list[dict[str, Scalar]] = []
    columns: set[str] = set()
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            if line.strip():
                rows.append(scalars(line, f"{where}, line {number:,}"))
                columns |= rows[-1].keys()
                check_columns(len(columns), where)
    table = pd.DataFrame(rows)
    for name in set(TEXT) & set(table):
        table[name] = [None if pd.isna(value) else plain_text(value) for value in table[name]]
    return table


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
