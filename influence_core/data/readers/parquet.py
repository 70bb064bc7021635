"""Reader of a Parquet file of pictures, as Hugging Face writes it.

Columns: one of pictures, a struct of `bytes` (the encoded file) and `path`; `label` or the requested name, names or
numbers (numbers get their names from the file's Hugging Face metadata, where -1 is no label); optionally `split`;
every other plain column is a group.
A sample's id is its image.path where all rows have one and all differ, else its row number as text.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence_core.data.rows import Rows, label_name, some, splits_of
from influence_core.data.samples import Split
from influence_core.data.storage.content import EncodedPictures, packed
from influence_core.errors import DataError

MAX_BYTES = 16 * 1024**3


def read_parquet(path: Path, label: str | None = None) -> Rows:
    """Read the pictures, labels (of the column `label`, else of the one so called), splits and groups of a file."""
    try:
        with pq.ParquetFile(path) as file:
            check_table(file, path)
            image = image_column(file.schema_arrow, path)
            table = plain_columns(file, image)
            column = label_column(file, table, label, path)
            return Rows(
                EncodedPictures(packed(encoded_pictures(file, image))),
                *ids_labels_splits(file, image, table, column, path),
                groups=table.drop(columns=[column, "split"], errors="ignore"),
                classes=class_names(file.schema_arrow, column),
            )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def check_table(file: pq.ParquetFile, path: Path) -> None:
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    total = sum(group.total_byte_size for group in groups)
    if total > MAX_BYTES:
        raise DataError(
            f"{path} unpacks to {total:,} bytes; at most {MAX_BYTES:,} are read. Split the dataset."
        )
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise DataError(
            f"{path} has columns of the same name: {some(names, 12)}. Rename or drop the repeated ones."
        )
    if file.metadata.num_rows == 0:
        raise DataError(f"{path} has no rows.")


def image_column(schema: pa.Schema, path: Path) -> str:
    """Return the name of the one column that holds encoded pictures."""
    columns = [field.name for field in schema if holds_pictures(field.type)]
    if len(columns) != 1:
        raise DataError(
            f"{path} has {len(columns)} columns of pictures{' (' + some(columns) + ')' if columns else ''}; its "
            f"columns are {some(schema.names, 12)}. Expected exactly one struct column with the fields bytes "
            "and path."
        )
    return columns[0]


def holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and is_binary(field.type) for field in kind.fields)
    return is_binary(kind)


def is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def plain_columns(file: pq.ParquetFile, image: str) -> pd.DataFrame:
    """Read every column of single values except the pictures."""
    names = plain_names(file.schema_arrow, image)
    if not names:
        return pd.DataFrame(index=pd.RangeIndex(file.metadata.num_rows))
    return file.read(columns=names).to_pandas(ignore_metadata=True)


def plain_names(schema: pa.Schema, image: str) -> list[str]:
    """Return the columns of single values, without that of the pictures."""
    return [field.name for field in schema if field.name != image and not pa.types.is_nested(field.type)]


def encoded_pictures(file: pq.ParquetFile, image: str) -> Iterator[bytes]:
    """Yield the encoded pictures row by row, without holding all of them in memory; a missing one is empty."""
    for batch in file.iter_batches(batch_size=256, columns=[image]):
        column = batch.column(image)
        blobs = column.field("bytes") if pa.types.is_struct(column.type) else column
        yield from (blob or b"" for blob in blobs.to_pylist())


def label_column(file: pq.ParquetFile, table: pd.DataFrame, label: str | None, path: Path) -> str:
    """Return the column of the classes: the requested one, label, or the only one that Hugging Face calls one."""
    wanted = label or "label"
    if wanted in table:
        return wanted
    classes = class_columns(file.schema_arrow)
    if label is None and len(classes) == 1 and classes[0] in table:
        return classes[0]
    likely = likely_labels(file.schema_arrow, list(map(str, table))) or list(map(str, table))
    raise DataError(
        f"{path.name} has no column called {wanted}; its columns are {some(file.schema_arrow.names, 12)}. Name the "
        f"column of the classes: {some([f'label={name!r} (--label {name})' for name in likely], 4)}."
    )


def possible_labels(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns that may be the label of pictures, with names for numbers, and the likely ones.

    There are none where read_parquet takes one without asking.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = plain_names(schema, image_column(schema, path))
            if "label" in names or len(class_columns(schema)) == 1:
                return pd.DataFrame(), []
            table = file.read(columns=[name for name in names if name != "split"]).to_pandas(
                ignore_metadata=True
            )
    except (pa.ArrowException, OSError, UnicodeError, DataError):
        return pd.DataFrame(), []  # the reader reports the fault
    classes = {name: dict(enumerate(class_names(schema, name) or ())) for name in map(str, table)}
    named = {name: [words.get(value, value) for value in table[name]] for name, words in classes.items()}
    return pd.DataFrame(named), likely_labels(schema, list(named))


def likely_labels(schema: pa.Schema, names: list[str]) -> list[str]:
    return [name for name in names if name in class_columns(schema) or "label" in name.lower()]


def ids_labels_splits(
    file: pq.ParquetFile, image: str, table: pd.DataFrame, column: str, path: Path
) -> tuple[list[str], list[str | None], list[Split | None]]:
    words = table["split"] if "split" in table else [None] * len(table)
    splits = splits_of(words, f"{path.name}, column split,")
    labels = label_names(table[column].tolist(), class_names(file.schema_arrow, column), path)
    return sample_ids(file, image), labels, splits


def sample_ids(file: pq.ParquetFile, image: str) -> list[str]:
    """Return the path of each picture where all exist and differ, else row numbers. No path is opened."""
    kind = file.schema_arrow.field(image).type
    if pa.types.is_struct(kind) and any(field.name == "path" for field in kind.fields):
        paths = file.read(columns=[f"{image}.path"]).column(image).combine_chunks().field("path").to_pylist()
        if all(paths) and len(set(paths)) == len(paths):
            return [str(path) for path in paths]
    return [str(row) for row in range(file.metadata.num_rows)]


def label_names(column: list, names: tuple[str, ...] | None, path: Path) -> list[str | None]:
    """Turn a label column into class names; None where a label is missing."""
    labels = [None if pd.isna(value) else value for value in column]
    if names is None or all(label is None or isinstance(label, str) for label in labels):
        return [None if label is None else label_name(label, path) for label in labels]
    labels = [None if label == -1 else label for label in labels]  # Hugging Face's sign for no label
    outside = sorted(
        {str(label) for label in labels if label is not None and not 0 <= int(label) < len(names)}
    )
    if outside:
        raise DataError(
            f"{path} has labels {some(outside)}, but its metadata names {len(names)} classes, numbered from "
            f"0: {some(list(names), 12)}."
        )
    return [None if label is None else names[int(label)] for label in labels]


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """Return the class names of a column, in order, from Hugging Face's metadata in the file; None without them."""
    feature = features(schema).get(column)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def class_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that Hugging Face's metadata says hold classes."""
    found = features(schema)
    return [
        name
        for name, feature in found.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    ]


def features(schema: pa.Schema) -> dict[str, Any]:
    raw = (schema.metadata or {}).get(b"huggingface")
    try:
        found = json.loads(raw)["info"]["features"] if raw else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}  # the metadata of another tool
    return found if isinstance(found, dict) else {}
