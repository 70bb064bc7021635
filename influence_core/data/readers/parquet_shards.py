"""Reader of a folder of several Parquet files, as Hugging Face writes them.

    train-00000-of-00002.parquet, train-00001-of-00002.parquet, validation-..., test-...    at the top or in data/
    train-00000-of-00001-1a2b3c4d5e6f7a8b.parquet                                           the same, of older versions
    train/0000.parquet, validation/0000.parquet, ...                                        as its servers convert data

The name of a file begins with its split, or its folder has the name. An id begins with the name of its file, because
row numbers start at 0 in each.
"""

import re
from pathlib import Path

import pandas as pd

from influence_core.data.readers.parquet import is_labelled, read_parquet
from influence_core.data.readers.table_files import is_table
from influence_core.data.rows import Rows, some, split_of
from influence_core.data.samples import Split
from influence_core.data.storage.content import EncodedPictures, ReadBlobs
from influence_core.errors import DataError

NAME = re.compile(r"([A-Za-z]+)(?:-\d+-of-\d+)?(?:-[0-9a-f]{16})?\.parquet")
MAX_SHARDS = 1_000


def shards(root: Path) -> dict[Path, Split] | None:
    """Return the split of each Parquet file at the top, in data/ and in folders of splits; None unless all have one.

    A single file at the top is not a folder of shards, nor are files of tables: None as well.
    """
    folders = [folder for folder in sorted(root.iterdir()) if folder.name == "data" or split_of(folder.name)]
    files = [file for folder in (root, *folders) for file in sorted(folder.glob("*.parquet"))]
    named: dict[Path, Split] = {}
    for file in files:
        if (split := said_by_name(file) or split_of(file.parent.name)) is not None:
            named[file] = split
    if len(named) < len(files) or not files or is_table(files[0]):
        return None
    return None if len(files) == 1 and files[0].parent == root else named


def said_by_name(file: Path) -> Split | None:
    match = NAME.fullmatch(file.name)
    return split_of(match[1]) if match else None


def read_shards(files: dict[Path, Split], label: str | None = None) -> Rows:
    """Join the rows of the files, which must have the same classes. A column is a group only where all have it."""
    if len(files) > MAX_SHARDS:
        raise DataError(
            f"There are {len(files):,} Parquet files; at most {MAX_SHARDS:,} are read. Join them."
        )
    unlabelled = [file for file, split in files.items() if split != "train" and not is_labelled(file, label)]
    parts = {file: read_parquet(file, label) for file in files if file not in unlabelled}
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
        ids=[f"{name_of(file)}/{sample}" for file, rows in parts.items() for sample in rows.ids],
        labels=[label for rows in parts.values() for label in rows.labels],
        splits=[files[file] for file, rows in parts.items() for _ in rows.ids],
        groups=pd.concat(tables, join="inner", ignore_index=True),
        classes=orders.pop(),
        notes=(
            *dict.fromkeys(note for rows in parts.values() for note in rows.notes),
            *[f"Left out {file.name}: it has no column {label or 'label'!r}." for file in unlabelled],
        ),
    )


def name_of(file: Path) -> str:
    """Return the name of a shard, with that of its folder where this tells its split."""
    return file.stem if said_by_name(file) else f"{file.parent.name}/{file.stem}"
