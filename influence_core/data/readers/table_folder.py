"""Reader of a folder of tables: train.csv, val.csv and test.csv as splits of one table, or a single table."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from influence_core.data.encoding import column_of
from influence_core.data.readers.folder import holds_pictures, is_hidden
from influence_core.data.readers.split_words import meanings
from influence_core.data.readers.table_files import (
    IDS,
    TableFile,
    may_be_table,
    read_table_file,
    table_suffix,
)
from influence_core.data.rows import some
from influence_core.data.storage.store import Store, is_store
from influence_core.errors import DataError

DEEPEST = 8
"""Folders that may lie around the tables; a link to a folder above would never end."""


def table_place(path: Path, store: Store | None = None) -> Path | None:
    """Return the folder that holds tables, at or below a path, below folders that hold one folder only.

    None where pictures lie below the path: tables beside pictures describe them.
    """
    if is_store(path):
        return table_place(Store(path).files, Store(path))
    if holds_pictures(path, store):
        return None
    for _ in range(DEEPEST):
        if any(map(_may_be_table, path.iterdir())):
            return path
        inside = [child for child in path.iterdir() if child.is_dir() and not is_hidden(child.name)]
        if len(inside) != 1:
            return None
        path = inside[0]
    return None


def tables_of(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by their split, one alone as "all".

    Raises:
        DataError: several tables, and their names do not say which is which.
    """
    files = sorted(filter(_may_be_table, folder.iterdir()))
    names = {file: file.name[: -len(table_suffix(file.name) or ".parquet")] for file in files}
    told = meanings(names.values())
    by_split: dict[str, list[Path]] = {}
    for file in files:
        found = told.get(names[file])
        by_split.setdefault((found and found.split) or "", []).append(file)
    several = next((found for split, found in by_split.items() if split and len(found) > 1), None)
    if len(files) == 1:
        return {"all": files[0]}
    if "train" not in by_split or several:
        names = [file.name for file in several or files]
        raise DataError(
            f"There are several tables: {some(names, 12)}. Keep one of them, or call the parts train.csv, val.csv and "
            "test.csv; each holds the labels as a column beside the features."
        )
    return {split: found[0] for split, found in by_split.items() if split}


def read_tables(folder: Path, label: str) -> TableFile:
    """Read the tables of a folder as one, with a column split; a part without the label column has no labels.

    Raises:
        DataError: a part lacks a column, or cannot be read.
    """
    tables = tables_of(folder)
    if len(tables) == 1 and "all" in tables:
        return read_table_file(tables["all"])
    parts = {split: read_table_file(path) for split, path in tables.items()}
    _check_columns(parts, tables, label)
    notes = [note for part in parts.values() for note in part.notes]
    others = sorted(
        {file.name for file in filter(_may_be_table, folder.iterdir())}
        - {file.name for file in tables.values()}
    )
    notes += [f"Ignored {some(others)}: the name says no split."] if others else []
    for split, part in parts.items():
        if label not in part.frame:
            notes.append(f"{tables[split].name} has no column {label!r}.")
    frame = pd.concat([part.frame.assign(split=split) for split, part in parts.items()], ignore_index=True)
    first = parts["train"]
    return TableFile(_with_ids(frame, parts), tuple(dict.fromkeys(notes)), first.separator, first.typed)


def _check_columns(parts: Mapping[str, TableFile], tables: Mapping[str, Path], label: str) -> None:
    if len({part.typed for part in parts.values()}) > 1:
        raise DataError(
            f"{some([table.name for table in tables.values()])} are of two kinds: Parquet tells numbers from text, the "
            "others do not. Write all parts as files of one kind."
        )
    wanted = set(parts["train"].frame) - {label, "split"}
    for split, part in parts.items():
        have = set(part.frame) - {label, "split"}
        lacking, more = sorted(wanted - have), sorted(have - wanted)
        if lacking or more:
            said = [f"lacks {some(lacking)}"] * bool(lacking) + [f"has {some(more)} beside them"] * bool(more)
            raise DataError(
                f"{tables[split].name} {' and '.join(said)}; {tables['train'].name} has {some(sorted(wanted), 12)}. "
                "Give all parts the same columns."
            )


def _with_ids(frame: pd.DataFrame, parts: Mapping[str, TableFile]) -> pd.DataFrame:
    """Give samples the ids train-0, train-1, ... where no column of the table holds ids that differ."""
    for name in frame:
        if (
            str(name).strip().lower() in IDS
            and bool(column_of(frame, name).notna().all())
            and column_of(frame, name).is_unique
        ):
            return frame
    numbered = [f"{split}-{row}" for split, part in parts.items() for row in range(len(part.frame))]
    return frame.drop(columns=[name for name in frame if str(name).strip().lower() == IDS[0]]).assign(
        sample_id=numbered
    )


def _may_be_table(file: Path) -> bool:
    return not is_hidden(file.name) and file.is_file() and may_be_table(file)
