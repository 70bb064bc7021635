"""Reader of a Parquet file of pictures, as Hugging Face writes it.

Columns: one of pictures, a struct of `bytes` (the encoded file) and `path`; `label` or the requested name, names or
numbers (numbers get their names from the file's Hugging Face metadata, where -1 is no label); optionally `split`;
every other plain column is a group, and columns of lists are left out with a note.
A sample's id is its image.path where all rows have one and all differ, else its row number as text.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from influence_core.data.readers.needs import ROW, check_need, most_unpacked
from influence_core.data.rows import Rows, label_name, some, splits_of, unreadable
from influence_core.data.samples import Split
from influence_core.data.storage.content import EncodedPictures, packed
from influence_core.errors import DataError

MAX_BYTES = 16 * 1024**3
BATCH = 16
"""Rows of pictures in memory at a time: 16 of 5 MB, as bytes of Arrow and of Python, take 160 MB."""
ROWS = 4_096
"""Rows of words in memory at a time."""
NUMBERED = 64 * 1024**2
"""Bytes of a column in a row group up to which its words are numbered while they are read."""
BUFFER = 1024**2
WORD = 24
"""Bytes of a word beside its letters: its number in a dictionary, and its place as text, twice."""


def read_parquet(path: Path, label: str | None = None) -> Rows:
    """Read the pictures, labels (of the column `label`, else of the one so called), splits and groups of a file."""
    most = most_unpacked(path.stat().st_size, MAX_BYTES)  # pictures are packed already; equal ones count once
    try:
        with pq.ParquetFile(path) as file:
            check_table(file, path)
            image = image_column(file.schema_arrow, path)
            column = label_column(file.schema_arrow, image, label, path)
            table = read_columns(path, plain_names(file.schema_arrow, image)).to_pandas(ignore_metadata=True)
            return Rows(
                EncodedPictures(packed(encoded_pictures(path, file.schema_arrow, image), limit=most)),
                *ids_labels_splits(file, image, table, column, path),
                groups=table.drop(columns=[column, "split"], errors="ignore"),
                classes=class_names(file.schema_arrow, column),
                notes=note_on_lists(file.schema_arrow, image, path),
            )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise unreadable(path, "read as Parquet", error, "Write it again.") from error


def note_on_lists(schema: pa.Schema, image: str, path: Path) -> tuple[str, ...]:
    lists = sorted({*schema.names} - {image, *plain_names(schema, image)})
    return (f"Ignored what {path.name} holds of lists or tables: {some(lists)}.",) if lists else ()


def check_table(file: pq.ParquetFile, path: Path) -> None:
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    total = sum(group.total_byte_size for group in groups)
    if total > MAX_BYTES:
        raise DataError(
            f"{path.name} unpacks to {total:,} bytes; at most {MAX_BYTES:,} are read. Split the dataset."
        )
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise DataError(
            f"{path.name} has columns of the same name: {some(names, 12)}. Rename or drop the repeated ones."
        )
    if file.metadata.num_rows == 0:
        raise DataError(f"{path.name} has no rows.")


def image_column(schema: pa.Schema, path: Path) -> str:
    """Return the name of the one column that holds encoded pictures."""
    columns = [field.name for field in schema if holds_pictures(field.type)]
    if len(columns) != 1:
        raise DataError(
            f"{path.name} has {len(columns)} columns of pictures{' (' + some(columns) + ')' if columns else ''}; its "
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


def plain_names(schema: pa.Schema, image: str) -> list[str]:
    """Return the columns of single values, without that of the pictures."""
    return [field.name for field in schema if field.name != image and not pa.types.is_nested(field.type)]


def read_columns(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Read columns of single values, all by default, after judging the memory they need.

    Words are read as numbers of a dictionary first: a word of 1 MB that fills a column takes 1 MB, so that what it
    would take as text is known before it does.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        wanted = [field for field in schema if names is None or field.name in names]
        if nested := [field.name for field in wanted if pa.types.is_nested(field.type)]:
            raise DataError(
                f"{path.name} holds lists or tables in {some(nested)}. Expected one number or word a cell."
            )
        check_need(path.name, stated_bytes(file.metadata, wanted), path.stat().st_size)
    columns = [field.name for field in wanted]
    words = [field.name for field in wanted if is_text(field.type) or pa.types.is_dictionary(field.type)]
    tables, needed = [], 0
    for file, group in row_groups(path, words):
        tables.append(file.read_row_group(group, columns=columns))
        needed += sum(text_bytes(tables[-1].column(name)) for name in words)
        check_need(path.name, needed, path.stat().st_size)
        tables[-1] = tables[-1].cast(pa.schema(wanted))
    table = pa.concat_tables(tables) if tables else schema.empty_table().select(columns)
    return table.replace_schema_metadata(schema.metadata)


def row_groups(path: Path, words: Sequence[str]) -> Iterator[tuple[pq.ParquetFile, int]]:
    """Yield the number of each row group with the file, opened so that words of a small group come as a dictionary.

    Those of a large group come as they are: numbering its words would take several times their size.
    """
    streamed = {"pre_buffer": False, "buffer_size": BUFFER}
    with (
        pq.ParquetFile(path, **streamed) as plain,
        pq.ParquetFile(path, read_dictionary=list(words), **streamed) as numbered,
    ):
        for group in range(plain.metadata.num_row_groups):
            chunks = plain.metadata.row_group(group)
            sizes = [chunks.column(index).total_uncompressed_size for index in range(chunks.num_columns)]
            yield (numbered if max(sizes, default=0) <= NUMBERED else plain), group


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_binary(kind)


def stated_bytes(metadata: pq.FileMetaData, fields: Sequence[pa.Field]) -> int:
    """The memory of so many rows of these columns, twice (as read and as a table), and of what goes with each row."""
    widths = sum(field.type.bit_width // 8 if pa.types.is_primitive(field.type) else WORD for field in fields)
    rows = max(metadata.num_rows, sum(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)))
    return rows * (2 * widths + ROW)


def text_bytes(column: pa.ChunkedArray) -> int:
    """The memory that a column of words takes once each row holds its own, twice (as read and as a table)."""
    total = 0
    for chunk in column.chunks:
        words = chunk.dictionary if isinstance(chunk, pa.DictionaryArray) else chunk
        if not is_text(words.type):
            continue
        lengths = pc.call_function("binary_length", [words])
        each = lengths.take(chunk.indices) if isinstance(chunk, pa.DictionaryArray) else lengths
        total += each.cast(pa.int64()).sum().as_py() or 0
    return 2 * total


def encoded_pictures(path: Path, schema: pa.Schema, image: str) -> Iterator[bytes]:
    """Yield the encoded pictures row by row, without holding all of them in memory; a missing one is empty."""
    field = "bytes" if pa.types.is_struct(schema.field(image).type) else None
    yield from (blob or b"" for blob in values_of(path, image, field, BATCH))


def values_of(path: Path, column: str, field: str | None, rows: int) -> Iterator[Any]:
    """Yield the values of a column, or of a field of it, reading so many rows at a time; equal words are one object."""
    leaf = f"{column}.{field}" if field else column
    for file, group in row_groups(path, [leaf]):
        for batch in file.iter_batches(batch_size=rows, columns=[leaf], row_groups=[group]):
            values = batch.column(column).field(field) if field else batch.column(column)
            if not isinstance(values, pa.DictionaryArray):
                yield from (value.as_py() for value in values)
                continue
            numbers = values.indices.to_pylist()
            words = {number: values.dictionary[number].as_py() for number in set(numbers) - {None}}
            yield from map(words.get, numbers)


def label_column(schema: pa.Schema, image: str, label: str | None, path: Path) -> str:
    """Return the column of the classes: the requested one, label, or the only one that Hugging Face calls one."""
    wanted, names = label or "label", plain_names(schema, image)
    if wanted in names:
        return wanted
    classes = class_columns(schema)
    if label is None and len(classes) == 1 and classes[0] in names:
        return classes[0]
    if wanted in schema.names and wanted != image:
        raise DataError(
            f"{path.name} holds lists or tables in the column {wanted}. Expected the name or number of one class a row."
        )
    likely = [f"label={name!r} (--label {name})" for name in likely_labels(schema, names) or names]
    advice = f"Name the column of the classes: {some(likely, 4)}" if likely else "Add a column of the classes"
    raise DataError(
        f"{path.name} has no column called {wanted}; its columns are {some(schema.names, 12)}. {advice}."
    )


def is_labelled(path: Path, label: str | None) -> bool:
    """Whether a file has a column of the classes; True where it cannot be read, which its reader says."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeError):
        return True
    wanted = {label} if label else {"label", *class_columns(schema)}
    return not wanted.isdisjoint(schema.names)


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
        table = read_columns(path, [name for name in names if name != "split"]).to_pandas(
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
    labels = label_names(table[column].tolist(), class_names(file.schema_arrow, column), path.name)
    return sample_ids(file, path, image), labels, splits


def sample_ids(file: pq.ParquetFile, path: Path, image: str) -> list[str]:
    """Return the path of each picture where all exist and differ, else row numbers. No path is opened."""
    kind = file.schema_arrow.field(image).type
    if pa.types.is_struct(kind) and any(field.name == "path" for field in kind.fields):
        paths = list(values_of(path, image, "path", ROWS))
        if all(paths) and len(set(paths)) == len(paths):
            return list(map(str, paths))
    return [str(row) for row in range(file.metadata.num_rows)]


def label_names(column: list, names: tuple[str, ...] | None, where: str) -> list[str | None]:
    """Turn a label column into class names; None where a label is missing."""
    labels = [None if pd.isna(value) else value for value in column]
    if names is None or all(label is None or isinstance(label, str) for label in labels):
        return [None if label is None else label_name(label, where) for label in labels]
    labels = [None if label == -1 else label for label in labels]  # Hugging Face's sign for no label
    outside = sorted(
        {str(label) for label in labels if label is not None and not names_a_class(label, len(names))}
    )
    if outside:
        raise DataError(
            f"{where} has labels {some(outside)}, but its metadata names {len(names)} classes, numbered from "
            f"0: {some(list(names), 12)}."
        )
    return [None if label is None else names[int(label)] for label in labels]


def names_a_class(label: object, classes: int) -> bool:
    return isinstance(label, (int, float)) and label % 1 == 0 and 0 <= label < classes


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """Return the class names of a column, in order, from Hugging Face's metadata in the file; None without them."""
    feature = features(schema).get(column)
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):  # {"0": "cat", "1": "dog"}
        names = [names.get(str(number)) for number in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, list) and names and None not in names else None


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
