"""Which column of a dataset is the label: the choices to ask a person for, where the dataset does not say."""

from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.data.readers import folder, parquet, table
from influence_core.data.readers.array_files import array_columns
from influence_core.data.readers.parquet_shards import shards
from influence_core.data.readers.table_files import is_table
from influence_core.data.readers.table_folder import table_place
from influence_core.data.storage.store import Store, is_store

MOST_CLASSES = 1_000
"""Most values of a column of classes of pictures: ImageNet has as many."""
SHOWN_VALUES = 5


def label_columns(path: Path) -> list[dict[str, Any]]:
    """Describe the columns among which a person must choose the label; none where the choice is clear.

    Each has a `name`, its number of `different` values, the most `common` ones, whether they may be `classes`, and
    whether it is `likely`; likely columns come first. Likely is not chosen.
    """
    if not path.exists():
        return []  # the reader reports the fault
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return array_columns(path)
        if path.suffix.lower() != ".parquet" or is_table(path):
            return table.label_columns(path)
        return described(*parquet.possible_labels(path))
    store = Store(path) if is_store(path) else None
    root = folder.unwrapped(path if store is None else store.files, store)
    if split_files := shards(root):
        return label_columns(
            next((file for file, split in split_files.items() if split == "train"), min(split_files))
        )
    if files := [file for file in root.glob("*.parquet") if not is_table(file)]:
        return label_columns(files[0])
    if table_place(root, store) is not None:
        return table.label_columns(path)
    return described(*folder.possible_labels(root, store))


def described(columns: pd.DataFrame, likely: list[str]) -> list[dict[str, Any]]:
    found = []
    for name in map(str, columns):
        counts = columns[name].value_counts()
        common = [(str(value), int(count)) for value, count in counts.head(SHOWN_VALUES).items()]
        classes = 2 <= len(counts) <= MOST_CLASSES
        found.append(
            dict(name=name, different=len(counts), common=common, classes=classes, likely=name in likely)
        )
    return sorted(found, key=lambda column: (not column["likely"], not column["classes"]))
