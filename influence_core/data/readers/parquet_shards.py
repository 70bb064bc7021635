"""Reader of a folder of several Parquet files, as Hugging Face writes them.

    train-00000-of-00002.parquet, train-00001-of-00002.parquet, validation-..., test-...    at the top or in data/

The name of a file begins with its split. An id begins with the name of its file, because row numbers start at 0 in
each.
"""

import re
from pathlib import Path

import pandas as pd

from influence_core.data.readers.parquet import read_parquet
from influence_core.data.readers.table_files import is_table
from influence_core.data.rows import Rows, some, split_of
from influence_core.data.samples import Split
from influence_core.data.storage.content import EncodedPictures, ReadBlobs
from influence_core.errors import DataError

NAME = re.compile(r"([A-Za-z]+)(?:-\d+-of-\d+)?\.parquet")
MAX_SHARDS = 1_000


def shards(root: Path) -> dict[Path, Split] | None:
    """Return the split of each Parquet file at the top and in data/; None unless every name begins with one.

    A single file is no folder of shards, nor are files of tables: None as well.
    """
    files = sorted([*root.glob("*.parquet"), *root.glob("data/*.parquet")])
    named: dict[Path, Split] = {}
    for file in files:
        match = NAME.fullmatch(file.name)
        if match and (split := split_of(match[1])) is not None:
            named[file] = split
    return named if len(named) == len(files) > 1 and not is_table(files[0]) else None


def read_shards(files: dict[Path, Split], label: str | None = None) -> Rows:
    """Join the rows of the files, which must have the same classes. A column is a group only where all have it."""
    if len(files) > MAX_SHARDS:
        raise DataError(
            f"There are {len(files):,} Parquet files; at most {MAX_SHARDS:,} are read. Join them."
        )
    parts = {file: read_parquet(file, label) for file in files}
    orders = {rows.classes for rows in parts.values()}
    if len(orders) > 1:
        shown = [f"{file.name}: {some(list(rows.classes or ()), 6)}" for file, rows in parts.items()]
        raise DataError(
            f"The files name different classes: {some(shown, 3)}. Write them with the same features."
        )
    tables = [rows.groups.reset_index(drop=True) for rows in parts.values()]
    places = [(rows.content, row) for rows in parts.values() for row in range(len(rows.content))]
    blobs = ReadBlobs(lambda place: place[0].encoded(place[1])[0], places)
    return Rows(
        EncodedPictures(blobs),
        ids=[f"{file.stem}/{sample}" for file, rows in parts.items() for sample in rows.ids],
        labels=[label for rows in parts.values() for label in rows.labels],
        splits=[files[file] for file, rows in parts.items() for _ in rows.ids],
        groups=pd.concat(tables, join="inner", ignore_index=True),
        classes=orders.pop(),
    )
